# SPDX-License-Identifier: Apache-2.0
"""IP-XACT, SystemRDL and VHDL of generated units, read by others' tools; attributes for Vivado."""

import gc
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from peakrdl_ipxact import IPXACTImporter
from pyEDAA import IPXACT
from systemrdl import RDLCompiler
from systemrdl.node import AddrmapNode, FieldNode, RegNode
from xorloom.hw.flow.tools import yosys
from xorloom.hw.ip.csr import CAUSES, COUNTERS, MAP, REGISTERS
from xorloom.hw.ip.registers import Registers
from xorloom.hw.units import GeneratedVerilog
from xorloom.sim.generate.descriptions import description_facts
from xorloom.sim.generate.folder import unit_files
from xorloom.sim.generate.options import ConfigOptions, UnitOptions
from xorloom.sim.generate.units import unit_plan
from xorloom.sim.generate.vectors import unit_vectors

from tests.hw.ip.register_bus import READER, SIZES, Bus, with_bus

SMALL: dict[str, Any] = {"n_in": 16, "n_out": 64, "window": 64, "frame": 16, "bus_bits": 32}
UNITS = ("ip", "stream-ip", "decoder", "index")
SPACE = {"x": "http://www.accellera.org/XMLSchema/IPXACT/1685-2014"}
AMBA = "amba.com:AMBA4"
SIGNAL = "xilinx.com:signal"
ACCESS = {
    "ro": ("r", None),
    "rw": ("rw", None),
    "w1c": ("rw", "woclr"),
    "wo": ("w", None),
}
pytestmark = pytest.mark.long


def name_of(unit: str) -> str:
    return f"made_{unit.replace('-', '_')}"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All files of every kind of unit, without a command line around them."""
    made = {}
    for unit in UNITS:
        options = ConfigOptions(**SMALL, network_seed=(1 << 64) - 1 if unit == "ip" else 0)
        index = None if unit == "decoder" else ["bitmap"]
        plan = unit_plan(unit, options, UnitOptions(index=index))
        verilog = plan.verilog(name_of(unit))
        texts = unit_files(verilog, unit_vectors(plan), "", software=verilog.name)
        folder = tmp_path_factory.mktemp(name_of(unit))
        GeneratedVerilog(verilog.name, verilog.text, verilog.manifest, texts).write(folder)
        made[unit] = folder
    return made


@pytest.fixture(scope="module")
def netlists(folders: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """Top modules of the Verilog as Yosys reads them."""
    found = {}
    for unit, folder in folders.items():
        top = name_of(unit)
        passes = [f"read_verilog {top}.v", "proc", "write_json netlist.json"]
        yosys(passes, folder / "yosys.log")
        netlist = json.loads((folder / "netlist.json").read_text())
        (folder / "netlist.json").unlink()
        (folder / "yosys.log").unlink()
        found[unit] = netlist["modules"][top]
    return found


def component(folder: Path) -> etree._ElementTree:
    (path,) = folder.glob("*_component.xml")
    return etree.parse(path)


def texts(tree: etree._ElementTree | etree._Element, path: str) -> list[str]:
    return [element.text for element in tree.iterfind(path, SPACE)]


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    folder = Path(IPXACT.__file__).with_name("Schema") / "ieee-1685-2014"
    return etree.XMLSchema(etree.parse(folder / "index.xsd"))


@pytest.mark.parametrize("unit", UNITS)
def test_component_obeys_the_schema(
    unit: str, folders: dict[str, Path], schema: etree.XMLSchema
) -> None:
    tree = component(folders[unit])
    schema.assertValid(tree)
    port = tree.find(".//x:model/x:ports/x:port/x:name", SPACE)
    port.text = "other"  # now a bus names a port that is not there
    assert not schema.validate(tree)


@pytest.mark.parametrize("unit", UNITS)
def test_component_has_the_ports_of_the_verilog(
    unit: str, folders: dict[str, Path], netlists: dict[str, Any]
) -> None:
    found = {}
    for port in component(folders[unit]).iterfind(".//x:model/x:ports/x:port", SPACE):
        left = texts(port, ".//x:left")
        bits = int(left[0]) + 1 if left else 1
        found[texts(port, "x:name")[0]] = (texts(port, ".//x:direction")[0], bits)
    assert found == {
        name: (port["direction"].removesuffix("put"), len(port["bits"]))
        for name, port in netlists[unit]["ports"].items()
    }


BUSES = {
    "ip": {
        "aclk": ("slave", f"{SIGNAL}:clock:1.0"),
        "aresetn": ("slave", f"{SIGNAL}:reset:1.0"),
        "irq": ("master", f"{SIGNAL}:interrupt:1.0"),
        "s_axil": ("slave", f"{AMBA}:AXI4-Lite:r0p0_0"),
        "m_axi": ("master", f"{AMBA}:AXI4:r0p0_0"),
        "m_axis": ("master", f"{AMBA}:AXI4Stream:r0p0_1"),
    },
    "decoder": {
        "aclk": ("slave", f"{SIGNAL}:clock:1.0"),
        "aresetn": ("slave", f"{SIGNAL}:reset:1.0"),
        "s_axis": ("slave", f"{AMBA}:AXI4Stream:r0p0_1"),
        "m_axis": ("master", f"{AMBA}:AXI4Stream:r0p0_1"),
    },
}


@pytest.mark.parametrize("unit", BUSES)
def test_component_has_every_bus(unit: str, folders: dict[str, Path]) -> None:
    tree, found = component(folders[unit]), {}
    mapped: list[str] = []
    for bus in tree.iterfind(".//x:busInterface", SPACE):
        kind = bus.find("x:busType", SPACE).attrib
        (mode,) = (e for e in bus if etree.QName(e).localname in ("master", "slave"))
        vlnv = ":".join(kind[key] for key in ("vendor", "library", "name", "version"))
        found[texts(bus, "x:name")[0]] = (etree.QName(mode).localname, vlnv)
        signals = texts(bus, ".//x:logicalPort/x:name")
        ports = texts(bus, ".//x:physicalPort/x:name")
        mapped += ports[:-2] if "ACLK" in signals else ports
        if "ACLK" in signals:
            assert (signals[-2:], ports[-2:]) == (["ACLK", "ARESETn"], ["aclk", "aresetn"])
            own = texts(bus, "x:name")[0]
            assert [f"{own}_{signal.lower()}" for signal in signals[:-2]] == ports[:-2]
    assert found == BUSES[unit]
    every = texts(tree, ".//x:model/x:ports/x:port/x:name")
    assert sorted(mapped) == sorted(every), "every port is of one bus"


def test_component_tells_memory_and_parameters(folders: dict[str, Path]) -> None:
    tree = component(folders["ip"])
    assert texts(tree, ".//x:addressSpace/x:range") == ["'h100000000"]
    assert texts(tree, ".//x:addressBlock/x:range") == ["'h100"]
    names = texts(tree, "x:parameters/x:parameter/x:name")
    values = dict(zip(names, texts(tree, "x:parameters/x:parameter/x:value"), strict=True))
    manifest = json.loads((folders["ip"] / f"{name_of('ip')}.json").read_text())
    assert values == {
        name: f'"{value}"' if isinstance(value, str) else str(int(value))
        for name, value in manifest["config"].items()
    }


@pytest.mark.parametrize("unit", UNITS)
def test_component_names_the_files(unit: str, folders: dict[str, Path]) -> None:
    tree, top = component(folders[unit]), name_of(unit)
    named = texts(tree, ".//x:fileSet/x:file/x:name")
    there = {path.name for path in folders[unit].iterdir()}
    own = {f"{top}{end}" for end in ("_component.xml", ".json", ".toml", ".core", "_template.v")}
    assert sorted(named) == sorted(there - own)
    assert texts(tree, ".//x:componentInstantiation/x:moduleName") == [top]


def compiled(path: Path) -> AddrmapNode:
    compiler = RDLCompiler()
    compiler.compile_file(str(path))
    return compiler.elaborate().top


def imported(path: Path) -> AddrmapNode:
    compiler = RDLCompiler()
    IPXACTImporter(compiler).import_file(str(path))
    return compiler.elaborate(top_def_name=next(iter(compiler.root.comp_defs))).top


def told(top: AddrmapNode) -> dict[str, Any]:
    """Return the register map of a compiled description."""
    registers = [node for node in top.descendants() if isinstance(node, RegNode)]
    return {
        register.inst_name: (
            register.absolute_address,
            register.get_property("regwidth"),
            register.get_property("desc"),
            {field.inst_name: shown(field) for field in register.fields()},
        )
        for register in registers
    }


def shown(field: FieldNode) -> tuple[object, ...]:
    clears = field.get_property("onwrite")
    return (
        field.low,
        field.width,
        field.get_property("sw").name,
        clears.name if clears else None,
        field.get_property("reset"),
        field.get_property("desc"),
    )


@pytest.mark.parametrize("unit", ["ip", "stream-ip"])
@pytest.mark.parametrize("kind", ["rdl", "component"])
def test_register_map_is_that_of_the_table(kind: str, unit: str, folders: dict[str, Path]) -> None:
    """Compared register by register, as the SystemRDL compiler and PeakRDL understand the files."""
    top = name_of(unit)
    path = folders[unit] / (f"{top}.rdl" if kind == "rdl" else f"{top}_component.xml")
    found = told(compiled(path) if kind == "rdl" else imported(path))
    words = json.loads((folders[unit] / f"{top}.json").read_text())["reset_words"]
    absent = {"START", "QUEUE_SPACE", "ADDRESS_LO", "ADDRESS_HI", "LENGTH"}
    absent = absent if unit == "stream-ip" else {"ADDRESS_HI"}
    assert list(found) == [register.name for register in REGISTERS]
    for register in REGISTERS:
        word = int(words.get(register.name, "0"), 16)
        fields = {}
        for field in register.fields:
            access, before = field.access, ""
            if absent & {field.name, register.name}:
                access, before = "ro", "not in this unit: "
            reset = word >> field.low & (1 << field.bits) - 1
            sw, clears = ACCESS[access]
            meaning = before + field.meaning
            fields[field.name] = (field.low, field.bits, sw, clears, reset, meaning)
        assert found[register.name] == (register.offset, 32, register.meaning, fields)


def test_descriptions_tell_causes_and_strobes(folders: dict[str, Path]) -> None:
    path = folders["ip"] / f"{name_of('ip')}.rdl"
    for top in (compiled(path), imported(path.with_name(f"{path.stem}_component.xml"))):
        cause = next(n for n in top.descendants() if n.inst_name == "CAUSE")
        encoded = {member.name: member.value for member in cause.get_property("encode")}
        assert encoded == {cause.name: cause.value for cause in CAUSES}
    fields = [n for n in compiled(path).descendants() if isinstance(n, FieldNode)]
    single = {n.inst_name for n in fields if n.get_property("singlepulse")}
    assert single == {"START", "ABORT", "CLEAR_COUNTERS"}
    changing = [n.get_path_segments()[-2:] for n in fields if n.is_volatile]
    tree = component(folders["ip"])
    assert changing == [
        [texts(field.getparent(), "x:name")[0], texts(field, "x:name")[0]]
        for field in tree.iterfind(".//x:field", SPACE)
        if texts(field, "x:volatile") == ["true"]
    ]
    assert {name for name, _ in changing} == {"CONTROL", "STATUS", *COUNTERS}


@pytest.mark.parametrize(
    "changes", [{}, {"address_bits": 32}, {"reader": False}], ids=["40", "32", "stream"]
)
@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_described_registers_are_those_of_the_rtl(changes: dict[str, Any]) -> None:
    """Words after reset, and which bits stay written, of the RTL and as described."""
    sizes = SIZES | READER | changes
    block = Registers(**sizes)
    words = {name: f"{word:08x}" for name, word in block.reset_words.items()}
    del block
    gc.collect(1)  # the young ones: all that the tests keep would take seconds
    manifest = {"ports": {}, "config": sizes, "reset_words": words}
    unit = GeneratedVerilog("unit", "", manifest)
    described = {
        r["name"]: r["fields"] for r in description_facts(unit, (), "unit")["register_map"]
    }

    async def test(bus: Bus) -> None:
        for name, fields in described.items():
            if name in ("CYCLES", "STARVED"):
                continue  # they count in the test
            reset = sum(field["reset"] << field["low"] for field in fields)
            assert await bus.read_word(MAP[name].offset) == reset, name
        for name, fields in described.items():
            if name in ("CONTROL", "STATUS", "CYCLES", "STARVED"):
                continue
            await bus.write_word(MAP[name].offset, 0xFFFFFFFF)
            mask = {field["name"]: (1 << field["bits"]) - 1 << field["low"] for field in fields}
            kept = sum(mask[f["name"]] for f in fields if f["access"] == "rw")
            if name == "ADDRESS_HI" and kept:
                kept = (1 << sizes["address_bits"] - 32) - 1
            reset = sum(f["reset"] << f["low"] for f in fields if f["access"] != "rw")
            assert await bus.read_word(MAP[name].offset) == kept | reset, name

    with_bus(test, **changes)


VIVADO = {
    "aclk": ("signal:clock:1.0 aclk CLK", "ASSOCIATED_BUSIF {buses}, ASSOCIATED_RESET aresetn"),
    "aresetn": ("signal:reset:1.0 aresetn RST", "POLARITY ACTIVE_LOW"),
    "irq": ("signal:interrupt:1.0 irq INTERRUPT", "SENSITIVITY LEVEL_HIGH"),
    "s_axil": ("interface:aximm:1.0", "PROTOCOL AXI4LITE, DATA_WIDTH 32, ADDR_WIDTH 8"),
    "m_axi": (
        "interface:aximm:1.0",
        "PROTOCOL AXI4, MAX_BURST_LENGTH 256, NUM_READ_OUTSTANDING 4",
    ),
    "s_axis": (
        "interface:axis:1.0",
        "TDATA_NUM_BYTES 4, TUSER_WIDTH 0, HAS_TKEEP 0, HAS_TLAST 1",
    ),
}


@pytest.mark.parametrize("unit", UNITS)
def test_verilog_has_attributes_for_vivado(unit: str, netlists: dict[str, Any]) -> None:
    """On every port, as Yosys reads them back from the text."""
    parameters: dict[str, str] = {}
    buses = set()
    for port in netlists[unit]["ports"]:
        facts = netlists[unit]["netnames"][port]["attributes"]
        name, _, signal = port.rpartition("_")
        name, info = name or port, facts["X_INTERFACE_INFO"].removeprefix("xilinx.com:")
        if name == port:
            assert info == VIVADO[port][0]
        else:
            buses.add(name)
            kind = "axis" if name.endswith("axis") else "aximm"
            assert info == f"interface:{kind}:1.0 {name} {signal.upper()}"
        if "X_INTERFACE_PARAMETER" in facts:
            assert parameters.setdefault(name, facts["X_INTERFACE_PARAMETER"]) is not None
    assert parameters.keys() == buses | ({"aclk", "aresetn", "irq"} & set(netlists[unit]["ports"]))
    told = re.search(r"ASSOCIATED_BUSIF (\S+),", parameters["aclk"])[1]
    assert sorted(told.split(":")) == sorted(buses)
    for name in parameters.keys() & VIVADO.keys():
        assert parameters[name] == VIVADO[name][1].replace("{buses}", told)
    sizes = dict(part.split() for part in parameters["m_axis"].split(", "))
    ports = {name: len(port["bits"]) for name, port in netlists[unit]["ports"].items()}
    assert 8 * int(sizes["TDATA_NUM_BYTES"]) == ports["m_axis_tdata"]
    assert int(sizes["TUSER_WIDTH"]) == ports.get("m_axis_tuser", 0)
    assert int(sizes["HAS_TKEEP"]) == ("m_axis_tkeep" in ports)


def ghdl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ghdl", *words], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ghdl") is None, reason="GHDL is not installed")
@pytest.mark.parametrize("unit", UNITS)
def test_vhdl_component_is_the_module_of_the_verilog(
    unit: str, folders: dict[str, Path], netlists: dict[str, Any], tmp_path: Path
) -> None:
    """Elaborated by GHDL, bound to an entity with the ports that Yosys sees."""
    top = name_of(unit)
    shutil.copy(folders[unit] / f"{top}_component.vhd", tmp_path)
    kinds, ports = {}, []
    for name, port in netlists[unit]["ports"].items():
        bits = len(port["bits"])
        kinds[name] = f"std_logic_vector({bits - 1} downto 0)" if bits > 1 else "std_logic"
        ports.append(f"{name} : {port['direction'].removesuffix('put')} {kinds[name]}")
    use = "library ieee; use ieee.std_logic_1164.all;\n"
    entity = f"{use}entity {top} is port ({'; '.join(ports)}); end;\n"
    user = (
        f"{use}use work.{top}_component.all;\nentity user is end;\narchitecture a of user is\n"
        + "".join(f"signal {name} : {kind};\n" for name, kind in kinds.items())
        + f"begin\nu : {top} port map ({', '.join(f'{n} => {n}' for n in kinds)});\nend;\n"
    )
    body = f"architecture a of {top} is begin end;\n"
    (tmp_path / "user.vhd").write_text(user)
    for text, fits in ((entity, True), (entity.replace("tdata : out", "tother : out"), False)):
        (tmp_path / "entity.vhd").write_text(text + body)
        files = ("entity.vhd", f"{top}_component.vhd", "user.vhd")
        for file in files:
            done = ghdl(tmp_path, "-a", "--std=08", file)
            assert done.returncode == 0, done.stderr
        done = ghdl(tmp_path, "-e", "--std=08", "user")
        assert (done.returncode == 0) == fits, done.stderr
        if fits:
            assert done.stderr == ""
