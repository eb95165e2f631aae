# SPDX-License-Identifier: Apache-2.0
"""Row blocks: what comes back is what the whole tensor would give, and the file says what it is."""

import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import MANIFEST_KEY, read_container
from xorloom.sw.model.decompress import decompress_into, decompress_model
from xorloom.sw.model.files import open_file
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.source import open_source
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.prepare import block_sizes
from xorloom.sw.model.verify import verify_model
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import EntropyConfig, TrellisConfig
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.checkpoint.model import from_arrays
from xorloom.sw.tensors.prune import prune_rows
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.containers import rewrite

MOST = 1 << 11
VALUE = WindowConfig(n_out=64, window=64, n_in=16)
DIRECT = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
STORED = TensorPlan(sparsity=0.8, config=VALUE)


def decoded(arrays, plan, path, most, **given):
    """Compress all floats, decode, and return weights and reports."""
    model = from_arrays(arrays)
    plans = {name: plan for name, tensor in model.items() if tensor.is_float}
    made = compress_model(model, path, plans, given=UserArrays(**given), block_weights=most)
    assert all(verdict.ok for verdict in verify_model(read_container(path), golden=True))
    with open_file(path) as file:
        return dict(file), made.tensors


def both(arrays, plan, tmp_path, **given):
    """Weights and reports with and without blocks."""
    cut = decoded(arrays, plan, tmp_path / "cut.safetensors", MOST, **given)
    return cut, decoded(arrays, plan, tmp_path / "whole.safetensors", 0, **given)


@pytest.fixture
def arrays(rng):
    """Two tensors to cut, with rows of unlike sizes and magnitudes of which many are equal."""
    scale = np.exp(rng.standard_normal((130, 1)))
    wide = (scale * rng.standard_normal((130, 70))).astype(np.float32)
    wide[:, ::3] = np.round(wide[:, ::3])
    return {
        "a": wide,
        "small": rng.standard_normal((20, 30)).astype(np.float16),
        "experts": rng.standard_normal((3, 65, 64)).astype(np.float32),
        "ids": np.arange(9),
    }


@pytest.mark.parametrize(
    "plan",
    [
        STORED,
        replace(STORED, index=EntropyConfig(n_out=32, lanes=4), quantizer=Quantizer("uniform", 2)),
        replace(STORED, quantizer=Quantizer("alternating", 2, axis=1), scope="global"),
        TensorPlan(sparsity=0.7, config=BlockConfig(n_in=16, n_out=64), search=True),
    ],
    ids=["binary", "entropy", "global", "block codec"],
)
def test_a_stored_mask_is_that_of_the_whole_tensor(plan, arrays, tmp_path):
    (cut, reports), (whole, others) = both(arrays, plan, tmp_path)
    assert cut.keys() == whole.keys()
    for name, array in whole.items():
        assert cut[name].dtype == array.dtype
        assert ((cut[name] != 0) == (array != 0)).all()
    if plan.quantizer.axis == 0:
        np.testing.assert_array_equal(cut["a"], whole["a"])  # scales of rows that are not cut
        assert reports["a"].error == pytest.approx(others["a"].error, rel=1e-12)
    assert reports["a"].blocks == 5
    assert reports["a"].bits.kept == others["a"].bits.kept
    assert list(reports) == list(others)
    if isinstance(plan.config, WindowConfig):  # the block codec searches n_out by a sample of all
        assert reports["small"] == others["small"]


def test_scales_of_a_cut_row_are_told(arrays, tmp_path):
    (_, reports), (_, others) = both(arrays, STORED, tmp_path)
    assert "has 9 scale rows, not 3: each of its row blocks has its own" in (
        reports["experts"].notes
    )
    assert others["experts"].notes == ()


def test_rows_are_pruned_alike(arrays, tmp_path):
    arrays = {"a": arrays["a"]}
    (cut, _), _ = both(arrays, replace(STORED, scope="row"), tmp_path)
    np.testing.assert_array_equal(cut["a"] != 0, prune_rows(arrays["a"], 0.8))


def test_the_mask_of_its_own_is_the_whole_tensors(rng, tmp_path):
    """Half of the first tensor is zero, but none of its first rows; the second has few zeros."""
    sparse, dense = (rng.standard_normal((128, 64)).astype(np.float32) for _ in range(2))
    sparse[60:], dense[:40] = 0, 0
    arrays, plan = {"sparse": sparse, "dense": dense}, TensorPlan(config=VALUE)
    (cut, reports), (whole, others) = both(arrays, plan, tmp_path)
    for name in arrays:
        assert ((cut[name] != 0) == (whole[name] != 0)).all()
        assert reports[name].origin == others[name].origin
    assert (reports["sparse"].origin, reports["dense"].origin) == ("own", "pruned")


def test_given_masks_and_codes_are_cut_with_it(arrays, rng, tmp_path):
    mask = rng.random((130, 70)) < 0.2
    codes = rng.integers(-2, 2, (130, 70)).astype(np.int8)
    plan = replace(STORED, sparsity=None, quantizer=Quantizer("uniform", 2))
    arrays = {"a": arrays["a"]}
    (cut, _), (whole, _) = both(arrays, plan, tmp_path, masks={"a": mask}, codes={"a": codes})
    np.testing.assert_array_equal(cut["a"], codes * mask)
    np.testing.assert_array_equal(cut["a.mask"], mask)
    assert cut.keys() == whole.keys()


def test_a_chosen_mask_follows_the_cut_of_the_whole_tensor(rng, tmp_path):
    """Rows of large weights keep more than rows of small ones, whatever block they are in."""
    weights = rng.standard_normal((512, 64)).astype(np.float32)
    weights[:256] *= 2
    index = TrellisConfig(n_in=20, n_out=64, window=8, minterms=7)
    plan = TensorPlan(sparsity=0.8, config=VALUE, index=index)
    path = tmp_path / "c.safetensors"
    got, reports = decoded({"w": weights}, plan, path, 1 << 13)
    shares = [(half != 0).mean() for half in (got["w"][:256], got["w"][256:])]
    wanted = np.sort(np.abs(weights).reshape(-1))[round(0.8 * weights.size)]
    exact = [(np.abs(half) >= wanted).mean() for half in (weights[:256], weights[256:])]
    assert shares == pytest.approx(exact, abs=0.02)
    assert reports["w"].origin == "chosen"
    assert reports["w"].bits.kept == pytest.approx(0.2 * weights.size, rel=0.03)


def test_direct_values_and_rotation(rng, tmp_path):
    weights = rng.standard_normal((130, 64)).astype(np.float32)
    plan = TensorPlan(config=DIRECT, quantizer=Quantizer("trellis", 3), rotation=5)
    (cut, reports), (_, others) = both({"w": weights}, plan, tmp_path)
    assert reports["w"].error == pytest.approx(others["w"].error, rel=0.1)
    lost = np.square(cut["w"] - weights).sum() / np.square(weights).sum()
    assert reports["w"].error == pytest.approx(lost, rel=1e-3)
    container = read_container(tmp_path / "cut.safetensors")
    assert container.error("w") == pytest.approx(reports["w"].error)
    decompress_model(container.path, tmp_path / "r.safetensors", keep_rotation=True)
    with open_file(container.path, keep_rotation=True) as file:
        np.testing.assert_array_equal(load_file(tmp_path / "r.safetensors")["w"], file["w"])
    head = open_model(tmp_path / "r.safetensors").metadata
    assert json.loads(head["xorloom.rotation"]) == {"w": 5}


def test_the_file_comes_back_as_the_model(arrays, tmp_path):
    save_file(arrays, tmp_path / "m.safetensors", {"format": "pt"})
    model, cut = open_model(tmp_path / "m.safetensors"), tmp_path / "c.safetensors"
    plans = dict.fromkeys(("a", "experts"), STORED)
    names = block_sizes(model, plans, UserArrays(), MOST)
    assert list(names["a"]) == ["a[0:26]", "a[26:52]", "a[52:78]", "a[78:104]", "a[104:130]"]
    assert list(names["experts"])[:4] == [
        "experts[0,0:22]",
        "experts[0,22:44]",
        "experts[0,44:65]",
        "experts[1,0:22]",
    ]
    compress_model(model, cut, plans, block_weights=MOST)
    container = read_container(cut)
    assert container.order == list(model)
    assert container.matching(["a"]) == list(names["a"])
    assert container.matching(["a[26:52]"]) == ["a[26:52]"]
    assert container.matching(["exp*"]) == list(names["experts"])
    with pytest.raises(ConfigError, match=r"no compressed tensor 'b' .* \(there is: a, experts\)"):
        container.matching(["b"])
    shapes = decompress_model(cut, tmp_path / "d.safetensors")
    assert shapes == {name: arrays[name].shape for name in plans}
    back = load_file(tmp_path / "d.safetensors")
    assert list(open_model(tmp_path / "d.safetensors")) == list(model)
    with open_file(cut) as file:
        for name, array in arrays.items():
            np.testing.assert_array_equal(file[name], back[name])
            assert back[name].shape == array.shape
    assert decompress_into(cut, tmp_path / "m.safetensors", tmp_path / "i.safetensors") == 2
    for name, array in load_file(tmp_path / "i.safetensors").items():
        np.testing.assert_array_equal(array, back[name])


def test_more_tensors_are_added_to_blocks(arrays, tmp_path):
    save_file(arrays, tmp_path / "m.safetensors")
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    compress_model(open_model(tmp_path / "m.safetensors"), first, {"a": STORED}, block_weights=MOST)
    source = open_source(first)
    assert source.done == ["a"]
    plans = {"experts": STORED}
    compress_model(source.model, second, plans, base=source.base, block_weights=MOST)
    container = read_container(second)
    assert container.order == read_container(first).order
    assert set(container.joined) == {"a", "experts"}
    assert container.error("a") == read_container(first).error("a")
    with open_file(first) as one, open_file(second) as two:
        np.testing.assert_array_equal(one["a"], two["a"])


def test_what_holds_a_tensor_together_leaves_it_whole(arrays, rng):
    model = from_arrays({"a": arrays["a"]})
    plans = {"a": STORED}
    saliency = UserArrays(saliency={"a": np.abs(arrays["a"])})
    assert block_sizes(model, plans, UserArrays(), MOST)
    assert not block_sizes(model, plans, saliency, MOST)
    assert not block_sizes(model, plans, UserArrays(), 0)
    assert not block_sizes(model, plans, UserArrays(), arrays["a"].size // 3 + 1)


def test_a_weight_that_is_not_finite_is_named(arrays, tmp_path):
    arrays["a"][60, 3] = np.nan
    with pytest.raises(ConfigError, match=r"tensor 'a\[52:78\]': weight at \(8, 3\) is nan"):
        compress_model(from_arrays(arrays), tmp_path / "c", {"a": STORED}, block_weights=MOST)
    assert not list(tmp_path.iterdir())


def test_without_blocks_the_version_is_that_before(arrays, tmp_path):
    path = tmp_path / "c.safetensors"
    for most, version in ((0, 3), (MOST, 4)):
        compress_model(from_arrays(arrays), path, {"a": STORED}, block_weights=most)
        assert json.loads(open_model(path).metadata[MANIFEST_KEY])["version"] == version


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["blocks"].pop(), r"joined tensor 'a' of \[130, 70\] has 7,280 weights"),
        (lambda a: a.update(blocks=[]), "must have blocks"),
        (lambda a: a["blocks"].append("a[0:26]"), "each a compressed tensor of its own"),
        (lambda a: a["blocks"].append("b"), "each a compressed tensor of its own"),
        (lambda a: a["blocks"].append(3), "block must be text"),
        (lambda a: a.pop("error"), "missing or unknown keys: 'error'"),
        (lambda a: a.update(shape=[1, 2]), "weights in its blocks"),
        (lambda a: a.update(error=-1), "error must be null or a number"),
    ],
)
def test_a_wrong_list_of_blocks_is_refused(change, message, arrays, tmp_path):
    path = tmp_path / "c.safetensors"
    compress_model(from_arrays(arrays), path, {"a": STORED}, block_weights=MOST)
    rewrite(path, lambda manifest: change(manifest["joined"]["a"]))
    with pytest.raises(FormatError, match=message):
        read_container(path)


def test_blocks_of_other_dtypes_and_names_in_the_way_are_refused(arrays, tmp_path):
    path = tmp_path / "c.safetensors"
    compress_model(from_arrays(arrays), path, {"a": STORED}, block_weights=MOST)

    def other_dtype(manifest):
        manifest["tensors"]["a[0:26]"]["dtype"] = "F16"

    rewrite(path, other_dtype)
    with pytest.raises(FormatError, match="must be alike in dtype"):
        read_container(path)
    compress_model(from_arrays(arrays), path, {"a": STORED}, block_weights=MOST)
    rewrite(path, lambda manifest: manifest.update(joined={"small": manifest["joined"]["a"]}))
    with pytest.raises(FormatError, match="tensor 'small' is in the way"):
        read_container(path)


def test_blocks_of_a_tensor_stay_in_one_shard(arrays, tmp_path):
    """Whatever the shards' size: too small for any tensor, or such that blocks come behind it."""
    model, plans = from_arrays(arrays), dict.fromkeys(("a", "experts"), STORED)
    one = tmp_path / "one.safetensors"
    compress_model(model, one, plans, block_weights=MOST)
    wanted, counts = read_container(one), set()
    for most in (1, 2500, 4000, 6000, 1 << 20):
        folder = tmp_path / str(most)
        folder.mkdir()
        out = folder / "m.safetensors"
        compress_model(model, out, plans, block_weights=MOST, shard_bytes=most)
        container = read_container(folder)
        assert container.order == wanted.order
        assert container.joined == wanted.joined
        assert all(verdict.ok for verdict in verify_model(container))
        for info in container.joined.values():
            assert len({container.label(block).split(": ")[0] for block in info.blocks}) == 1
        with open_file(one) as whole, open_file(folder) as parts:
            for name in arrays:
                np.testing.assert_array_equal(whole[name], parts[name])
        counts.add(len(list(folder.glob("*.safetensors"))))
    assert counts >= {1, 4}
