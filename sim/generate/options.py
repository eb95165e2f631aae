# SPDX-License-Identifier: Apache-2.0
"""Options that say which unit to generate, and with which parameters."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from xorloom.sw.spec.config import ValueConfig

    pass

__all__ = ["ConfigOptions", "UnitOptions"]


def _option(*names: str, default: str = "", text: str) -> Any:
    return typer.Option(*names, help=text, show_default=default or False)


@dataclass(frozen=True)
class ConfigOptions:
    """The decoder's parameters as given on the command line; ``None``: not given.

    Every field becomes an option of a command, see
    :func:`xorloom.sim.cli.console.options.config_options`.
    """

    model: Annotated[
        Path | None,
        typer.Option("--model", help="Take the decoder's parameters from a compressed model."),
    ] = None
    value: Annotated[str, typer.Option("--value", help="Value codec: window or block.")] = "window"
    n_in: Annotated[
        int | None,
        _option(
            "--n-in",
            default="window: by density, else 16; block: 20",
            text="Seed bits a cycle (window: 8 to 256) or a slice (block: 1 to 64).",
        ),
    ] = None
    n_out: Annotated[
        int | None,
        _option(
            "--n-out",
            default="window: 512; block: searched, else 200",
            text="Slice bits (window: 64 to 2048; block: 1 to 32768).",
        ),
    ] = None
    bus_bits: Annotated[
        int, typer.Option("--bus-bits", help="Memory word: 32, 64, 128, 256 or 512 bits.")
    ] = 64
    network_seed: Annotated[
        int, typer.Option("--network-seed", help="Seed of the XOR network.")
    ] = 0
    window: Annotated[
        int | None,
        _option("--window", default="n_out, at least 512", text="window: seed bits in view."),
    ] = None
    own_taps: Annotated[
        int | None, _option("--own-taps", default="1", text="window: window bits an output takes.")
    ] = None
    shared_taps: Annotated[
        int | None,
        _option("--shared-taps", default="3", text="window: shared parities an output takes."),
    ] = None
    shared: Annotated[
        int | None, _option("--shared", default="n_out / 2", text="window: shared parities.")
    ] = None
    parity_taps: Annotated[
        int | None,
        _option("--parity-taps", default="4", text="window: window bits of a shared parity."),
    ] = None
    frame: Annotated[
        int | None, _option("--frame", default="128", text="window: slices a rate word.")
    ] = None
    patches: Annotated[
        int | None, _option("--patches", default="0", text="window: patches a slice, 0 or 1.")
    ] = None
    lanes: Annotated[
        int | None,
        _option("--lanes", default="as many as fit a bus word", text="block: slices a cycle."),
    ] = None
    patches_per_cycle: Annotated[
        int | None,
        _option("--patches-per-cycle", default="1", text="block: patches a lane applies a cycle."),
    ] = None
    block_groups: Annotated[
        int | None,
        _option(
            "--block-groups",
            default="searched with --n-out, else 16",
            text="block: groups of slices that share an n_patch width.",
        ),
    ] = None
    stages: Annotated[
        int | None,
        typer.Option(
            "--stages",
            min=1,
            max=2,
            show_default="1",
            help="block: registers of the network; 2 needs fewer LUTs.",
        ),
    ] = None

    def config(self) -> "ValueConfig":
        """Build the configuration, or read it from the compressed model.

        Raises
        ------
        ConfigError
            If a parameter is out of range or belongs to the other codec.
        """
        from xorloom.sw.base.errors import ConfigError
        from xorloom.sw.model.container import read_container
        from xorloom.sw.spec.config import BlockConfig, WindowConfig, lanes_for

        if self.model is not None:
            return read_container(self.model).config
        if self.value not in _OWN:
            raise ConfigError(f"value codec must be window or block, not {self.value!r}")
        for codec, names in _OWN.items():
            for name in names:
                if codec != self.value and getattr(self, name) is not None:
                    option = name.replace("_", "-")
                    raise ConfigError(f"--{option} belongs to --value {codec}, not {self.value}")
        names = ("n_in", "n_out", "bus_bits", "network_seed", *_OWN[self.value])
        given = {n: v for n in names if (v := getattr(self, n)) is not None and n != "stages"}
        if self.value == "block":
            n_in = given.get("n_in", BlockConfig.n_in)
            given.setdefault("lanes", lanes_for(n_in, self.bus_bits))
            return BlockConfig(**given)
        n_out = given.get("n_out", WindowConfig.n_out)
        given.setdefault("window", max(WindowConfig.window, n_out))
        given.setdefault("shared", n_out // 2 if given.get("shared_taps", 3) else 0)
        return WindowConfig(**given)


_OWN = {
    "window": (
        *("window", "own_taps", "shared_taps", "shared", "parity_taps", "frame", "patches"),
    ),
    "block": ("lanes", "patches_per_cycle", "block_groups", "stages"),
}
"""Options of one codec only."""


@dataclass(frozen=True)
class UnitOptions:
    """What there is to say of units with an index decoder; ``None``: not given."""

    index: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            help="Units with an index: trellis, entropy, lowrank or bitmap; repeat for an IP block "
            "that decodes several (not --model).",
            show_default="trellis",
        ),
    ] = None
    index_bits: Annotated[
        float | None,
        typer.Option("--index-bits", help="trellis: index bits a weight.", show_default="1/6"),
    ] = None
    index_classes: Annotated[
        int, typer.Option("--index-classes", help="trellis: density classes, 1 or 4.")
    ] = 1
    density: Annotated[float, typer.Option("--density", help="trellis: share of kept weights.")] = (
        0.09
    )
    planes: Annotated[
        int,
        typer.Option("--planes", min=1, max=8, help="Units with an index: bits a kept weight."),
    ] = 1
    address_bits: Annotated[
        int | None, _option("--address-bits", default="32", text="ip: of memory addresses.")
    ] = None
    outstanding: Annotated[
        int | None, _option("--outstanding", default="4", text="ip: bursts in flight at most.")
    ] = None
    max_burst: Annotated[
        int | None, _option("--max-burst", default="256", text="ip: beats of a burst at most.")
    ] = None
    align_bytes: Annotated[
        int | None,
        _option(
            "--align-bytes",
            default="1",
            text="ip: addresses are multiples of so many bytes, up to a bus word; fewer gates.",
        ),
    ] = None

    def memory(self) -> dict[str, int]:
        """Return the options of the read master that were given."""
        names = ("address_bits", "outstanding", "max_burst", "align_bytes")
        return {n: getattr(self, n) for n in names if getattr(self, n) is not None}
