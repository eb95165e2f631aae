# SPDX-License-Identifier: Apache-2.0
"""What a tool that fails is quoted with."""

import pytest
from xorloom.hw.flow.tools import run_python
from xorloom.sw.base.errors import ToolError


@pytest.mark.parametrize(
    ("printed", "quoted"),
    [
        # Yosys: a trace with a signal called error, printed in another stream than the error.
        (
            ("ERROR: Called with -verify and proof did fail!", r"3 \error 0 0"),
            "ERROR: Called with -verify and proof did fail!",
        ),
        # nextpnr: a count of errors comes last.
        (("ERROR: no clock", "0 warnings, 1 error"), "ERROR: no clock"),
        (("Traceback:", "ValueError: one", "done"), "ValueError: one"),
        (("first", "last", ""), "last"),
        ((), "(no output)"),
    ],
)
def test_a_failure_is_quoted_with_its_most_telling_line(printed, quoted, tmp_path):
    code = f"for line in {list(printed)!r}: print(line)\nraise SystemExit(7)"
    with pytest.raises(ToolError) as caught:
        run_python(code, tmp_path / "tool.log", "tool")
    assert str(caught.value).startswith(f"tool failed with exit code 7: {quoted} (log: ")


def test_a_tool_that_crashes_names_what_may_heal_it(tmp_path):
    code = "import os, signal; print('loading', flush=True); os.kill(os.getpid(), signal.SIGSEGV)"
    with pytest.raises(ToolError) as caught:
        run_python(code, tmp_path / "tool.log", "tool")
    text = str(caught.value)
    assert text.startswith("tool was killed by signal 11: loading (log: ")
    assert text.endswith("; if it happens again, try xorloom cache --clear)")


def test_a_failure_names_a_log_that_stays(tmp_path):
    with pytest.raises(ToolError, match=r"\(log: .*xorloom-tool-.*\.log\)"):
        run_python("raise SystemExit(1)", tmp_path / "tool.log", "tool")
