# SPDX-License-Identifier: Apache-2.0
"""Closed, full and narrow streams, and signals, most of the command as a process of its own."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from xorloom.sim.cli.console.output import print_table

COMMAND = [sys.executable, "-m", "xorloom.sim.cli"]
BANDWIDTH = [*COMMAND, "bandwidth", "--bits-per-weight", "1"]


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run a shell's line with the command as ``$@``."""
    words = ["bash", "-c", line, "bash", *BANDWIDTH]
    return subprocess.run(words, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("line", "code", "message"),
    [
        ('"$@" >&-', 1, "xorloom: stdout is closed: there is nowhere to print to\n"),
        ('"$@" <&- >&-', 1, "xorloom: stdout is closed: there is nowhere to print to\n"),
        ('"$@" >/dev/full', 1, "xorloom: cannot write to stdout: No space left on device\n"),
        ('"$@" --json >/dev/full', 1, "xorloom: cannot write to stdout: No space left on device\n"),
        ('"$@" | true; exit ${PIPESTATUS[0]}', 1, ""),
        ('"$@" 2>&- <&- >/dev/null', 0, ""),
        ('"$@" --no-such-option 2>&-', 2, ""),
    ],
)
def test_a_stream_that_takes_nothing_is_told_in_one_line(
    line: str, code: int, message: str
) -> None:
    if "| true" in line:
        line = line.replace('"$@"', '(sleep 0.2; exec "$@")')
    done = shell(line)
    assert (done.returncode, done.stderr) == (code, message)


def writes(process: int, folder: Path) -> bool:
    """Return whether a process has an unnamed file open in a folder."""
    for handle in Path(f"/proc/{process}/fd").iterdir():
        try:
            name = str(handle.readlink())
        except FileNotFoundError:
            continue
        if name.startswith(str(folder)) and name.endswith("(deleted)"):
            return True
    return False


LONG = ["--index-bits", "0.1", "--density", "0.1", "--index-window", "16"]


def test_a_command_that_is_stopped_leaves_nothing_behind(tmp_path: Path) -> None:
    source = tmp_path / "m.npz"
    np.savez(source, w=np.random.default_rng(1).normal(size=(1024, 1024)).astype("f4"))
    old = tmp_path / "old.safetensors"
    old.write_bytes(b"old")
    words = [*COMMAND, "compress", str(source), "-o", str(old), *LONG]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not writes(process.pid, tmp_path):
            time.sleep(0.01)
        assert process.poll() is None, "stopped before its end"
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert err == b""
    assert {path.name: path.read_bytes()[:3] for path in tmp_path.iterdir()} == {
        "m.npz": source.read_bytes()[:3],
        "old.safetensors": b"old",
    }


WRITER = """
import sys, time
from pathlib import Path
from xorloom.sim.cli.console.streams import stopped_cleanly
from xorloom.sw.base.host import replaced
with stopped_cleanly(), replaced(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_file_whose_writer_is_stopped_is_not_there(
    number: signal.Signals, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", WRITER, str(tmp_path / "out")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("terminal", [False, True])
def test_no_figure_of_a_table_is_cut(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    names = [f"model.encoder.layer.{n}.attention.output.weight" for n in range(3)]
    figures = [[f"{10**6 + 100 * row + column:,}" for column in range(20)] for row in range(3)]
    columns = ("tensor", *(f"column {n}" for n in range(20)))
    print_table("title", columns, [[name, *row] for name, row in zip(names, figures, strict=True)])
    lines = capsys.readouterr().out.splitlines()
    shown = [line.split() for line in lines]
    assert lines[0].rstrip() == "title"
    parts = 10 if terminal else 1
    assert max(map(len, lines)) <= 80 if terminal else len(lines[1]) > 160
    for name, row in zip(names, figures, strict=True):
        beside = [words[1:] for words in shown if words[:1] == [name]]
        assert len(beside) == parts
        assert [word for part in beside for word in part] == row
