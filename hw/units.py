# SPDX-License-Identifier: Apache-2.0
"""Deterministic Verilog and a manifest beside it."""

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
from xorloom.hw.flow.export import component_verilog, tool_versions
from xorloom.hw.index.decoder import index_core
from xorloom.hw.index.shell import IndexShell
from xorloom.hw.ip.top import IpBlock
from xorloom.hw.window.control import WindowControl
from xorloom.hw.window.decoder import WindowUnit
from xorloom.hw.window.network import WindowNetwork
from xorloom.hw.window.shell import WindowShell
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.host import write_all
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import INDEX_KINDS, KIND_WEIGHTS, network_id, weights_network_id

from .ip import csr

__all__ = [
    "BLOCK_TOP",
    "BLOCK_UNITS",
    "INDEX_UNITS",
    "IP_UNITS",
    "MEMORY_OPTIONS",
    "WINDOW_TOP",
    "WINDOW_UNITS",
    "GeneratedVerilog",
    "component_verilog",
    "generate",
    "generate_unit",
    "tool_versions",
]

BLOCK_TOP = "xorloom_block_decoder"
BLOCK_UNITS = ("decoder", "parser", "lane", "network")
"""What :func:`generate_unit` can make: the whole, or a part of it for area reports."""
WINDOW_TOP = "xorloom_window_decoder"
WINDOW_UNITS = ("decoder", "value", "control", "network")
"""The same for the window codec; ``value``: without framing and shell, as in the IP block."""
INDEX_UNITS = ("index", "core")
"""The same for an index codec: the whole, or without framing and gearbox."""
IP_UNITS = {"ip": "xorloom_ip", "stream-ip": "xorloom_stream_ip"}
"""The decoder of weight streams as an IP block, with a read master or fed by AXI4-Stream: the names
of their top modules."""
MEMORY_OPTIONS = ("address_bits", "outstanding", "max_burst", "align_bytes")
"""Parameters of the read master."""


@dataclass(frozen=True)
class GeneratedVerilog:
    """Verilog text of one top module, its manifest, and texts that go with it by file name."""

    name: str
    text: str
    manifest: dict[str, Any]
    files: Mapping[str, str] = field(default_factory=dict)

    def write(self, folder: Path) -> tuple[Path, ...]:
        """Write ``NAME.v``, ``NAME.json`` and the others.

        Each appears whole or not at all, and none before all could be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        texts = {
            f"{self.name}.v": self.text,
            f"{self.name}.json": json.dumps(self.manifest, indent=2, sort_keys=True) + "\n",
            **self.files,
        }
        paths = tuple(folder / name for name in texts)
        write_all(dict(zip(paths, texts.values(), strict=True)))
        return paths


def generate(config: BlockConfig | WindowConfig, *, stages: int = 1) -> GeneratedVerilog:
    """Generate the AXI4-Stream decoder of either codec; parameters as in :func:`generate_unit`."""
    return generate_unit("decoder", config, stages=stages)


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


def _window_unit(unit: str, config: WindowConfig) -> wiring.Component:
    if unit == "decoder":
        return WindowShell(config)
    if unit == "value":
        return WindowUnit(config)
    return WindowControl(config) if unit == "control" else WindowNetwork(config)


def _register_texts() -> dict[str, str]:
    """Return the register map as the files that go with an IP block."""
    return {
        "registers.md": f"# Registers of the xorloom decoder\n\n{csr.markdown()}",
        "xorloom_registers.h": csr.c_header(),
        "xorloom_registers.py": csr.python_constants(),
    }


def _index_facts(
    value: WindowConfig, planes: int, indexes: Sequence[IndexConfig]
) -> dict[str, Any]:
    """Tell which weight streams an IP block decodes."""
    return {
        "indexes": [
            {
                "codec": index.codec,
                "config": index.to_dict(),
                "kind": KIND_WEIGHTS + INDEX_KINDS[index.codec],
                "network_id": f"{weights_network_id(value, planes, index):08x}",
            }
            for index in indexes
        ],
        "register_map": csr.VERSION,
    }


def generate_unit(
    unit: str,
    config: BlockConfig | WindowConfig | IndexConfig,
    *,
    stages: int = 1,
    indexes: Sequence[IndexConfig] = (),
    planes: int = 1,
    masked: bool = True,
    memory: Mapping[str, int] | None = None,
) -> GeneratedVerilog:
    """Generate the decoder or one of its units.

    Parameters
    ----------
    unit : str
        One of :data:`BLOCK_UNITS` or, for the window codec, :data:`WINDOW_UNITS` or
        :data:`IP_UNITS`, or for an index codec, :data:`INDEX_UNITS`.
    config : BlockConfig, WindowConfig, or an index codec's
    stages : int, 1 or 2
        Registers of the block codec's network; the window codec's has two.
    indexes, planes, masked
        For the IP blocks, see :class:`xorloom.hw.ip.top.IpBlock`.
    memory : mapping, optional
        For ``ip``, values of any of :data:`MEMORY_OPTIONS`.

    Raises
    ------
    ConfigError
        If the codec has no such unit, or an index does not fit.
    """
    top: wiring.Component
    parameters: dict[str, Any] = config.to_dict()
    more: dict[str, Any] = {}
    files: dict[str, str] = {}
    if unit in IP_UNITS:
        if not isinstance(config, WindowConfig):
            raise ConfigError(f"unit {unit} needs the window value codec, not {config.codec}")
        if memory and unit != "ip":
            raise ConfigError(f"{', '.join(memory)}: only unit ip reads memory, not {unit}")
        known = inspect.signature(IpBlock).parameters
        name, files = IP_UNITS[unit], _register_texts()
        options: dict[str, Any] = {"planes": planes, "masked": masked, "reader": unit == "ip"}
        if unit == "ip":
            options |= {option: known[option].default for option in MEMORY_OPTIONS}
            options |= memory or {}
        top = IpBlock(config, indexes, **options)
        parameters |= options
        more = _index_facts(config, planes, indexes)
    elif isinstance(config, WindowConfig):
        _check_unit(unit, WINDOW_UNITS)
        name = WINDOW_TOP if unit == "decoder" else f"xorloom_window_{unit}"
        top = _window_unit(unit, config)
    elif isinstance(config, BlockConfig):
        _check_unit(unit, BLOCK_UNITS)
        name = BLOCK_TOP if unit == "decoder" else f"xorloom_{unit}"
        top = _block_unit(unit, config, stages)
        parameters |= {"stages": stages}
    else:
        _check_unit(unit, INDEX_UNITS)
        name = f"xorloom_{config.codec}_{unit}"
        top = IndexShell(config) if unit == "index" else index_core(config)
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
    return GeneratedVerilog(name, text, manifest, files)
