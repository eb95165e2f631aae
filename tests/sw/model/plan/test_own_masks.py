# SPDX-License-Identifier: Apache-2.0
"""Models that are pruned already keep what they have: no zero comes back to life."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.notes import report_notes
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.settings import Settings
from xorloom.sw.spec.index_config import EntropyConfig, LowrankConfig, TrellisConfig
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.models import CONFIG, WINDOW, as_model, spec

KEPT = 3238
"""Weights of the pruned matrix that are not zero."""
QUANTIZERS = (
    Quantizer("binary", 2),
    Quantizer("alternating", 2, "group", 16),
    Quantizer("ternary", 1, "tensor"),
    Quantizer("uniform", 3, axis=1),
)
ENTROPY = EntropyConfig(n_out=64, lanes=8, bus_bits=32)


@pytest.fixture(scope="module")
def pruned():
    w = np.random.default_rng(0).normal(size=(256, 256)).astype("f")
    w[np.random.default_rng(1).random(w.shape) < 0.95] = 0
    assert np.count_nonzero(w) == KEPT
    return w


def run(arrays, options, folder, **given):
    """Compress and decompress; return reports and plain weights."""
    out = folder / "c.safetensors"
    made = compress_model(as_model(arrays), out, options, given=UserArrays(**given))
    decompress_model(folder / "c.safetensors", folder / "d.safetensors")
    return made.tensors, load_file(folder / "d.safetensors")


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
@pytest.mark.parametrize("quantizer", QUANTIZERS, ids=lambda q: q.method)
@pytest.mark.parametrize("config", [CONFIG, WINDOW], ids=["block", "window"])
def test_a_pruned_tensor_keeps_its_own_mask(config, quantizer, scope, search, pruned, tmp_path):
    options = spec(config=config, quantizer=quantizer, scope=scope, search=search)
    w = pruned[:128] if search else pruned
    reports, plain = run({"w": w}, options, tmp_path)
    if quantizer.method == "ternary":  # prunes more
        assert not plain["w"][w == 0].any()
        return
    assert ((plain["w"] != 0) == (w != 0)).all()
    assert reports["w"].bits.kept == np.count_nonzero(w)
    assert reports["w"].origin == "own"
    text = f"keeps its own mask, {np.count_nonzero(w):,} of {w.size:,} weights that are not zero"
    assert report_notes(reports, {"w": Settings()})[:1] == [f"w: {text}"]


def test_the_entropy_index_keeps_it_as_well(pruned, tmp_path):
    options = spec(config=replace(WINDOW, n_out=64), index=ENTROPY)
    reports, plain = run({"w": pruned}, options, tmp_path)
    assert ((plain["w"] != 0) == (pruned != 0)).all()
    assert reports["w"].bits.kept == KEPT


@pytest.mark.parametrize("scope", ["tensor", "row", "global"])
def test_zeros_count_for_the_sparsity_that_is_asked_for(scope, pruned, tmp_path):
    for sparsity, kept in ((0.9, KEPT), (0.98, round(0.02 * pruned.size))):
        options = spec(config=WINDOW, scope=scope, sparsity=sparsity)
        reports, plain = run({"w": pruned}, options, tmp_path)
        assert not plain["w"][pruned == 0].any()
        assert reports["w"].origin == "pruned"
        if scope == "row":
            wanted = np.minimum((pruned != 0).sum(axis=1), 256 - round(sparsity * 256))
            assert ((plain["w"] != 0).sum(axis=1) == wanted).all()
        else:
            assert reports["w"].bits.kept == kept


def test_a_few_zeros_are_no_mask_but_are_never_kept(rng, tmp_path):
    w = rng.standard_normal((64, 64)).astype(np.float32)
    w[:31] = 0
    reports, plain = run({"w": w}, spec(config=WINDOW), tmp_path)
    assert (reports["w"].origin, reports["w"].bits.kept) == ("pruned", 410)
    reports, plain = run({"w": w}, spec(config=WINDOW, sparsity=0.0), tmp_path)
    assert ((plain["w"] != 0) == (w != 0)).all()
    assert reports["w"].bits.kept == 33 * 64


@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_zeros_that_the_source_calls_a_mask_are_one(scope, rng, tmp_path):
    w = rng.standard_normal((64, 64)).astype(np.float32)
    w[:8] = 0
    model = as_model({"w": w, "v": w[:8] + 1})
    model["w"] = replace(model["w"], pruned=True)
    made = compress_model(model, tmp_path / "c", spec(config=WINDOW, scope=scope))
    assert made.tensors["w"].origin == "own"
    assert made.tensors["w"].bits.kept == 56 * 64
    assert made.tensors["v"].bits.kept == 51, "a tensor with its own mask is outside of the cut"


def test_zeros_of_a_given_mask_are_pruned_and_told(pruned, tmp_path):
    mask = np.zeros(pruned.shape, np.bool_)
    mask[:128] = True
    reports, plain = run({"w": pruned}, spec(config=WINDOW), tmp_path, masks={"w": mask})
    assert ((plain["w"] != 0) == (mask & (pruned != 0))).all()
    zeros = int(np.count_nonzero(pruned[:128] == 0))
    assert report_notes(reports, {"w": Settings()}) == [
        f"w: {zeros} zeros of the mask are pruned: no code is a zero"
    ]


def test_own_codes_are_kept_whatever_the_weights_are(pruned, tmp_path):
    codes = np.ones(pruned.shape, np.uint8)
    given = {"masks": {"w": codes}, "codes": {"w": codes}}
    reports, plain = run({"w": pruned}, spec(config=WINDOW), tmp_path, **given)
    assert (plain["w"] == 1).all()
    assert (reports["w"].origin, reports["w"].error) == ("given", None)


CHOOSING = pytest.mark.parametrize(
    "index",
    [
        TrellisConfig(n_in=12, n_out=64, window=8, bus_bits=32),
        LowrankConfig(n_out=64, bus_bits=32),
    ],
    ids=lambda index: index.codec,
)


@CHOOSING
def test_an_index_that_chooses_leaves_a_mask_of_its_own_to_another(index, pruned, tmp_path):
    w = pruned[:128]
    reports, plain = run({"w": w}, spec(config=WINDOW, index=index, search=True), tmp_path)
    assert ((plain["w"] != 0) == (w != 0)).all()
    assert reports["w"].decoder.index.codec == "entropy"
    assert reports["w"].decoder.value.n_in == 8
    assert report_notes(reports, {"w": Settings()}) == [
        f"w: keeps its own mask, {np.count_nonzero(w):,} of {w.size:,} weights that are not zero",
        f"w: the entropy index stores its mask, as the {index.codec} index cannot keep it",
    ]
    saliency = {"w": np.abs(w)}
    reports, _ = run({"w": w}, spec(config=WINDOW, index=index), tmp_path, saliency=saliency)
    assert reports["w"].origin == "chosen", "who brings a saliency wants a choice"


@CHOOSING
def test_a_chosen_mask_gains_nothing_from_zeros_and_tells_how_many_it_keeps(
    index, pruned, tmp_path
):
    w = pruned[:128]
    options = spec(config=WINDOW, index=index, search=True, sparsity=0.9)
    reports, plain = run({"w": w}, options, tmp_path)
    mask = decode_tensor(read_container(tmp_path / "c.safetensors"), "w").mask
    zeros = int(np.count_nonzero(mask & (w == 0)))
    assert reports["w"].zeros == zeros
    assert 0 < zeros < np.count_nonzero(mask)
    live = np.count_nonzero(w) / w.size
    assert mask.mean() == pytest.approx(live, rel=0.25), "no more than are not zero is asked for"
    kept = np.count_nonzero(mask & (w != 0)) / np.count_nonzero(w)
    assert kept > 3 * mask.mean(), "far better than chance"
    text = f"w: {zeros:,} zeros are kept by the index, and come back as the smallest level"
    assert text in report_notes(reports, {"w": Settings()})
    assert abs(plain["w"][mask & (w == 0)].mean()) < 0.1 * np.abs(w[w != 0]).mean()


@CHOOSING
def test_a_saliency_of_zeros_gains_nothing(index, pruned, tmp_path):
    w, given = pruned[:128], {"w": np.ones((128, 256), np.float32)}
    reports, _ = run({"w": w}, spec(config=WINDOW, index=index), tmp_path, saliency=given)
    zeros, kept = reports["w"].zeros, reports["w"].bits.kept
    assert kept - zeros > 0.25 * np.count_nonzero(w), "chance would keep a twentieth"


def test_many_tensors_with_masks_of_their_own_share_a_line(pruned, tmp_path):
    arrays = {f"t{k}": pruned[:16] for k in range(5)}
    reports, _ = run(arrays, spec(config=WINDOW), tmp_path)
    assert report_notes(reports, dict.fromkeys(arrays, Settings())) == [
        "5 tensors keep their own masks, what is not zero: t0, t1, t2 and 2 more"
    ]


def test_a_tensor_of_zeros_comes_back_as_zeros(tmp_path):
    for index in (None, ENTROPY):
        reports, plain = run(
            {"w": np.zeros((64, 64), np.float32)}, spec(config=WINDOW, index=index), tmp_path
        )
        assert not plain["w"].any()
        assert reports["w"].bits.kept == 0
        assert reports["w"].error == 0
