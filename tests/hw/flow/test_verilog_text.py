# SPDX-License-Identifier: Apache-2.0
"""Text of the Verilog: what may be put into what, names, and that all of it keeps its meaning."""

from pathlib import Path

import pytest
from xorloom.hw.flow.tools import yosys
from xorloom.hw.flow.verilog.expressions import number_text, parse, text_of, width_of
from xorloom.hw.flow.verilog.identifiers import VERILOG_WORDS
from xorloom.hw.flow.verilog.inline import inline
from xorloom.hw.flow.verilog.labels import adopt_registers, label, legal
from xorloom.hw.flow.verilog.modules import Module, read_modules
from xorloom.hw.flow.verilog.write import module_text

PORTS = {
    "input clk": 1,
    "input a": 4,
    "input b": 4,
    "input c": 1,
    "input signed s": 4,
    "output y": 8,
    "output z": 4,
}


def source(statements: str, name: str = "top") -> str:
    """Return a module in Yosys's hand, with wires ``_1_`` (4 bits), ``_2_`` (1), ``_3_`` (5)."""
    ports = [port.split()[-1] for port in PORTS]
    lines = [f"module {name}({', '.join(ports)});"]
    for port, bits in PORTS.items():
        *kind, port_name = port.split()
        span = f"[{bits - 1}:0] " if bits > 1 else ""
        lines += [f"  {' '.join(kind)} {span}{port_name};"]
        lines += [f"  wire {' '.join(kind[1:])}{' ' * len(kind[1:])}{span}{port_name};"]
    lines += ["  wire [3:0] _1_;", "  wire _2_;", "  wire [4:0] _3_;"]
    lines += [f"  {line.strip()}" for line in statements.strip().splitlines()]
    return "\n".join([*lines, "endmodule"]) + "\n"


def written(text: str) -> tuple[Module, str]:
    (module,) = read_modules(text)
    adopt_registers(module)
    inline(module)
    label(module)
    return module, module_text(module, "", {})


CASES = {
    "one reader": ("assign _1_ = a & b;\nassign z = _1_ | a;", "z = (a & b) | a;"),
    "sum in its own width": ("assign _1_ = a + b;\nassign z = _1_ ^ b;", "z = (a + b) ^ b;"),
    "sum loses its carry": ("assign _1_ = a + b;\nassign y = _1_;", "y = z_1;"),
    "sum with its carry": ("assign _3_ = a + b;\nassign y = _3_;", "y = y_1;"),
    "carry in a concatenation": ("assign _3_ = a + b;\nassign y = { _3_, 3'h0 };", "{y_1, 3'h0}"),
    "short value in a concatenation": ("assign _1_ = c;\nassign y = { _1_, a };", "{y_1, a}"),
    "signed net alone": ("assign _1_ = s;\nassign y = _1_;", "y = y_1;"),
    "not extends with zeros": ("assign _1_ = ~a;\nassign y = _1_ | a;", "y = y_1 | a;"),
    "not in a concatenation": (
        "assign _1_ = ~ a;\nassign y = { _1_, b };",
        "y = {~a, b};",
    ),
    "and may be wider": ("assign _1_ = a & b;\nassign y = _1_ | a;", "y = (a & b) | a;"),
    "comparison of a sum": ("assign _1_ = a + b;\nassign _2_ = _1_ == 4'h3;\nassign z = _2_;", ""),
    "comparison with more": ("assign _1_ = a - b;\nassign _2_ = _1_ > 6'h03;\nassign z = _2_;", ""),
    "shift": ("assign _1_ = a << b[1:0];\nassign y = _1_;", ""),
    "shifted": ("assign _1_ = a ^ b;\nassign z = _1_ >> 2'h1;", "z = (a ^ b) >> 2'h1;"),
    "choice": (
        "assign _2_ = a == b;\nassign _1_ = _2_ ? a : b;\nassign z = c ? 4'h0 : _1_;",
        "(a == b) ? a :",
    ),
    "part of a net": ("assign _1_ = a & b;\nassign z = { _1_[2:0], c };", "z = {z_1[2:0], c};"),
    "index": ("assign _2_ = a[b[1:0]];\nassign z = { 3'h0, _2_ };", ""),
    "signed": ("assign _2_ = $signed(a) >= $signed(b);\nassign z = { 3'h0, _2_ };", "$signed"),
    "signed sum": ("assign _3_ = $signed(a) + $signed(s);\nassign y = $signed(_3_);", ""),
    "signed net": ("assign _1_ = s;\nassign y = _1_ + 1'h1;", ""),
    "many readers": (
        "assign _1_ = { a[0], b[1], a[2], c };\nassign z = _1_ & a;\nassign y = { _1_, _1_ };",
        "",
    ),
    "cheap for many readers": (
        "assign _2_ = ~ c;\nassign z = { _2_, _2_, _2_, _2_ };\nassign y = { 7'h00, _2_ };",
        "z = {4{~c}};",
    ),
    "minus": ("assign _1_ = - a;\nassign y = { 4'h0, _1_ };", "y = {4'h0, -a};"),
    "reduction": (
        "assign _2_ = | a;\nassign _1_ = { 3'h0, _2_ };\nassign z = ~ _1_;",
        "z = ~{3'h0, |a};",
    ),
    "register": (
        "reg [3:0] q = 4'h5;\nassign _1_ = c ? a : q;\nalways @(posedge clk)\nq <= _1_;\n"
        "assign z = q;",
        "q <= c ? a : q;",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_expressions_stand_where_they_may(case: str) -> None:
    statements, expected = CASES[case]
    if "z = " not in statements:
        statements += "\nassign z = a;"
    _, text = written(source(statements))
    if expected:
        assert expected.replace("z_1;", "y_1;") in text.replace("z_1;", "y_1;"), text


@pytest.mark.proof
def test_texts_mean_what_they_did(tmp_path: Path) -> None:
    gold, gate, passes = [], [], []
    for number, (statements, _) in enumerate(CASES.values()):
        name = f"case{number}"
        missing = "".join(
            f"\nassign {out} = a;" for out in "yz" if f"assign {out} = " not in statements
        )
        text = source(statements + missing, name)
        gold.append(text)
        gate.append(written(text)[1])
        passes += ["design -reset", "read_verilog gold.v", f"prep -top {name}"]
        passes += ["design -stash gold", "read_verilog gate.v", f"prep -top {name}"]
        passes += ["design -stash gate", f"design -copy-from gold -as gold {name}"]
        passes += [f"design -copy-from gate -as gate {name}", "equiv_make gold gate equiv"]
        passes += ["hierarchy -top equiv", "equiv_simple -undef", "equiv_status -assert"]
    (tmp_path / "gold.v").write_text("".join(gold))
    (tmp_path / "gate.v").write_text("".join(gate))
    yosys(passes, tmp_path / "equal.log")


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("a + b", 4),
        ("{ a, c }", 5),
        ("a == b", 1),
        ("| a", 1),
        ("~ a", 4),
        ("c ? a : 6'h00", 6),
        ("a << 9'h003", 4),
        ("a[2:1]", 2),
        ("a[2]", 1),
        ("a[b]", 1),
        ("m[b]", 7),
        ("$signed(a)", 4),
    ],
)
def test_width_is_that_of_the_standard(text: str, width: int) -> None:
    assert width_of(parse(text), {"a": 4, "b": 4, "c": 1, "m[]": 7}) == width


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{ c, c, c, a }", "{{3{c}}, a}"),
        ("{ a, a, a }", "{3{a}}"),
        ("{ a, a }", "{a, a}"),
        ("a & b & c", "a & b & c"),
        ("a & ( b | c )", "a & (b | c)"),
        ("~ ( | a )", "~(|a)"),
        ("c ? a : b ? a : b", "c ? a : b ? a : b"),
        ("\\a.b [3:0] + 4'h0f", "a.b[3:0] + 4'hf"),
    ],
)
def test_expressions_are_written_for_readers(text: str, expected: str) -> None:
    assert text_of(parse(text)) == expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("32'd4294967295", "32'hffffffff"),
        ("64'h0000000000000000", "64'h0"),
        ("65'h1ffffffffffffffff", "{65{1'h1}}"),
        ("64'hffffffffffffffff", "64'hffffffffffffffff"),
        ("3'hx", "3'hx"),
        ("7", "7"),
    ],
)
def test_numbers_are_short(number: str, text: str) -> None:
    assert number_text(number) == text


def test_names_tell_what_a_net_is_for() -> None:
    text = """
        reg [3:0] q = 4'h0;
        wire [3:0] \\x.y[2] ;
        assign _1_[1:0] = a[1:0];
        assign _1_[3:2] = b[1:0];
        always @(posedge clk)
        q <= _1_;
        assign \\x.y[2] = q;
        assign z = \\x.y[2] ;
        assign y = 8'h00;
    """
    module, out = written(source(text))
    assert {"q_next", "x__y_2"} <= set(module.nets)
    assert "\\" not in out
    assert legal("o__payload$24") == "o__payload_24"
    assert legal("begin") == "begin_signal"
    assert {"begin", "logic", "join"} <= VERILOG_WORDS


def test_read_port_of_a_memory_is_the_wire_that_it_drives() -> None:
    text = """
        reg [3:0] m [3:0];
        initial begin
        m[0] = 4'h1;
        m[1] = 4'h2;
        m[2] = 4'h3;
        m[3] = 4'h4;
        end
        reg [3:0] _9_;
        always @(posedge clk) begin
        if (c) begin
        _9_ <= m[a[1:0]];
        end
        end
        assign z = _9_;
        assign y = 8'h00;
    """
    _, out = written(source(text))
    assert "  output reg  [3:0] z,\n" in out or "  output reg  [3:0] z\n" in out
    assert "    if (c)\n      z <= m[a[1:0]];\n" in out
    assert "    m[0] = 4'h1; m[1] = 4'h2; m[2] = 4'h3; m[3] = 4'h4;\n" in out


def test_reader_refuses_what_it_does_not_know() -> None:
    with pytest.raises(AssertionError, match="not understood: 'always_comb'"):
        read_modules(source("always_comb"))
