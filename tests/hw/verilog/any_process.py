# SPDX-License-Identifier: Apache-2.0
"""Code run in processes of its own, one per hash seed."""

import os
import subprocess
import sys


def printed(code: str) -> str:
    """Return what code prints, which is the same under two values of PYTHONHASHSEED."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1")
    }
    assert len(outputs) == 1, outputs
    return outputs.pop()
