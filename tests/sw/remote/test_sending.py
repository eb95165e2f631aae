# SPDX-License-Identifier: Apache-2.0
"""Units that go through bytes: same files for all codecs, weights read where they are."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file
from xorloom.sw.base.errors import ConfigError, ToolError
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.remote import sending, work
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.index_config import (
    EntropyConfig,
    LowrankConfig,
    NoneConfig,
    TrellisConfig,
)
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.checkpoint.model import from_arrays
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.remote import Posted
from tests.helpers.trained import LEVELS, PLAN, SHAPE, chosen, quantized, seeds_of

VALUE = WindowConfig(n_out=64, window=64, n_in=16)
BLOCK = BlockConfig(n_in=8, n_out=40, lanes=2, bus_bits=32)
DIRECT = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
TRELLIS = TrellisConfig(n_in=20, n_out=64, window=8, minterms=7)
PLANS = {
    "window, searched": TensorPlan(config=WindowConfig()),
    "block, searched": TensorPlan(config=BLOCK, quantizer=Quantizer("ternary")),
    "planes": TensorPlan(sparsity=0.5, config=VALUE, quantizer=Quantizer("uniform", 4)),
    "entropy": TensorPlan(sparsity=0.8, config=VALUE, index=EntropyConfig(n_out=64, lanes=8)),
    "row": TensorPlan(sparsity=0.8, config=VALUE, scope="row"),
    "global": TensorPlan(sparsity=0.8, config=VALUE, scope="global", search=False),
    "trellis, searched": TensorPlan(sparsity=0.8, config=VALUE, index=TRELLIS),
    "lowrank": TensorPlan(sparsity=0.8, config=VALUE, index=LowrankConfig(n_out=64)),
    "hashed": TensorPlan(sparsity=0.8, config=VALUE, index=HashedConfig(n_out=64)),
    "none": TensorPlan(config=VALUE, index=NoneConfig(n_out=64)),
    "direct, rotated": TensorPlan(config=DIRECT, quantizer=Quantizer("trellis", 3), rotation=7),
}
LONG = ("hashed", "lowrank")
"""These take seconds, by the same road as the trellis."""


@pytest.fixture
def arrays(rng):
    found = {f"m{k}.weight": rng.standard_normal((48 + 8 * k, 64)).astype("f") for k in range(3)}
    found["m1.bias"] = rng.standard_normal(56).astype("f")
    return found | {"wide": rng.standard_normal((130, 64)).astype("f2")}


def both(model, plans, folder, **options):
    """Compress with threads and by post; return the reports and files of each."""
    made = {}
    for name, how in {"threads": {"jobs": 1}, "post": {"workers": Posted(2)}}.items():
        found = compress_model(model, folder / name, plans, **how, **options)
        made[name] = found, (folder / name).read_bytes()
    return made["threads"], made["post"]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in LONG else []) for n in PLANS]
)
def test_bytes_are_those_of_one_machine(name, arrays, tmp_path):
    save_file(arrays, tmp_path / "m.safetensors")
    plans = {tensor: PLANS[name] for tensor in arrays if tensor != "m1.bias"}
    model = open_model(tmp_path / "m.safetensors")
    threads, post = both(model, plans, tmp_path, block_weights=1 << 11)
    assert threads == post
    if name == "entropy":
        threads, post = both(from_arrays(arrays), plans, tmp_path, block_weights=1 << 11)
        assert threads == post


def test_what_the_user_brings_goes_along(arrays, tmp_path, rng):
    names = [name for name in arrays if name != "m1.bias"]
    plans = dict.fromkeys(names, PLANS["planes"])
    masks = {name: rng.random(arrays[name].shape) < 0.4 for name in names[:2]}
    codes = {names[0]: rng.integers(0, 16, arrays[names[0]].shape, np.uint8)}
    given = UserArrays(masks=masks, codes=codes)
    threads, post = both(from_arrays(arrays), plans, tmp_path, given=given)
    assert threads == post
    plans = dict.fromkeys(names, PLANS["trellis, searched"])
    worth = {name: rng.random(arrays[name].shape).astype("f") for name in names}
    threads, post = both(
        from_arrays(arrays), plans, tmp_path, given=UserArrays(saliency=worth), block_weights=0
    )
    assert threads == post


def test_masks_and_codes_come_back_where_they_are_asked_for(arrays, tmp_path):
    plans = {name: PLANS["trellis, searched"] for name in arrays if name != "m1.bias"}

    def told(**how):
        found = {}

        def done(name, quantized, bits):
            found[name] = quantized.mask.tobytes(), quantized.codes.tobytes(), bits

        compress_model(from_arrays(arrays), tmp_path / "c", plans, done=done, **how)
        return found

    found = told(jobs=1)
    assert set(found) == set(plans)
    assert told(workers=Posted(1)) == found


def test_choices_and_seeds_go_along(tmp_path, rng):
    names = ("chosen", "kept", "seeds")
    arrays = {name: rng.standard_normal(SHAPE).astype("f") for name in names}
    choice = chosen(np.abs(arrays["chosen"]))
    streams, trained = seeds_of(arrays["seeds"])
    kept = quantized(rng.random(SHAPE) < 0.3, PLAN.quantizer, rng)
    given = UserArrays(
        masks={"chosen": choice},
        quantized={"kept": kept, "seeds": trained},
        seeds={"seeds": streams},
    )
    plans = dict.fromkeys(arrays, PLAN)
    plans["seeds"] = TensorPlan(config=DIRECT, quantizer=LEVELS)
    threads, post = both(from_arrays(arrays), plans, tmp_path, given=given)
    assert threads == post


def test_calibrated_matrices_and_their_biases_are_the_same(arrays, tmp_path):
    x = np.random.default_rng(1).standard_normal((200, 64)) + 1
    moments = Moments(x.T @ x / 200, mean=x.mean(0))
    given = UserArrays(calibration=Calibration(dict.fromkeys(arrays, moments)))
    plan = replace(PLANS["direct, rotated"], rotation=None)
    plans = {name: plan for name in arrays if name != "m1.bias"}
    threads, post = both(from_arrays(arrays), plans, tmp_path, given=given)
    assert threads == post
    assert any("its bias takes up" in note for note in post[0].tensors["m1.weight"].notes)


def test_weights_of_a_file_stay_there(rng, tmp_path):
    arrays = {"w": rng.standard_normal((512, 512)).astype("f")}
    save_file(arrays, tmp_path / "m.safetensors")
    tensor = open_model(tmp_path / "m.safetensors")["w"]
    data = sending.packed("run", np.copy, tensor)
    assert len(data) < 2_000
    _, (found,) = sending.unpacked(data)
    assert (found.load() == arrays["w"]).all()
    assert len(sending.packed("run", np.copy, from_arrays(arrays)["w"])) > 1 << 20
    rows = arrays["w"][:8]
    assert len(sending.packed("run", np.copy, from_arrays({"w": rows})["w"])) < 20_000


def test_files_of_every_kind_are_opened_again(rng, tmp_path):
    weights = rng.standard_normal((64, 64)).astype("f")
    pair = {"w_orig": weights, "w_mask": (rng.random((64, 64)) < 0.5).astype("f")}
    (tmp_path / "folder").mkdir()
    save_file({"w": weights}, tmp_path / "folder" / "a.safetensors")
    save_file({"v": weights * 2}, tmp_path / "folder" / "b.safetensors")
    save_file(pair, tmp_path / "pair.safetensors")
    np.savez(tmp_path / "m.npz", w=weights)
    for name in ("folder", "pair.safetensors", "m.npz"):
        tensor = open_model(tmp_path / name)["w"]
        _, (found,) = sending.unpacked(sending.packed("run", np.copy, tensor))
        assert (found.load() == tensor.load()).all()
        assert (found.name, found.dtype, found.shape) == ("w", "F32", (64, 64))
        assert found.pruned == tensor.pruned == (name == "pair.safetensors")


def test_a_file_that_a_worker_cannot_see_is_told(rng, tmp_path):
    save_file({"w": rng.standard_normal((64, 64)).astype("f")}, tmp_path / "m.safetensors")
    model = open_model(tmp_path / "m.safetensors")

    class Elsewhere(Posted):
        def run(self, task, *given):
            data = sending.packed("elsewhere", task, *given)
            hidden = (tmp_path / "m.safetensors").rename(tmp_path / "hidden")
            try:
                return work.work(data, work.build())
            finally:
                hidden.rename(tmp_path / "m.safetensors")

    with pytest.raises(ToolError, match=r"tensor 'w': cannot be read on .*: no such file \(work"):
        compress_model(model, tmp_path / "c", {"w": PLANS["row"]}, workers=Elsewhere(1))
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_another_file_of_the_same_name_is_told(rng, tmp_path):
    path = tmp_path / "m.safetensors"
    save_file({"w": rng.standard_normal((256, 256)).astype("f")}, path)
    data = sending.packed("other", np.copy, open_model(path)["w"])
    save_file({"w": rng.standard_normal((256, 256)).astype("f")}, path)
    _, (tensor,) = sending.unpacked(data)
    with pytest.raises(ToolError, match=r"m\.safetensors on the machine .* is another file"):
        tensor.load()


def test_another_version_is_told():
    data = sending.packed("run", np.copy, [1])
    assert (work.work(data, work.build()) == [1]).all()
    with pytest.raises(ToolError, match=r"has xorloom .*, this is 9\.9, sources 0: install the s"):
        work.work(data, "9.9, sources 0")


def test_jobs_and_workers_exclude_each_other(arrays, tmp_path):
    with pytest.raises(ConfigError, match="give jobs or workers, not both"):
        compress_model(from_arrays(arrays), tmp_path / "c", {}, jobs=1, workers=Posted(1))
