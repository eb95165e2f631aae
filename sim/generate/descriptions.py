# SPDX-License-Identifier: Apache-2.0
"""What IP-XACT, SystemRDL and VHDL descriptions of a unit say, as variables of their templates."""

from collections.abc import Iterable, Mapping
from typing import Any

from xorloom.hw.bus.interfaces import Interface, interfaces
from xorloom.hw.ip.csr import CAUSES, REGISTERS, Register
from xorloom.hw.units import GeneratedVerilog

__all__ = ["description_facts"]

_FILE_SETS = {
    "rtl": {".v": "verilogSource-2001"},
    "simulation": {
        "_tb.v": "systemVerilogSource",
        "_words.hex": "user:hex",
        "_beats.hex": "user:hex",
    },
    "constraints": {
        ".sdc": "SDC",
        ".xdc": "user:xdc",
        ".lpf": "user:lpf",
        ".pcf": "user:pcf",
        "_vivado.tcl": "tclSource",
        "_quartus.tcl": "tclSource",
    },
    "description": {
        "_README.md": "user:markdown",
        "_component.vhd": "vhdlSource",
        ".rdl": "user:systemrdl",
    },
}
"""Files in an IP-XACT description: endings after the unit's name, and types."""
_SOFTWARE = {
    ".h": "cSource",
    ".c": "cSource",
    "_registers.h": "cSource",
    "_registers.py": "user:python",
    "_registers.md": "user:markdown",
}
"""The same of files that begin with the name for software."""
_OF_READER = ("START", "QUEUE_SPACE", "ADDRESS_LO", "ADDRESS_HI", "LENGTH")
"""Registers and fields that a unit without a read master lacks: they read 0."""
_RDL_ACCESS = {
    "ro": "sw = r;",
    "rw": "sw = rw;",
    "w1c": "sw = rw; onwrite = woclr;",
    "wo": "sw = w; singlepulse;",
}


def _bus(own: Interface) -> dict[str, Any]:
    """Return an interface as the template takes it; AMBA's have clock and reset in them."""
    ports = list(own.ports.items())
    if own.is_bus:
        ports += [("aclk", "ACLK"), ("aresetn", "ARESETn")]
    vlnv = own.kind.ip_xact.split(":")
    return {"name": own.name, "vlnv": vlnv, "manager": own.manager, "ports": ports}


def _register(register: Register, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return a register with what its fields are after reset, and which hardware changes."""
    words, sizes = manifest["reset_words"], manifest["config"]
    word = int(words.get(register.name, "0"), 16)
    constant = register.name in words and register.name != "STATUS"
    fields = []
    for field in register.fields:
        lacks = not sizes["reader"] and (register.name in _OF_READER or field.name in _OF_READER)
        lacks |= register.name == "ADDRESS_HI" and sizes.get("address_bits", 0) <= 32
        facts = {
            **vars(field),
            "reset": register.unpack(word)[field.name],
            "volatile": field.access != "rw" and not (constant or lacks),
        }
        if lacks:
            facts |= {"access": "ro", "meaning": f"not in this unit: {field.meaning}"}
        fields.append(facts)
    return {**vars(register), "fields": fields}


def description_facts(
    verilog: GeneratedVerilog, files: Iterable[str], software: str
) -> dict[str, Any]:
    """Return variables of the templates ``component.xml``, ``component.vhd`` and ``registers.rdl``.

    Parameters
    ----------
    verilog : GeneratedVerilog
        With the AXI ports of a whole decoder.
    files : iterable of str
        All files of the unit.
    software : str
        First part of the names of register map and driver.
    """
    manifest, there = verilog.manifest, set(files)
    named = {
        kind: [(verilog.name + ending, form) for ending, form in endings.items()]
        for kind, endings in _FILE_SETS.items()
    }
    named["software"] = [(software + ending, form) for ending, form in _SOFTWARE.items()]
    sets = {kind: [row for row in rows if row[0] in there] for kind, rows in named.items()}
    return {
        "buses": [_bus(own) for own in interfaces(manifest["ports"])],
        "register_map": [
            _register(own, manifest) for own in REGISTERS if "reset_words" in manifest
        ],
        "causes": list(CAUSES.items()),
        "rdl_access": _RDL_ACCESS,
        "parameters": manifest["config"],
        "file_sets": {kind: rows for kind, rows in sets.items() if rows},
    }
