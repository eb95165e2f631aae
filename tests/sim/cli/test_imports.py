# SPDX-License-Identifier: Apache-2.0
"""What commands import: help comes at once, and models are handled without the RTL's library."""

import subprocess
import sys
from pathlib import Path

import numpy as np

_RUN = """
import sys
from typer.testing import CliRunner
from xorloom.sim.cli.main import app

def loaded():
    names = ("amaranth", "onnx", "torch", "numpy", "numba", "rich")
    return [name for name in names if name in sys.modules]

def run(*words):
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (done.output, done.exception)

print("start", *loaded())
run("--help")
print("help", *loaded())
run("compress", "m.npz", "-o", "m.safetensors", "--min-size", "100", "--index", "bitmap")
run("inspect", "m.safetensors")
run("verify", "m.safetensors")
run("image", "m.safetensors", "-o", "m.bin", "--c-header", "m.h")
print("models", *loaded())
"""


def test_help_imports_nothing_heavy_and_model_commands_no_amaranth(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "m.npz", w=rng.standard_normal((64, 64), np.float32))
    command = [sys.executable, "-c", _RUN]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines == ["start", "help", "models numpy numba rich"]
    assert (tmp_path / "m.bin").stat().st_size > 0
