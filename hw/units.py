# SPDX-License-Identifier: Apache-2.0
"""Units that Verilog can be generated of, and their manifests."""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import wiring
from xorloom.hw.block.lane import BlockLane
from xorloom.hw.block.parser import BlockParser
from xorloom.hw.block.shell import BlockShell
from xorloom.hw.block.xor_network import XorNetwork
from xorloom.hw.bus.interfaces import vivado_attributes
from xorloom.hw.direct.core import DirectCore
from xorloom.hw.direct.decoder import DirectUnit
from xorloom.hw.direct.shell import DirectShell
from xorloom.hw.flow.export import component_verilog, tool_versions
from xorloom.hw.flow.verilog.identifiers import check_name
from xorloom.hw.index.decoder import ordinary_core
from xorloom.hw.index.shell import IndexShell
from xorloom.hw.ip.top import IpBlock
from xorloom.hw.lib.payloads import level_bits
from xorloom.hw.lib.slice_pipe import PIPELINES
from xorloom.hw.window.control import WindowControl
from xorloom.hw.window.decoder import WindowUnit
from xorloom.hw.window.network import WindowNetwork
from xorloom.hw.window.shell import WindowShell
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.host import write_all
from xorloom.sw.base.outputs import check_outputs
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import BEATS, KIND_WEIGHTS, network_id, weights_network_id

from .ip import csr

__all__ = [
    "BLOCK_UNITS",
    "DIRECT_UNITS",
    "INDEX_UNITS",
    "IP_UNITS",
    "MEMORY_OPTIONS",
    "WINDOW_UNITS",
    "GeneratedVerilog",
    "default_name",
    "generate_unit",
    "has_pipeline",
]

BLOCK_UNITS = ("decoder", "parser", "lane", "network")
"""Units of the block codec for :func:`generate_unit`: the whole decoder, or a part of it."""
WINDOW_UNITS = ("decoder", "value", "control", "network")
"""The same for the window codec; ``value`` is without deframer and shell, as in the IP block."""
DIRECT_UNITS = ("decoder", "value", "network")
"""The same for the direct codec; ``network`` is without deframer and reader."""
INDEX_UNITS = ("index", "core")
"""The same for an index codec; ``core`` is without deframer and reader."""
IP_UNITS = {"ip": "xorloom_ip", "stream-ip": "xorloom_stream_ip"}
"""IP blocks, with a read master or fed by AXI4-Stream, and the names of their top modules."""
MEMORY_OPTIONS = ("address_bits", "outstanding", "max_burst", "align_bytes")
"""Parameters of the read master."""
_PIPED = (("decoder", "window"), ("index", "trellis"), ("core", "trellis"))
"""Units and codecs, beside IP blocks, that have a pipeline to choose."""
_BURSTS = ("max_burst", "outstanding")


@dataclass(frozen=True)
class GeneratedVerilog:
    """Verilog of one top module, its manifest, and further texts by file name."""

    name: str
    text: str
    manifest: dict[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path, inputs: Sequence[Path] = ()) -> tuple[Path, ...]:
        """Write ``NAME.v``, ``NAME.json`` and the further texts.

        Each file appears whole or not at all, and none before all could be written.

        Parameters
        ----------
        folder : Path
            Made if it is missing.
        inputs : sequence of Path
            Files that were read, and must not be written over.

        Raises
        ------
        ConfigError
            If one would be written over.
        OSError
            If a file cannot be written; old files stay.
        """
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            f"{self.name}.v": self.text,
            f"{self.name}.json": json.dumps(self.manifest, indent=2, sort_keys=True) + "\n",
            **self.files,
        }
        paths = tuple(folder / name for name in texts)
        check_outputs(paths, inputs)
        write_all(dict(zip(paths, texts.values(), strict=True)))
        return paths


def _check_unit(unit: str, units: tuple[str, ...]) -> None:
    if unit not in units:
        raise ConfigError(f"unit must be one of {', '.join(units)}, not {unit!r}")


def _block_unit(unit: str, config: BlockConfig, stages: int) -> wiring.Component:
    if unit == "decoder":
        return BlockShell(config, stages=stages)
    if unit == "parser":
        return BlockParser(config)
    if unit == "lane":
        return BlockLane(config, stages=stages)
    return XorNetwork(n_in=config.n_in, rows=config.rows, stages=stages)


def _window_unit(unit: str, config: WindowConfig, pipeline: str) -> wiring.Component:
    if unit == "decoder":
        return WindowShell(config, pipeline=pipeline)
    if unit == "value":
        return WindowUnit(config, pipeline="small")  # its output is a stream
    return WindowControl(config) if unit == "control" else WindowNetwork(config)


def _index_unit(unit: str, config: IndexConfig, pipeline: str) -> wiring.Component:
    if unit == "index":
        return IndexShell(config, pipeline=pipeline)
    return ordinary_core(config, pipeline=pipeline)  # its streams are ordinary ones


def _direct_unit(unit: str, config: DirectConfig, levels: bool) -> wiring.Component:
    if unit == "decoder":
        return DirectShell(config, levels=levels)
    return (DirectUnit if unit == "value" else DirectCore)(config, levels=levels)


def _index_facts(value: ValueConfig, planes: int, indexes: Sequence[IndexConfig]) -> dict[str, Any]:
    """Return the part of the manifest that says which weight streams an IP block decodes."""
    return {
        "indexes": [
            {
                "codec": index.codec,
                "config": index.to_dict(),
                "kind": KIND_WEIGHTS + index.kind,
                "network_id": f"{weights_network_id(value, planes, index):08x}",
            }
            for index in indexes
        ],
        "register_map": csr.VERSION,
    }


def _index_texts(indexes: Sequence[IndexConfig]) -> dict[str, str]:
    """Return what the head of a text says of its index codecs."""
    return {
        f"index {index.codec}": ", ".join(f"{n} {v}" for n, v in index.to_dict().items())
        for index in indexes
    }


def default_name(unit: str, config: ValueConfig | IndexConfig) -> str:
    """Return the name that a unit has if nobody gives it one."""
    if unit in IP_UNITS:
        return IP_UNITS[unit]
    if isinstance(config, BlockConfig) and unit != "decoder":
        return f"xorloom_{unit}"
    return f"xorloom_{config.codec}_{unit}"


def has_pipeline(unit: str, codec: str) -> bool:
    """Return whether a unit has a pipeline to choose."""
    return unit in IP_UNITS or (unit, codec) in _PIPED


def generate_unit(
    unit: str,
    config: ValueConfig | IndexConfig,
    *,
    name: str | None = None,
    stages: int = 1,
    indexes: Sequence[IndexConfig] = (),
    planes: int = 1,
    masked: bool = True,
    levels: bool = False,
    beats: str = BEATS[0],
    memory: Mapping[str, int] | None = None,
    pipeline: str | None = None,
) -> GeneratedVerilog:
    """Generate a decoder or one of its units.

    Example: ``generate_unit("decoder", WindowConfig()).write(Path("build"))``.

    Parameters
    ----------
    unit : str
        One of :data:`BLOCK_UNITS` for a block codec, of :data:`WINDOW_UNITS` or :data:`IP_UNITS`
        for a window codec, of :data:`DIRECT_UNITS` or :data:`IP_UNITS` for a direct codec, of
        :data:`INDEX_UNITS` for an index codec.
    config : ValueConfig or IndexConfig
    name : str, optional
        Of the top module; all its submodules have names that begin with it. Default:
        :func:`default_name`, which says nothing of the parameters.
    stages : int, 1 or 2
        Registers of the network of the block codec; that of the window codec always has two.
    indexes, planes, masked, beats
        For IP blocks, see :class:`xorloom.hw.ip.top.IpBlock`.
    levels : bool
        Whether units of the direct codec and IP blocks put out levels, 8 bits for each weight,
        instead of codes.
    memory : mapping of str to int, optional
        For ``ip``: values of any of :data:`MEMORY_OPTIONS`.
    pipeline : str, optional
        Of units that :func:`has_pipeline` names, one of
        :data:`xorloom.hw.lib.slice_pipe.PIPELINES`: the small one needs no LUT RAM. Default: the
        first.

    Raises
    ------
    ConfigError
        If the codec has no such unit or no levels, or the unit no pipeline to choose, or an index
        does not fit, or no module can have the name.
    """
    if name is not None:
        check_name(name)
    top: wiring.Component
    parameters: dict[str, Any] = config.to_dict()
    more: dict[str, Any] = {}
    if levels:
        level_bits(config)
    piped = has_pipeline(unit, config.codec)
    if pipeline is not None and not piped:
        raise ConfigError(f"unit {unit} of {config.codec} has no pipeline to choose")
    pipeline = pipeline or PIPELINES[0]
    if unit in IP_UNITS:
        if not (isinstance(config, ValueConfig) and config.has_layouts):
            raise ConfigError(
                f"unit {unit} needs the window or direct value codec, not {config.codec}"
            )
        if memory and unit != "ip":
            raise ConfigError(f"{', '.join(memory)}: only unit ip reads memory, not {unit}")
        known = inspect.signature(IpBlock).parameters
        options: dict[str, Any] = {"planes": planes, "masked": masked, "reader": unit == "ip"}
        options |= {"beats": beats, "pipeline": pipeline}
        if unit == "ip":
            options |= {option: known[option].default for option in MEMORY_OPTIONS}
            options |= memory or {}
        if isinstance(config, DirectConfig):
            options |= {"levels": levels}
        top = block = IpBlock(config, indexes, **options)
        parameters |= options
        words = {name: f"{word:08x}" for name, word in block.reset_words.items()}
        more = {**_index_facts(config, planes, indexes), "reset_words": words}
    elif isinstance(config, DirectConfig):
        _check_unit(unit, DIRECT_UNITS)
        top = _direct_unit(unit, config, levels)
        parameters |= {"levels": levels}
    elif isinstance(config, WindowConfig):
        _check_unit(unit, WINDOW_UNITS)
        top = _window_unit(unit, config, pipeline)
    elif isinstance(config, BlockConfig):
        _check_unit(unit, BLOCK_UNITS)
        top = _block_unit(unit, config, stages)
        parameters |= {"stages": stages}
    else:
        assert isinstance(config, IndexConfig)
        _check_unit(unit, INDEX_UNITS)
        top = _index_unit(unit, config, pipeline)
    if piped:
        parameters |= {"pipeline": pipeline}
    name = name or default_name(unit, config)
    ports = {
        "__".join(map(str, path)): {
            "direction": member.flow.name.lower(),
            "bits": Shape.cast(member.shape).width,
        }
        for path, member, _ in top.signature.flatten(top)
    }
    widths = {port: int(facts["bits"]) for port, facts in ports.items()}
    burst = {option: parameters[option] for option in _BURSTS if option in parameters}
    text = component_verilog(
        top,
        name,
        {"unit": unit, "codec": config.codec} | parameters | _index_texts(indexes),
        vivado_attributes(widths, **burst),
    )
    manifest = {
        "top": name,
        "codec": config.codec,
        "config": parameters,
        "network_id": f"{network_id(config):08x}",
        "ports": ports,
        "tools": tool_versions(),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    } | more
    return GeneratedVerilog(name, text, manifest)
