# SPDX-License-Identifier: Apache-2.0
"""Several threads write what one writes, and fail as one does."""

import json
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import EntropyConfig, TrellisConfig
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.cli import refuses, xorloom
from tests.helpers.models import as_model

SHAPES = [(96, 64), (8, 64), (64, 128), (5, 7), (160, 64), (33, 65), (64, 64)]
DIRECT = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
OPTIONS = {
    "window, searched": CompressSpec(config=WindowConfig(), search=True),
    "block, searched": CompressSpec(config=BlockConfig(), search=True),
    "global": CompressSpec(config=WindowConfig(), scope="global", search=True),
    "entropy": CompressSpec(config=WindowConfig(), index=EntropyConfig()),
    "trellis": CompressSpec(config=WindowConfig(), index=TrellisConfig(window=8)),
    "direct": CompressSpec(config=DIRECT, quantizer=Quantizer("trellis", 3)),
}


@pytest.fixture
def arrays(rng):
    """Matrices of many sizes, their biases before and behind them."""
    found = {}
    for k, (rows, columns) in enumerate(SHAPES):
        both = {
            f"m{k}.weight": rng.standard_normal((rows, columns)).astype("f"),
            f"m{k}.bias": rng.standard_normal(rows).astype("f"),
        }
        found |= dict(reversed(both.items())) if k % 2 else both
    return found


def compressed(arrays, path, options, jobs, **more):
    options = replace(options, min_size=500)
    made = compress_model(as_model(arrays), path, options, jobs=jobs, **more)
    return path.read_bytes(), made


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_any_number_of_jobs_writes_the_same_bytes(options, arrays, tmp_path):
    heard = {}

    def hear(jobs):
        return lambda stage, name: heard.setdefault(jobs, []).append((stage, name))

    one, made = compressed(arrays, tmp_path / "1", options, 1, progress=hear(1))
    for jobs in (2, 5):
        data, found = compressed(arrays, tmp_path / "n", options, jobs, progress=hear(jobs))
        assert data == one
        assert list(found.tensors) == list(made.tensors)
        assert found == made
        assert heard[jobs] == heard[1]


def test_biases_that_change_are_the_same(arrays, tmp_path, rng):
    moments = {
        name: Moments(np.eye(a.shape[1]) + 0.1, np.full(a.shape[1], 0.3), 100)
        for name, a in arrays.items()
        if a.ndim == 2
    }
    given = UserArrays(calibration=Calibration(moments))
    one, _ = compressed(arrays, tmp_path / "1", OPTIONS["direct"], 1, given=given)
    plain, _ = compressed(arrays, tmp_path / "p", OPTIONS["direct"], 1)
    assert compressed(arrays, tmp_path / "2", OPTIONS["direct"], 3, given=given)[0] == one != plain


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_error_names_the_first_tensor_that_is_wrong(jobs, arrays, tmp_path):
    for name in ("m2.weight", "m4.weight"):
        arrays[name][1, 2] = np.nan
    with pytest.raises(ConfigError, match=r"tensor 'm2\.weight': weight at \(1, 2\) is nan"):
        compressed(arrays, tmp_path / "c", OPTIONS["entropy"], jobs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", ["entropy", "window, searched"])
def test_an_error_while_writing_stops_all_jobs(options, arrays, tmp_path, monkeypatch):
    def full(*_args, **_options):
        raise OSError(28, f"cannot write {tmp_path / 'c'}: No space left on device")

    monkeypatch.setattr("xorloom.sw.model.container.writer.zlib.crc32", full)
    with pytest.raises(OSError, match="No space left"):
        compressed(arrays, tmp_path / "c", OPTIONS[options], 3)
    assert list(tmp_path.iterdir()) == []


STOPPED = """
import sys
import numpy as np
from pathlib import Path
from xorloom.sim.cli.console.streams import stopped_cleanly
from xorloom.sw.model.files import save
weights = np.random.default_rng(1).standard_normal((256, 256)).astype("f")
with stopped_cleanly():
    save({f"m{k}": weights for k in range(5000)}, sys.argv[1], jobs=3, index="entropy",
         sparsity=0.9, n_in=16, progress=lambda *what: print(*what, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_jobs_and_leaves_nothing(number, tmp_path):
    words = [sys.executable, "-c", STOPPED, str(tmp_path / "c")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while not process.stdout.readline().startswith(b"encode"):
            pass
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_and_tells_the_same_with_any_number_of_jobs(arrays, tmp_path):
    save_file(arrays, tmp_path / "m.safetensors")
    told, data = [], []
    for jobs in (1, 3):
        out = tmp_path / f"{jobs}.safetensors"
        words = ["compress", tmp_path / "m.safetensors", "-o", out, "--jobs", jobs, "--json"]
        words += ["--density", 0.09, "--index-bits", 0.1667, "--index-window", 8, "--kept"]
        told.append(json.loads(xorloom(*words)[0]))
        data.append(out.read_bytes())
    assert data[0] == data[1]
    assert len(told[0]["kept"]) > 1
    assert told[0]["kept"] == told[1]["kept"]
    assert list(told[0]["tensors"]) == list(told[1]["tensors"])
    bad = ["compress", tmp_path / "m.safetensors", "-o", tmp_path / "c.safetensors", "--jobs"]
    refuses("jobs must be between 1 and 1024, not 0", *bad, 0)
