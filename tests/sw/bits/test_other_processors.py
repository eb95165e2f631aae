# SPDX-License-Identifier: Apache-2.0
"""Vector kernels compiled for a processor without wide registers: the same bits."""

import os
import subprocess
import sys

import pytest

from tests.helpers.paths import ROOT

FILES = ("test_wide.py", "test_spread.py", "test_transpose.py", "test_slices.py")


@pytest.mark.slow
def test_kernels_for_the_plainest_processor_pass_their_tests(tmp_path):
    plain = {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_CACHE_DIR": str(tmp_path),
    }
    files = [str(ROOT / "tests/sw/bits" / name) for name in FILES]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    run = subprocess.run(
        command, cwd=ROOT, env=os.environ | plain, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout
