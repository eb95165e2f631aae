# SPDX-License-Identifier: Apache-2.0
"""``--resume``: what a killed run has done is used, and the bytes are those of one run."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.prepare import UnitStore
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import EntropyConfig, TrellisConfig
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.checkpoint.model import from_arrays
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.cli import xorloom

VALUE = WindowConfig(n_out=64, window=64, n_in=16)
DIRECT = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
PLANS = {
    "stored": TensorPlan(sparsity=0.8, config=VALUE, index=EntropyConfig(n_out=64, lanes=8)),
    "global": TensorPlan(sparsity=0.8, config=VALUE, scope="global", search=False),
    "chosen": TensorPlan(
        sparsity=0.8, config=VALUE, index=TrellisConfig(n_in=20, n_out=64, window=8, minterms=7)
    ),
    "direct": TensorPlan(config=DIRECT, quantizer=Quantizer("trellis", 3)),
    "planes": TensorPlan(sparsity=0.5, config=VALUE, quantizer=Quantizer("uniform", 4)),
}


@pytest.fixture
def arrays(rng):
    found = {f"m{k}.weight": rng.standard_normal((48 + k, 64)).astype("f") for k in range(4)}
    found["m1.bias"] = rng.standard_normal(49).astype("f")
    return found | {"wide": rng.standard_normal((130, 64)).astype("f2")}


class _BreakError(Exception):
    pass


def compressed(arrays, path, plan, *, stop=None, given=None, resume=True):
    """Compress, breaking off after ``stop`` tensors; return reports, or None, and the store."""
    model, count = from_arrays(arrays), 0
    plans = {name: plan for name in arrays if name != "m1.bias"}

    def progress(stage, name):
        nonlocal count
        count += stage == "encode"
        if count == stop:
            raise _BreakError

    store = UnitStore.beside(path) if resume else None
    given = given or UserArrays()
    options = {"given": given, "jobs": 1, "block_weights": 1 << 11, "progress": progress}
    try:
        made = compress_model(model, path, plans, store=store, **options)
    except _BreakError:
        return None, store
    if store is not None:
        store.remove()
    return made.tensors, store


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_what_is_done_is_taken_and_the_bytes_are_the_same(plan, arrays, tmp_path):
    given = None
    if plan.config is DIRECT:
        x = np.random.default_rng(1).standard_normal((200, 64)) + 1
        moments = Moments(x.T @ x / 200, mean=x.mean(0))
        given = UserArrays(calibration=Calibration(dict.fromkeys(arrays, moments)))
    straight, once = tmp_path / "straight.safetensors", tmp_path / "once.safetensors"
    wanted, _ = compressed(arrays, straight, plan, given=given, resume=False)
    assert compressed(arrays, once, plan, stop=4, given=given)[0] is None
    assert not once.exists()
    reports, store = compressed(arrays, once, plan, given=given)
    assert len(store.found) == 4
    assert once.read_bytes() == straight.read_bytes()
    assert reports == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == [once.name, straight.name]


@pytest.mark.parametrize(
    "change",
    ["weights", "plan", "mask", "damage", "version", "others' weights"],
)
def test_what_has_changed_is_made_again(change, arrays, tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    plan = PLANS["global" if change == "others' weights" else "stored"]
    masks = {"m0.weight": np.ones((48, 64), bool)}
    given = UserArrays(masks=masks if change == "mask" else {})
    _, store = compressed(arrays, path, plan, stop=3, given=given)
    kept = sorted(store.folder.iterdir())
    assert len(kept) == 3
    if change == "weights":
        arrays["m0.weight"][3, 3] += 1
    elif change == "plan":
        plan = replace(plan, quantizer=Quantizer("uniform", 2), index=None)
    elif change == "mask":
        masks["m0.weight"][3, 3] = False
    elif change == "damage":
        for file in kept:
            data = bytearray(file.read_bytes())
            data[-3] ^= 4
            file.write_bytes(data)
    elif change == "version":
        monkeypatch.setattr("xorloom.sw.model.prepare.unit_store.version", lambda _: "0.0")
    else:
        arrays["m3.weight"][:, :] *= 9
    _, store = compressed(arrays, path, plan, given=given)
    assert len(store.found) == {"weights": 2, "mask": 2}.get(change, 0)
    made = path.read_bytes()
    compressed(arrays, path, plan, given=given, resume=False)
    assert path.read_bytes() == made


def test_something_else_in_the_way_is_told(tmp_path):
    (tmp_path / "c.safetensors.resume").write_text("mine")
    with pytest.raises(ConfigError, match=r"c\.safetensors\.resume is in the way"):
        UnitStore.beside(tmp_path / "c.safetensors")
    assert (tmp_path / "c.safetensors.resume").read_text() == "mine"


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on(rng, tmp_path):
    """Killed 20 times, in search, tensors and write: the same bytes, no more files."""
    arrays = {f"w{k}": rng.standard_normal((256, 512)).astype("f") for k in range(24)}
    save_file(arrays | {"rest": np.zeros(1 << 22, "f")}, tmp_path / "m.safetensors")
    words = [sys.executable, "-m", "xorloom.sim.cli", "compress", str(tmp_path / "m.safetensors")]
    words += ["-t", "w*", "--index", "entropy", "--planes", "2", "--json", "--jobs", "2"]
    subprocess.run([*words, "-o", str(tmp_path / "a.safetensors")], check=True, capture_output=True)
    began = time.monotonic()
    subprocess.run([*words, "-o", str(tmp_path / "a.safetensors")], check=True, capture_output=True)
    lasts = time.monotonic() - began
    out, draw = tmp_path / "b" / "b.safetensors", random.Random(5)
    out.parent.mkdir()
    kills = 0
    while kills < 20:
        run = subprocess.Popen(
            [*words, "-o", str(out), "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(lasts * (0.3 + 0.7 * draw.random()))
        if run.poll() is None:
            os.kill(run.pid, signal.SIGKILL)
            kills += 1
        run.communicate()
        if out.exists():
            assert out.read_bytes() == (tmp_path / "a.safetensors").read_bytes()
            out.unlink()
    done = subprocess.run(
        [*words, "-o", str(out), "--resume"], check=True, capture_output=True, text=True
    )
    assert json.loads(done.stdout)["all"]["weights"] == 24 * 256 * 512
    assert out.read_bytes() == (tmp_path / "a.safetensors").read_bytes()
    assert [path.name for path in out.parent.iterdir()] == [out.name]


def test_the_command_tells_what_was_done_already(arrays, tmp_path):
    save_file(arrays, tmp_path / "m.safetensors")
    out = tmp_path / "c.safetensors"
    plan = ("--n-in", 16, "--n-out", 64, "--window", 64, "--sparsity", 0.8, "--min-size", 100)
    words = ("compress", tmp_path / "m.safetensors", "-o", out, *plan, "--resume")
    xorloom(*words)
    first = out.read_bytes()
    out.unlink()
    model = open_model(tmp_path / "m.safetensors")
    assert len(model) == 6
    store = UnitStore.beside(out)
    assert not list(store.folder.iterdir())
    assert "were done already" not in xorloom(*words)[1]
    assert out.read_bytes() == first
    assert not store.folder.exists()
