# SPDX-License-Identifier: Apache-2.0
"""The command line, run in this process, and options of small decoders."""

import contextlib
import io
import sys

import pytest
from xorloom.sim.cli import main as cli

__all__ = ["BLOCK", "SMALL", "TOPS", "WINDOW", "refuses", "xorloom"]

BLOCK = ["--value", "block", "--n-in", "8", "--n-out", "30", "--lanes", "2", "--bus-bits", "32"]
WINDOW = ["--n-in", "8", "--n-out", "64", "--window", "64", "--frame", "16", "--bus-bits", "32"]
SMALL = {"block": BLOCK, "window": WINDOW}
TOPS = {"block": "xorloom_block_decoder", "window": "xorloom_window_decoder"}


def xorloom(*arguments: object, code: int = 0) -> tuple[str, str]:
    """Run the command in this process (test_cli.py starts it); return stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["xorloom", *map(str, arguments)])
        patch.setenv("COLUMNS", "100")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
                found = 0
            except SystemExit as end:
                found = int(end.code or 0)
    assert found == code, f"exit {found}: {out.getvalue()}{err.getvalue()}"
    assert "Traceback" not in err.getvalue()
    assert "internal error" not in err.getvalue()
    return out.getvalue(), err.getvalue()


def refuses(text: str, *arguments: object, code: int = 2) -> None:
    """Run a command that must fail with ``text`` on stderr and nothing on stdout."""
    out, err = xorloom(*arguments, code=code)
    assert text in " ".join(err.split()), err
    assert out == ""
