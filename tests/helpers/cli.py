# SPDX-License-Identifier: Apache-2.0
"""The command line, run in this process."""

import contextlib
import io
import sys

import pytest
from xorloom.sim.cli import main as cli

__all__ = ["refuses", "xorloom"]


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
    return out.getvalue(), err.getvalue()


def refuses(text: str, *arguments: object) -> None:
    """Run a command that must fail with ``text`` on stderr and nothing on stdout."""
    out, err = xorloom(*arguments, code=2)
    assert text in " ".join(err.split()), err
    assert out == ""
