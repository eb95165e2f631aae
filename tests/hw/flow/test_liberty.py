# SPDX-License-Identifier: Apache-2.0
"""Any Liberty file: functions, the NAND2, areas of a hand-made library, what is damaged."""

import gzip
from itertools import product
from pathlib import Path

import pytest
from xorloom.hw.flow.boolean import truth_table
from xorloom.hw.flow.liberty import read_library, synthesize_asic
from xorloom.sw.base.errors import ConfigError, FormatError, ToolError

TABLE = """{name} (grid) {{ values ("{low}, {high}", "{low}, {high}"); }}
"""
TABLES = ("cell_rise", "cell_fall", "rise_transition", "fall_transition")


def timing(pin: str, sense: str, delay: float) -> str:
    lows = (delay if "cell" in name else 0.01 for name in TABLES)
    tables = "".join(
        TABLE.format(name=name, low=low, high=low + 0.5)
        for name, low in zip(TABLES, lows, strict=True)
    )
    return f'timing () {{ related_pin : "{pin}"; timing_sense : {sense};\n{tables} }}\n'


def gate(name: str, area: float, function: str, inputs: str, delay: float = 0.1) -> str:
    sense = "positive_unate" if function == "A" else "negative_unate"
    pins = "".join(f"pin ({pin}) {{ direction : input; capacitance : 0.001; }}\n" for pin in inputs)
    arcs = "".join(timing(pin, sense, delay) for pin in inputs)
    return (
        f"cell ({name}) {{ area : {area};\n{pins}"
        f'pin (Y) {{ direction : output; function : "{function}"; max_capacitance : 1;\n'
        f"{arcs} }} }}\n"
    )


FLOP = """cell (DFF) { area : 10; ff (IQ, IQN) { clocked_on : "CK"; next_state : "D"; }
 pin (CK) { direction : input; clock : true; capacitance : 0.001; }
 pin (D) { direction : input; capacitance : 0.001; }
 pin (Q) { direction : output; function : "IQ"; } }
"""
HEAD = """library (tiny) { /* a brace in a comment { */ time_unit : "1ns";
 capacitive_load_unit (1, pf); delay_model : table_lookup;
 lu_table_template (grid) { variable_1 : input_net_transition;
  variable_2 : total_output_net_capacitance; index_1 ("0.001, 1"); index_2 ("0.0001, 1"); }
"""
GATES = (
    gate("INV", 1, "!A", "A")
    + gate("BUF", 3, "A", "A")
    + gate("WIDE_NAND", 5, "(A*B)'", "AB")
    + gate("NAND", 2, "(!A) | (!B)", "AB")
    + gate("NOR", 1.5, "!(A+B)", "AB")
)
TINY = HEAD + GATES + FLOP + "}\n"
TWO_NANDS = """module top(input clk, input a, input b, input c, output reg q);
always @(posedge clk) q <= ~(~(a & b) & c);
endmodule
"""


def library_file(folder: Path, text: str) -> Path:
    path = folder / "cells.lib"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("function", "python"),
    [
        ("!(A&B)", lambda a, b, c: not (a and b)),
        ("(A*B)'", lambda a, b, c: not (a and b)),
        ("(!A) | (!B)", lambda a, b, c: not (a and b)),
        ("A' + B'", lambda a, b, c: not (a and b)),
        ("A B + C", lambda a, b, c: (a and b) or c),
        ("A ^ B & C", lambda a, b, c: (a != b) and c),
        ("!A B", lambda a, b, c: (not a) and b),
        ("((A*B)+1)", lambda a, b, c: True),
        ("0", lambda a, b, c: False),
    ],
)
def test_truth_table_is_that_of_the_expression(function, python):
    rows = [bits[::-1] for bits in product((False, True), repeat=3)]
    assert truth_table(function, "ABC") == sum(
        1 << n for n, bits in enumerate(rows) if python(*bits)
    )


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("A & X", "'X' is no input"),
        ("(A", r"expected \)"),
        ("A & ", "'end' is no input"),
        ("A ) B", r"'\)' is one too many"),
        ("A ? B", "unknown character"),
    ],
)
def test_truth_table_refuses_what_is_no_function(function, text):
    with pytest.raises(FormatError, match=text):
        truth_table(function, "AB")


@pytest.mark.parametrize("zipped", [False, True])
def test_read_library_finds_the_smallest_nand_by_function(tmp_path, zipped):
    path = library_file(tmp_path, TINY)
    if zipped:
        path.write_bytes(gzip.compress(TINY.encode()))
    library = read_library(path)
    assert (library.name, library.nand2, library.nand2_area) == ("tiny", "NAND", 2.0)
    assert library.sequential == {"DFF"}
    assert library.areas == {"INV": 1, "BUF": 3, "WIDE_NAND": 5, "NAND": 2, "NOR": 1.5, "DFF": 10}


@pytest.mark.synth
def test_synthesize_asic_counts_a_literal_design(tmp_path):
    steps: list[tuple[str, ...]] = []
    library = read_library(library_file(tmp_path, TINY))
    report = synthesize_asic(
        TWO_NANDS, "top", library, progress=lambda *step: steps.append(step), cache=False
    )
    assert report.area == 2 + 2 + 10
    assert report.nand2 == 7
    assert report.sequential == pytest.approx(10 / 14)
    assert (report.ff, report.lut, report.target) == (1, None, "tiny")
    # ABC asks for several sizes of every gate; without, there is no delay, and still an area.
    assert (report.delay_ns, report.fast_area) == (None, None)
    assert steps == [("yosys", "tiny")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello", r"cells\.lib: expected a Liberty file that starts with library"),
        (TINY[:-40], "opening but .* closing braces: cut off"),
        (HEAD + FLOP + "}", "library tiny has no 2-input NAND"),
        (HEAD + GATES + "}", "library tiny has no flip-flop"),
        (HEAD + "}", "has no cell with an area, no flip-flop, no 2-input NAND"),
    ],
)
def test_read_library_tells_what_is_wrong(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        read_library(library_file(tmp_path, text))


def test_read_library_missing_and_damaged_files(tmp_path):
    with pytest.raises(ConfigError, match=r"--liberty: no file .*none\.lib"):
        read_library(tmp_path / "none.lib")
    broken = tmp_path / "cells.lib.gz"
    broken.write_bytes(gzip.compress(TINY.encode())[:-20])
    with pytest.raises(FormatError, match=r"cells\.lib\.gz: damaged gzip file"):
        read_library(broken)


@pytest.mark.synth
def test_synthesize_asic_without_cells_for_the_design_is_an_error(tmp_path):
    library = read_library(library_file(tmp_path, TINY))
    text = "module wires(input a, output y); assign y = a; endmodule"
    with pytest.raises(ToolError, match="library tiny has no cells for wires"):
        synthesize_asic(
            text,
            "wires",
            library,
            cache=False,
        )


@pytest.mark.synth
def test_synthesize_asic_broken_verilog_names_its_log(tmp_path):
    library = read_library(library_file(tmp_path, TINY))
    with pytest.raises(ToolError, match=r"yosys failed .*syntax error.*\(log: "):
        synthesize_asic("module t(input a;\nendmodule\n", "t", library, cache=False)
