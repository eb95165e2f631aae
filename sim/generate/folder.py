# SPDX-License-Identifier: Apache-2.0
"""Folder of a generated unit: what lies beside its Verilog, made from templates.

Testbench with vectors, constraints, project files, an instantiation, descriptions for other tools
(IP-XACT, SystemRDL, VHDL), register map and driver, a README. All files begin with the unit's name
or, register map and driver, with a name for software: they are the same for all units.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from xorloom.hw.flow.verilog.write import GROUPS, wrapped
from xorloom.hw.ip.csr import ADDRESS_BITS, MAGIC, MAP, VERSION, markdown, python_constants
from xorloom.hw.ip.driver.c import driver_texts
from xorloom.hw.units import GeneratedVerilog

from .descriptions import description_facts
from .vectors import Vectors

__all__ = ["SOFTWARE", "unit_files", "vector_files"]

SOFTWARE = "xorloom"
"""First part of the names of register map and driver, if the unit was not given a name."""

_BASE = 0x1000
"""Address of the testbench's memory."""
_NOISE = 0x1D872B41
"""Initial value of the testbench's shift register: anything but 0."""
_SUFFIXES = {
    "testbench.v.j2": "_tb.v",
    "template.v.j2": "_template.v",
    "clock.sdc.j2": ".sdc",
    "clock.xdc.j2": ".xdc",
    "clock.lpf.j2": ".lpf",
    "clock.pcf.j2": ".pcf",
    "core.j2": ".core",
    "vivado.tcl.j2": "_vivado.tcl",
    "quartus.tcl.j2": "_quartus.tcl",
    "component.xml.j2": "_component.xml",
    "component.vhd.j2": "_component.vhd",
    "registers.rdl.j2": ".rdl",
}
"""Templates, and the endings of the files that they make."""
_FILES = {
    ".v": "the Verilog, all modules, Verilog-2001",
    ".json": "manifest: parameters, ports, tools, SHA-256 of the Verilog",
    ".toml": "all parameters: input of `xorloom generate`",
    "_template.v": "instantiation to copy, ports grouped",
    "_component.vhd": "VHDL: the component, in a package",
    "_component.xml": "IP-XACT (IEEE 1685-2014): buses, register map, ports, files, parameters",
    "_tb.v": "self-checking testbench",
    "_words.hex": "its input: bus words of encoded streams",
    "_beats.hex": "its output: what must come",
    ".sdc": "clock for Quartus, Gowin, Radiant, nextpnr `--sdc`",
    ".xdc": "clock for Vivado, out of context",
    ".lpf": "clock for ECP5: Diamond, nextpnr-ecp5",
    ".pcf": "clock for iCE40: nextpnr-ice40",
    ".core": "FuseSoC: lint, sim, synth targets",
    "_vivado.tcl": "Vivado: out of context, with reports",
    "_quartus.tcl": "Quartus: project with virtual pins",
    ".rdl": "register map in SystemRDL 2.0, with what this unit's registers read after reset",
}
"""Files that begin with the unit's name, by the rest of their names, in the README's order."""
_SOFTWARE_FILES = {
    "_registers.md": "register map",
    "_registers.h": "register map as a C header",
    "_registers.py": "register map as Python constants",
    ".h": "driver in C99: header",
    ".c": "driver in C99",
}
"""Files of an IP block that begin with the name for software."""


def _ports(verilog: GeneratedVerilog) -> list[dict[str, Any]]:
    """Return ports in the order of the groups."""
    found = []
    for name, port in verilog.manifest["ports"].items():
        bits = port["bits"]
        span = f"[{bits - 1}:0] " if bits > 1 else ""
        found.append({"name": name, "bits": bits, "direction": port["direction"], "range": span})
    return found


def _groups(ports: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for prefix, title in GROUPS.items():
        # aclk and aresetn have no part before an underscore.
        own = [p for p in ports if (p["name"].rpartition("_")[0] or p["name"][:1]) == prefix]
        own += [p for p in ports if p["name"] == prefix]
        if own:
            yield {"title": title, "ports": own}


def _fields(ports: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return fields of a line of expected beats, from bit 0 on, and their hex digits."""
    fields = [("data", ports["m_axis_tdata"]["bits"])] * 2 + [("last", 1)]
    fields[1] = ("care", fields[0][1])
    for name in ("keep", "user"):
        if f"m_axis_t{name}" in ports:
            fields.append((name, ports[f"m_axis_t{name}"]["bits"]))
    return [(name, -(-bits // 4)) for name, bits in fields]


def vector_files(verilog: GeneratedVerilog, vectors: Vectors) -> dict[str, str]:
    """Return the testbench's two hex files, by name."""
    ports = verilog.manifest["ports"]
    stream = "s_axis_tdata" in ports
    digits = 2 * vectors.bus_bytes
    words = [f"{last:x}_{word:0{digits}x}" for word, last in vectors.words()]
    fields = _fields(ports)
    beats = [
        "_".join(f"{int(getattr(beat, name)):0{size}x}" for name, size in reversed(fields))
        for beat in vectors.beats
    ]
    if not stream:
        words = [word.partition("_")[2] for word in words]
    heads = {
        "words": "last word of its stream, bus word" if stream else "bus words of the memory",
        "beats": ", ".join(name for name, _ in reversed(fields)),
    }
    return {
        f"{verilog.name}_{kind}.hex": "\n".join([f"// {heads[kind]}", *lines]) + "\n"
        for kind, lines in (("words", words), ("beats", beats))
    }


def _registers() -> dict[str, Any]:
    """Return offsets and words of the registers that the testbench uses."""
    status = MAP["STATUS"]
    return {
        "register_bits": ADDRESS_BITS,
        "id": {
            "offset": MAP["ID"].offset,
            "value": MAP["ID"].pack(MAGIC=MAGIC, VERSION=VERSION),
        },
        "address_lo": MAP["ADDRESS_LO"].offset,
        "length": MAP["LENGTH"].offset,
        "control": MAP["CONTROL"].offset,
        "start": MAP["CONTROL"].pack(START=1),
        "status": status.offset,
        "queue_space": status["QUEUE_SPACE"].mask,
        "status_mask": sum(status[name].mask for name in ("BUSY", "DONE", "ERROR", "CAUSE")),
        "status_done": status.pack(DONE=1),
        "streams_offset": MAP["STREAMS"].offset,
    }


def _bench(verilog: GeneratedVerilog, vectors: Vectors) -> dict[str, Any]:
    """Return the variables of the testbench's template."""
    ports = verilog.manifest["ports"]
    fields = _fields(ports)
    lows, at = {}, 0
    for name, size in fields:
        lows[name] = at
        at += 4 * size
    sides = [
        {"port": f"m_axis_t{name}", "low": lows[name], "bits": ports[f"m_axis_t{name}"]["bits"]}
        for name, _ in fields[2:]
    ]
    descriptors, offset = [], 0
    reader = "m_axi_araddr" in ports
    for stream in vectors.streams if reader else ():
        descriptors.append({"offset": offset, "bytes": len(stream)})
        offset += len(stream)
    return {
        "words": sum(map(len, vectors.streams)) // vectors.bus_bytes,
        "word_bits": 8 * vectors.bus_bytes,
        "size": (vectors.bus_bytes - 1).bit_length(),
        "beats": len(vectors.beats),
        "data_bits": ports["m_axis_tdata"]["bits"],
        "data_nibbles": lows["care"],
        "beat_bits": at,
        "fields": [name for name, _ in reversed(fields)],
        "sides": sides,
        "streams": len(vectors.streams),
        "reader": reader,
        "address_bits": ports["m_axi_araddr"]["bits"] if reader else 0,
        "registers": "s_axil_awaddr" in ports,
        "descriptors": descriptors,
        "base": _BASE,
        "noise": _NOISE,
        "hex": lambda offset: f"{ADDRESS_BITS}'h{offset:02x}",
        "hex32": lambda word: f"32'h{word:08x}",
        **_registers(),
    }


def _describe(verilog: GeneratedVerilog) -> str:
    """Return one line that says what the unit is."""
    manifest = verilog.manifest
    codecs = [index["codec"] for index in manifest.get("indexes", ())]
    what = f"Decoder of xorloom's {manifest['codec']} codec"
    if codecs:
        what = f"Decoder of xorloom weight streams, index {' and '.join(codecs)}"
    sizes = {name: manifest["config"].get(name) for name in ("n_in", "n_out", "bus_bits")}
    return f"{what}, " + " ".join(f"{n} {v}" for n, v in sizes.items() if v is not None)


def _parameters(verilog: GeneratedVerilog) -> list[str]:
    """Return lines of a Verilog comment that tell the parameters of a unit."""
    parts = [f"{name} {value}" for name, value in verilog.manifest["config"].items()]
    lines = wrapped(
        f"Parameters: codec {verilog.manifest['codec']}, {', '.join(parts)}", "// ", "//   "
    )
    for index in verilog.manifest.get("indexes", ()):
        parts = [f"{name} {value}" for name, value in index["config"].items()]
        lines += wrapped(f"Index {index['codec']}: {', '.join(parts)}", "// ", "//   ")
    return lines


def _register_files(software: str) -> dict[str, str]:
    """Return register map and driver by file name."""
    return {
        f"{software}_registers.md": f"# Registers of the xorloom decoder\n\n{markdown()}",
        f"{software}_registers.py": python_constants(),
        **driver_texts(software),
    }


def unit_files(
    verilog: GeneratedVerilog,
    vectors: Vectors | None,
    config: str,
    *,
    clock_mhz: float = 100.0,
    software: str = SOFTWARE,
) -> dict[str, str]:
    """Return all texts that go with a unit's Verilog and manifest, by file name.

    Parameters
    ----------
    verilog : GeneratedVerilog
    vectors : Vectors or None
        See :func:`xorloom.sim.generate.vectors.unit_vectors`. Without them the unit is a part of a
        decoder, with which no files go but the parameters.
    config : str
        Text of the TOML file.
    clock_mhz : float
        What the constraints ask for.
    software : str
        First part of the names of register map and driver: of their files, and of macros and C
        identifiers in them.
    """
    name = verilog.name
    texts = {f"{name}.toml": config}
    if vectors is None:
        return texts
    registers = "register_map" in verilog.manifest
    if registers:
        texts |= _register_files(software)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=lambda template: template is not None and ".xml" in template,
    )
    ports = _ports(verilog)
    facts: dict[str, Any] = {
        "name": name,
        "version": version("xorloom"),
        "description": _describe(verilog),
        "origin": f"xorloom {version('xorloom')}",
        "parameter_lines": _parameters(verilog),
        "ports": ports,
        "groups": list(_groups(ports)),
        "mhz": f"{clock_mhz:g}",
        "period": f"{1000 / clock_mhz:.3f}",
        **_bench(verilog, vectors),
    }
    texts |= vector_files(verilog, vectors)
    made = {name + suffix: template for template, suffix in _SUFFIXES.items()}
    if not registers:
        del made[f"{name}.rdl"]
    known = {name + suffix: what for suffix, what in _FILES.items()}
    known |= {software + suffix: what for suffix, what in _SOFTWARE_FILES.items()}
    files = {f"{name}.v", f"{name}.json", *texts, *made}
    rows = [{"file": file, "what": what} for file, what in known.items() if file in files]
    made[f"{name}_README.md"] = "README.md.j2"
    facts |= {"rows": rows, **description_facts(verilog, {*files, *made}, software)}
    for file, template in made.items():
        texts[file] = environment.get_template(template).render(facts)
    return texts
