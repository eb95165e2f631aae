# SPDX-License-Identifier: Apache-2.0
"""Parameters that say which unit to generate, each with the text of its flag.

:mod:`xorloom.sim.cli.console.options` makes the command line's options of them.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

if TYPE_CHECKING:
    from xorloom.sw.spec.config import ValueConfig

__all__ = ["OF_MODEL", "ConfigOptions", "Option", "UnitOptions"]

OF_MODEL = ("index", "index_bits", "index_classes", "planes")
"""Options of units that a compressed model decides."""


@dataclass(frozen=True)
class Option:
    """Text and range of a parameter's flag, which is named after it: ``n_in`` is ``--n-in``.

    Parameters
    ----------
    help : str
    default : str
        What help shows as the default, where the default of the field does not tell.
    min, max : int or None
        Least and greatest value.
    """

    help: str
    default: str = ""
    min: int | None = None
    max: int | None = None


@dataclass(frozen=True)
class ConfigOptions:
    """Decoder parameters as given on the command line; ``None``: not given.

    Every field becomes an option of a command, see
    :func:`xorloom.sim.cli.console.options.config_options`.
    """

    model: Annotated[
        Path | None, Option("Take the decoder's parameters from a compressed model.")
    ] = None
    tensor: Annotated[
        list[str] | None,
        Option("Of the model: names or globs of tensors that it must read; repeat.", default="all"),
    ] = None
    value: Annotated[str, Option("Value codec: window, block or direct.")] = "window"
    n_in: Annotated[
        int | None,
        Option(
            "Seed bits per cycle (window: 8 to 256; direct) or per slice (block: 1 to 64).",
            default="window: by density, else 16; block: 20; direct: a bus word",
        ),
    ] = None
    n_out: Annotated[
        int | None,
        Option(
            "Slice bits (window: 64 to 2048; block: 1 to 32768; direct: code bits).",
            default="window: 512; block: searched, else 200; direct: by --rate",
        ),
    ] = None
    bus_bits: Annotated[int, Option("Memory word: 32, 64, 128, 256 or 512 bits.")] = 64
    network_seed: Annotated[
        int | None, Option("Seed of the XOR network.", default="0; direct: the best one found")
    ] = None
    rate: Annotated[
        str | None, Option("direct: bits per weight, as 2, 0.25 or 3/2.", default="2")
    ] = None
    window: Annotated[
        int | None,
        Option("window, direct: seed bits in view.", default="n_out, at least 512; direct: 10"),
    ] = None
    taps: Annotated[
        int | None, Option("direct: window bits per code bit.", default="the best one found")
    ] = None
    own_taps: Annotated[int | None, Option("window: window bits per output.", default="1")] = None
    shared_taps: Annotated[
        int | None, Option("window: shared parities per output.", default="3")
    ] = None
    shared: Annotated[int | None, Option("window: shared parities.", default="n_out / 2")] = None
    parity_taps: Annotated[
        int | None, Option("window: window bits per shared parity.", default="4")
    ] = None
    frame: Annotated[int | None, Option("window: slices per rate word.", default="128")] = None
    patches: Annotated[int | None, Option("window: patches per slice, 0 or 1.", default="0")] = None
    lanes: Annotated[
        int | None, Option("block: slices per cycle.", default="as many as fit a bus word")
    ] = None
    patches_per_cycle: Annotated[
        int | None, Option("block: patches that a lane applies per cycle.", default="1")
    ] = None
    block_groups: Annotated[
        int | None,
        Option(
            "block: groups of slices that share an n_patch width.",
            default="searched with --n-out, else 16",
        ),
    ] = None
    stages: Annotated[
        int | None,
        Option("block: registers of the network; 2 needs fewer LUTs.", default="1", min=1, max=2),
    ] = None

    def config(self, planes: int | None = None) -> "ValueConfig":
        """Build the configuration, or read it from the compressed model.

        ``planes`` are the direct codec's bits of a code, if given.

        Raises
        ------
        ConfigError
            If a parameter is out of range or belongs to the other codec, or no one decoder reads
            the tensors.
        """
        from xorloom.sw.base.errors import ConfigError
        from xorloom.sw.model.container import read_container
        from xorloom.sw.spec.direct_preset import rate_of
        from xorloom.sw.spec.value_options import VALUE_PARAMETERS, value_config

        if self.model is not None:
            config = read_container(self.model).value(self.tensor or ())
        elif self.tensor:
            raise ConfigError("--tensor goes with --model")
        else:
            given = {n: v for n in VALUE_PARAMETERS if (v := getattr(self, n)) is not None}
            rate: dict[str, Any] = {} if self.rate is None else {"rate": rate_of(self.rate)}
            if self.value == "direct" and planes is not None:
                rate["planes"] = planes
            config = value_config(self.value, given | rate)
        if self.stages is not None and config.codec != "block":
            raise ConfigError(f"--stages belongs to --value block, not {config.codec}")
        return config


@dataclass(frozen=True)
class UnitOptions:
    """Parameters of units with an index decoder; ``None``: not given."""

    index: Annotated[
        list[str] | None,
        Option(
            "Units with an index: trellis, entropy, lowrank, hashed, none or bitmap, or one with "
            "all its parameters, as generate writes it to NAME.toml; repeat for an IP block that "
            "decodes several (not --model).",
            default="trellis",
        ),
    ] = None
    index_bits: Annotated[
        float | None, Option("trellis: index bits per weight.", default="1/6")
    ] = None
    index_classes: Annotated[int, Option("trellis: density classes, 1 or 4.")] = 1
    density: Annotated[float, Option("trellis: share of kept weights.")] = 0.09
    planes: Annotated[
        int | None,
        Option(
            "Units with an index: bits per kept weight; direct: bits of a code.",
            default="1; direct: the best one found",
            min=1,
            max=8,
        ),
    ] = None
    levels: Annotated[
        bool, Option("direct: put out the int8 level of each weight instead of its code.")
    ] = False
    beats: Annotated[
        str | None,
        Option(
            "ip, stream-ip: form of output beats. packed: the codes of 8 weights, their masks, and "
            "so on, as a DMA engine stores them; planar: all codes, all masks, no tkeep.",
            default="packed",
        ),
    ] = None
    pipeline: Annotated[
        str | None,
        Option(
            "ip, stream-ip, window decoder, trellis index: fast has its queues in LUT RAM; small "
            "is for devices that have none, as iCE40.",
            default="fast",
        ),
    ] = None
    address_bits: Annotated[int | None, Option("ip: bits of a memory address.", default="32")] = (
        None
    )
    outstanding: Annotated[int | None, Option("ip: most bursts in flight.", default="4")] = None
    max_burst: Annotated[int | None, Option("ip: most beats per burst.", default="256")] = None
    align_bytes: Annotated[
        int | None,
        Option(
            "ip: addresses are multiples of so many bytes, up to a bus word; more need less area.",
            default="1",
        ),
    ] = None

    def memory(self) -> dict[str, int]:
        """Return the options of the read master that were given."""
        names = ("address_bits", "outstanding", "max_burst", "align_bytes")
        return {n: getattr(self, n) for n in names if getattr(self, n) is not None}
