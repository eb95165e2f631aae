# SPDX-License-Identifier: Apache-2.0
"""Synthesis reports: sane counts on every target, Fmax, errors that name a log."""

import re
import time
from functools import cache
from pathlib import Path

import pytest
from xorloom.hw.flow import synth
from xorloom.hw.flow.critical_path import path_text, unit_name, wire_share
from xorloom.hw.flow.place import Segment
from xorloom.hw.flow.synth import (
    SynthReport,
    area_by_unit,
    synthesize,
    synthesize_all,
)
from xorloom.hw.flow.targets import TARGETS
from xorloom.hw.flow.tools import yosys
from xorloom.sim.cli.commands.synth import SYNTH_COLUMNS, synth_rows
from xorloom.sw.base.cache import cache_folder
from xorloom.sw.base.errors import ConfigError, ToolError, UnroutedError
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import TrellisConfig

from tests.helpers.made import made_unit

SMALL = BlockConfig(n_in=8, n_out=16, lanes=2, bus_bits=32, block_groups=2)
PAPER = BlockConfig(n_in=20, n_out=200)


def unit_report(unit: str, config: BlockConfig, target: str, seeds: int = 0) -> SynthReport:
    verilog = made_unit(unit, config)
    return synthesize(verilog.text, verilog.name, target, seeds=seeds)


@pytest.mark.synth
def test_synthesize_patch_correction_costs_about_one_lut_per_bit() -> None:
    network, lane = (unit_report(unit, PAPER, "ecp5") for unit in ("network", "lane"))
    assert network.lut is not None
    assert lane.lut is not None
    # 200 bits, and the decoding of positions to rows and columns.
    assert 200 <= lane.lut - network.lut <= 260


SIZES = {
    "n_in_16": (WindowConfig(), 1.9),
    "n_in_32": (WindowConfig(n_in=32), 1.9),
    "bus_128": (WindowConfig(n_in=32, bus_bits=128), 1.9),
    "patches": (WindowConfig(n_in=32, patches=1), 3.0),
}
"""Configurations, and LUTs that a weight bit may take."""


def sizes(quick: str) -> pytest.MarkDecorator:
    """Return all sizes for a test, all but one of them slow."""
    rows = [
        pytest.param(*row, id=name, marks=() if name == quick else pytest.mark.slow)
        for name, row in SIZES.items()
    ]
    return pytest.mark.parametrize(("config", "limit"), rows)


@cache
def luts_a_weight_bit(unit: str, config: WindowConfig) -> float:
    verilog = made_unit(unit, config)
    report = synthesize(verilog.text, verilog.name, "ecp5", seeds=0)
    assert report.lut is not None
    return report.lut / config.n_out


@pytest.mark.synth
@sizes(quick="n_in_32")
def test_window_value_unit_luts_a_weight_bit(config: WindowConfig, limit: float) -> None:
    assert luts_a_weight_bit("value", config) <= limit


@pytest.mark.synth
@pytest.mark.xfail(strict=True, reason="the framing counts words: 0.3 to 0.5 more a bit")
@sizes(quick="patches")
def test_window_decoder_luts_a_weight_bit(config: WindowConfig, limit: float) -> None:
    assert luts_a_weight_bit("decoder", config) <= limit


@pytest.mark.synth
@pytest.mark.parametrize(
    ("patches", "limit"), [pytest.param(0, 2.3, marks=pytest.mark.slow), (1, 3.3)]
)
def test_window_decoder_with_framing_stays_small(patches: int, limit: float) -> None:
    assert luts_a_weight_bit("decoder", WindowConfig(n_in=32, patches=patches)) <= limit


@pytest.mark.synth
def test_window_network_costs_one_lut_per_parity_and_one_per_bit() -> None:
    config = WindowConfig()
    verilog = made_unit("network", config)
    report = synthesize(verilog.text, verilog.name, "ecp5", seeds=0)
    assert report.lut == config.n_out + config.shared


@pytest.mark.synth
@pytest.mark.parametrize(
    ("config", "limit"),
    [
        (TrellisConfig(n_in=21, n_out=128), 3.1),
        pytest.param(TrellisConfig(n_in=84), 3.1, marks=pytest.mark.slow),
        pytest.param(TrellisConfig(n_in=85, classes=4), 4.2, marks=pytest.mark.slow),
    ],
    ids=["small", "fixed", "classes"],
)
def test_trellis_core_luts_a_mask_bit(config: TrellisConfig, limit: float) -> None:
    verilog = made_unit("core", config)
    report = synthesize(verilog.text, verilog.name, "ecp5", seeds=0)
    assert report.lut is not None
    assert report.lut <= limit * config.n_out


@pytest.mark.synth
@pytest.mark.parametrize(
    "target",
    [
        # Of the others cells are counted one by one below, of ecp5 also those of whole units.
        name if name in ("ice40", "gates") else pytest.param(name, marks=pytest.mark.slow)
        for name in TARGETS
    ],
)
def test_synthesize_counts_are_sane_on_every_target(target: str) -> None:
    steps: list[tuple[str, ...]] = []
    verilog = made_unit("decoder", SMALL)
    report = synthesize(
        verilog.text, verilog.name, target, seeds=0, progress=lambda *step: steps.append(step)
    )
    assert (report.design, report.target) == (verilog.name, target)
    assert steps == [("yosys", target)]
    # Two 16-bit slices held in three ranks of registers, gearboxes of several 32-bit words.
    assert 400 < report.ff < 2000
    assert (report.fmax_mhz, report.fmax_min_mhz, report.seeds) == (None, None, 0)
    if target == "gates":
        assert report.lut is None
        assert report.nand2 is not None
        assert report.nand2 > 5.67 * report.ff, "flip-flops alone weigh 5.67 each"
    else:
        assert report.nand2 is None
        assert report.lut is not None
        assert 200 < report.lut < 3000
    assert set(report.to_dict()) == set(SynthReport.__dataclass_fields__)


# Two registers, one of them the XOR of three inputs: one LUT wherever there are LUTs.
LITERAL = (
    "module t(input clk, input a, input b, input c, output reg q, output reg r);\n"
    "always @(posedge clk) begin q <= a ^ b ^ c; r <= a; end\nendmodule\n"
)


@pytest.mark.synth
@pytest.mark.parametrize(
    "target",
    # Of xilinx7 a memory is counted, too, see below.
    [name if name != "xilinx7" else pytest.param(name, marks=pytest.mark.slow) for name in TARGETS],
)
def test_synthesize_counts_a_literal_design(target: str) -> None:
    report = synthesize(LITERAL, "t", target, seeds=0)
    assert report.ff == 2
    assert report.lut == (None if target == "gates" else 1)
    if target == "gates":
        assert report.nand2 == pytest.approx(2 * 5.67 + 2 * 2.0)


# A memory of 16 words of 8 bits that is read at once, and an XOR of eight bits.
MEMORY = """
module t(input clk, input we, input [3:0] wa, input [3:0] ra, input [7:0] d, output reg [7:0] q);
reg [7:0] m [0:15];
reg [3:0] a;
always @(posedge clk) begin a <= ra; if (we) m[wa] <= d; q <= m[a] ^ q; end
endmodule
"""


@pytest.mark.synth
def test_synthesize_tells_luts_of_logic_and_of_memory_and_what_is_placed() -> None:
    report = synthesize(MEMORY, "t", "ecp5", seeds=1)
    assert (report.lut, report.lut_ram, report.ff, report.ram) == (8, 2, 12, 0)
    # 16 by 4 bits are two slices of RAM and one of write control, two LUTs each; a constant is one.
    assert report.placed == 8 + 2 * 6 + 1
    rows = synth_rows([report])
    told = dict(zip(SYNTH_COLUMNS, rows[0], strict=True))
    assert (told["LUT"], told["LUT RAM"], told["placed"]) == ("8", "2", "21 TRELLIS_COMB")
    assert re.fullmatch(r"\S+ -> \S+: [\d.]+ ns, \d+ % wires", str(told["critical path"]))
    report = synthesize(MEMORY, "t", "xilinx7", seeds=0)
    assert (report.lut, report.lut_ram, report.ff, report.ram) == (8, 2, 12, 0)
    assert synthesize(MEMORY, "t", "ice40", seeds=0).lut_ram is None


@pytest.mark.synth
def test_synthesize_reports_fmax_over_placement_seeds() -> None:
    steps: list[tuple[str, ...]] = []
    verilog = made_unit("network", SMALL)
    report = synthesize(
        verilog.text,
        verilog.name,
        "ecp5",
        seeds=1,
        progress=lambda *step: steps.append(step),
        cache=False,
    )
    assert report.seeds == 1
    assert re.fullmatch(r"\S+ -> \S+: [\d.]+ ns, \d+ % wires", report.critical_path)
    assert report.critical_wires is not None
    assert 0 < report.critical_wires < 1
    assert report.fmax_mhz is not None
    assert report.fmax_mhz == report.fmax_min_mhz
    assert 50 < report.fmax_mhz < 2000
    assert steps == [("yosys", "ecp5"), ("nextpnr", "seed 1")]


def test_synthesize_refuses_an_unknown_target() -> None:
    with pytest.raises(
        ConfigError,
        match="target must be one of ecp5, ice40, ice40up, nexus, gowin, gowin9, xilinx7, "
        "xilinxu, intel, gates, not 'ecp6'",
    ):
        synthesize("", "t", "ecp6")


@pytest.mark.synth
def test_synthesize_broken_verilog_names_error_and_log() -> None:
    with pytest.raises(ToolError, match="yosys failed with exit code") as caught:
        synthesize("module t(input a;\nendmodule\n", "t", "ecp5", seeds=0)
    assert "syntax error" in str(caught.value)
    log = re.search(r"\(log: (.*)\)", str(caught.value))
    assert log is not None
    assert "syntax error" in Path(log[1]).read_text()


@pytest.mark.synth
def test_synthesize_cell_without_weight_is_an_error() -> None:
    text = "(* blackbox *)\nmodule box(input a, output q);\nendmodule\n"
    text += "module t(input a, output q);\nbox b(.a(a), .q(q));\nendmodule\n"
    with pytest.raises(ToolError, match=r"yosys left cells without a NAND2 weight: .*box"):
        synthesize(text, "t", "gates")


def test_yosys_unknown_pass_is_a_tool_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"yosys failed with exit code .*no_such_pass"):
        yosys(["no_such_pass"], tmp_path / "yosys.log")


# A path between registers, which is what counts out of context.
CHAIN = LITERAL.replace("r <= a;", "r <= q;")
HARNESSED = [name for name, target in TARGETS.items() if target.harness]


@pytest.mark.synth
@pytest.mark.parametrize(
    "target",
    [name if name == "gowin" else pytest.param(name, marks=pytest.mark.slow) for name in HARNESSED],
)
def test_synthesize_places_a_literal_design_in_a_harness(target: str) -> None:
    report = synthesize(LITERAL, "t", target, seeds=1, cache=False)
    assert (report.lut, report.ff) == (1, 2), "the harness does not count"
    assert report.fmax_mhz is not None
    assert 30 < report.fmax_mhz < 2000
    assert report.critical_path


@pytest.mark.synth
def test_synthesize_takes_seeds_from_the_cache_and_adds_more(
    own_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed: list[int] = []
    real = synth.place

    def counted(*arguments: object, **options: object) -> object:
        placed.append(options["seed"])  # type: ignore[arg-type]
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(synth, "place", counted)
    one = synthesize(CHAIN, "t", "ecp5", seeds=1)
    start = time.perf_counter()
    assert synthesize(CHAIN, "t", "ecp5", seeds=1) == one
    assert time.perf_counter() - start < 0.5
    assert placed == [1]
    (netlist,) = (cache_folder() / "synth").glob("*.netlist.gz")
    netlist.write_bytes(b"damaged")
    two = synthesize(CHAIN, "t", "ecp5", seeds=2)
    assert placed == [1, 2]
    assert (two.seeds, two.lut, two.ff) == (2, 1, 2)
    assert synthesize(CHAIN, "t", "ecp5", seeds=1) == one


@pytest.mark.synth
def test_synthesize_all_keeps_the_order_of_its_designs() -> None:
    names = ["ecp5", "ice40", "gates"]  # the last one is the first to be done
    reports = synthesize_all([(LITERAL, "t", name) for name in names], seeds=0)
    assert [report.target for report in reports] == names


@pytest.mark.synth
def test_synthesize_tool_that_crashes_names_its_log(monkeypatch: pytest.MonkeyPatch) -> None:
    real = synth.place

    def broken(*arguments: object, **options: object) -> object:
        return real(*arguments, **options | {"arguments": ("--no-such-option",)})  # type: ignore[arg-type]

    monkeypatch.setattr(synth, "place", broken)
    with pytest.raises(ToolError, match=r"nextpnr-ecp5 failed with exit code .*no-such-option"):
        synthesize(LITERAL, "t", "ecp5", seeds=1, cache=False)


@pytest.mark.synth
def test_synthesize_takes_another_seed_for_one_that_is_not_routed(
    own_cache: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tried, good = synth.place, [], {2, 3}

    def choosy(*arguments: object, **options: object) -> object:
        tried.append(options["seed"])
        if options["seed"] not in good:
            raise UnroutedError("Failed to route arc 0.0", late=options["seed"] == 9)
        return real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(synth, "place", choosy)
    assert synthesize(CHAIN, "t", "ecp5", seeds=2).seeds == 2
    assert sorted(tried) == [1, 2, 3]
    good.clear()
    with pytest.raises(UnroutedError, match="Failed to route"):
        synthesize(CHAIN, "t", "ecp5", seeds=1, cache=False)
    report = synthesize(CHAIN, "t", "ecp5", seeds=1, cache=False, must_fit=False)
    assert (report.fits, report.fmax_mhz, report.seeds) == (True, None, 0)
    assert report.excess == "Failed to route arc 0.0"
    tried.clear()
    monkeypatch.setattr(synth, "place", choosy)
    monkeypatch.setattr(synth, "_ATTEMPTS", 20)
    with pytest.raises(UnroutedError):
        synthesize(CHAIN, "t", "ecp5", seeds=1, cache=False)
    assert tried == list(range(1, 10))  # the ninth is late: no other is tried


def test_critical_path_is_told_in_names_of_modules() -> None:
    path = (
        Segment("clk-to-q", "decoder.unit.control.take_TRELLIS_FF_Q", "x", 0.5),
        Segment("routing", "x", "y", 1.5),
        Segment("setup", "y", "decoder.unit.pipe.own_0_SB_DFFE_Q_D_SB_LUT4_O_LC", 0.0),
    )
    assert path_text(path) == "control.take -> pipe.own_0: 2.0 ns, 75 % wires"
    assert wire_share(path) == 0.75
    assert (path_text(()), wire_share(())) == ("", 0.0)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("b_TRELLIS_FF_Q_2", "b"),
        ("decoder.frames.$13_DFFE_Q", "frames._13"),
        ("harness_SB_DFF_12", "pins"),
        ("unit.reader.place_LUT4_C_Z_LUT4_Z", "reader.place"),
    ],
)
def test_unit_name_drops_what_mapping_added(cell: str, name: str) -> None:
    assert unit_name(cell) == name


@pytest.mark.synth
def test_area_by_unit_adds_up_to_the_whole() -> None:
    generated = made_unit("decoder", WindowConfig(n_in=8, n_out=64, window=64, shared=32))
    areas = area_by_unit(generated.text, generated.name)
    assert {"decoder frames", "decoder unit"} <= {area.unit for area in areas}
    whole = synthesize(generated.text, generated.name, "ecp5", seeds=0)
    assert whole.lut is not None
    assert whole.lut <= sum(area.lut for area in areas) <= 1.25 * whole.lut
    assert sum(area.ff for area in areas) >= whole.ff
