# SPDX-License-Identifier: Apache-2.0
"""Pins against amaranth-boards, tables, Tcl against the generated IP."""

import re
import shutil
import subprocess
from dataclasses import replace
from importlib import import_module

import pytest
from xorloom.hw.boards.fit import check_fit, check_image
from xorloom.hw.boards.table import BOARDS, Pll, board_named
from xorloom.hw.flow.devices import Resources
from xorloom.hw.units import generate_unit
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.index_config import TrellisConfig

from tests.helpers.paths import ROOT

PLATFORMS = {
    "ulx3s": ("ulx3s", "ULX3S_85F_Platform"),
    "icebreaker": ("icebreaker", "ICEBreakerPlatform"),
    "tang-nano-9k": ("tang_nano_9k", "TangNano9kPlatform"),
    "arty-a7": ("arty_a7", "ArtyA7_35Platform"),
}


def platform(name):
    module, cls = PLATFORMS[name]
    return getattr(import_module(f"amaranth_boards.{module}"), cls)


def pins_of(resource, connectors):
    """Return the pins of a resource's signals, by subsignal, connectors resolved."""

    def resolve(io):
        names = io.map_names(connectors, resource)
        return " ".join(names)

    if resource.ios and hasattr(resource.ios[0], "names"):
        return {"": resolve(resource.ios[0])}
    return {sub.name: resolve(sub.ios[0]) for sub in resource.ios}


def expected_pins(name):
    """Return what amaranth-boards says about the pins that we use."""
    board = platform(name)
    resources = list(board.resources)
    if name == "icebreaker":
        resources += board.break_off_pmod
    connectors = {
        f"{c.name}_{c.number}:{pin}": target
        for c in board.connectors
        for pin, target in c.mapping.items()
    }
    known = {(r.name, r.number): r for r in resources}

    def pins_at(name, number=0):
        return pins_of(known[name, number], connectors)

    button = {
        "ulx3s": ("button_fire", 0),
        "icebreaker": ("button", 0),
        "tang-nano-9k": ("button", 1),
        "arty-a7": ("rst", 0),
    }[name]
    first = {"icebreaker": 2}.get(name, 0)
    clk = pins_at(board.default_clk)[""]
    pins = {"clk": clk, "button": pins_at(*button)[""], "uart_tx": pins_at("uart")["tx"]}
    pins |= {f"led[{k}]": pins_at("led", first + k)[""] for k in range(BOARDS[name].lights)}
    if BOARDS[name].flash_bytes:
        flash = pins_at("spi_flash_1x")
        names = {"sclk": "clk", "cs_n": "cs", "copi": "copi", "cipo": "cipo"}
        pins |= {f"flash_{ours}": flash[theirs] for ours, theirs in names.items()}
    return pins


def pins_in(path):
    """Return the pins that a file of constraints sets."""
    text = path.read_text()
    pattern = {
        ".lpf": r'LOCATE COMP "(?P<port>\S+)" SITE "(?P<pin>\w+)"',
        ".pcf": r"^set_io (?:-pullup yes )?(?P<port>\S+) (?P<pin>\w+)$",
        ".cst": r'IO_LOC "(?P<port>\S+)" (?P<pin>\w+);',
        ".xdc": r"PACKAGE_PIN (?P<pin>\w+) .*\[get_ports \{?(?P<port>[\w\[\]]+?)\}?\]$",
    }[path.suffix]
    found = [(m["port"], m["pin"]) for m in re.finditer(pattern, text, re.MULTILINE)]
    assert len(dict(found)) == len(found)
    return dict(found)


@pytest.mark.parametrize("name", BOARDS)
def test_boards_pins_are_those_of_amaranth_boards(name):
    assert pins_in(ROOT / "constraints" / BOARDS[name].pins) == expected_pins(name)


@pytest.mark.parametrize("name", BOARDS)
def test_boards_crystal_and_device_are_those_of_amaranth_boards(name):
    board, theirs = BOARDS[name], platform(name)
    clock = next(r for r in theirs.resources if r.name == theirs.default_clk)
    assert board.crystal_mhz * 1e6 == clock.clock.frequency
    part = theirs.part if name == "tang-nano-9k" else f"{theirs.device} {theirs.package}".lower()
    ours = {
        "ulx3s": "lfe5u-85f bg381",
        "icebreaker": "ice40up5k sg48",
        "tang-nano-9k": board.device,
        "arty-a7": "xc7a35ti csg324",
    }[name]
    assert part == ours


@pytest.mark.parametrize("name", BOARDS)
def test_boards_levels_are_those_of_amaranth_boards(name):
    board, theirs = BOARDS[name], platform(name)
    resources = list(theirs.resources) + list(getattr(theirs, "break_off_pmod", []))
    table = {(r.name, r.number): r for r in resources}
    led = table["led", 2 if name == "icebreaker" else 0]
    assert led.ios[0].invert == board.lights_low
    button = {"ulx3s": ("button_fire", 0), "arty-a7": ("rst", 0)}.get(name, ("button", 0))
    assert table[button].ios[0].invert == board.button_low


def test_boards_clocks():
    clocks = {name: board.clock_mhz for name, board in BOARDS.items()}
    assert clocks == {"ulx3s": 100, "icebreaker": 30, "tang-nano-9k": 27, "arty-a7": 100}
    for board in BOARDS.values():
        if board.pll:
            vco = board.crystal_mhz * board.pll.multiply / board.pll.divide
            low, high = {"ecp5": (400, 800), "ice40": (533, 1066), "xilinx7": (600, 1200)}[
                board.family
            ]
            assert low <= vco <= high
            assert vco / board.pll.out_divide == board.clock_mhz
    with_pll = replace(board_named("tang-nano-9k"), pll=Pll(divide=1, multiply=16, out_divide=8))
    assert with_pll.clock_mhz == 54


def test_boards_unknown_name():
    text = "board must be one of ulx3s, icebreaker, tang-nano-9k, arty-a7, not 'de10'"
    with pytest.raises(ConfigError, match=text):
        board_named("de10")


def test_board_fit_says_by_how_much_a_design_is_too_large():
    board = board_named("icebreaker")
    check_fit(board, Resources(lut=5200, lut_ram=80, ff=5280, ram=30))
    text = r"icebreaker: the design takes 5300 LUT4 of 5280 \(20 too many\), 31 block RAMs of 30 "
    with pytest.raises(CapacityError, match=text + r"\(1 too many\): lower n_out"):
        check_fit(board, Resources(lut=5200, lut_ram=100, ff=10, ram=31))


def test_board_fit_says_by_how_much_an_image_is_too_long():
    board = board_named("tang-nano-9k")
    check_image(board, 26 * 2048)
    text = "the image of 53300 bytes is 52 bytes longer than the 26 block RAMs of 53248 bytes"
    with pytest.raises(CapacityError, match=text):
        check_image(board, 53300)
    with pytest.raises(CapacityError, match="1 bytes longer than the flash behind the bitstream"):
        check_image(board_named("icebreaker"), (15 << 20) + 1)


def test_zynq_tcl_names_ports_of_the_ip():
    text = (ROOT / "constraints" / "zynq_bd.tcl").read_text()
    value = WindowConfig(n_in=8, n_out=64, window=64, shared=32, bus_bits=64)
    index = TrellisConfig(n_in=10, n_out=64, window=8, bus_bits=64)
    ip = generate_unit("ip", value, indexes=[index])
    assert re.search(r"-reference (\w+) weights", text)[1] == ip.name
    ports = ip.manifest["ports"]
    named = set(re.findall(r"weights/(\w+)\]", text))
    for name in named:
        assert name in ports or any(port.startswith(f"{name}_") for port in ports), name
    assert named == {"aclk", "aresetn", "irq", "s_axil", "m_axi", "m_axis"}


@pytest.mark.parametrize("name", ["arty_a7.tcl", "zynq_bd.tcl", "arty_a7.xdc"])
def test_tcl_is_complete(name):
    if shutil.which("tclsh") is None:
        pytest.skip("tclsh is missing: apt-get install tcl")
    code = f"puts [info complete [read [open {{{ROOT / 'constraints' / name}}}]]]"
    done = subprocess.run(["tclsh"], input=code, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
