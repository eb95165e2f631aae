# SPDX-License-Identifier: Apache-2.0
"""What a user brings is checked before the work: masks, choices, codes, scales and seeds."""

from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.index_config import NoneConfig
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.models import as_model
from tests.helpers.trained import DIRECT, LEVELS, PLAN, SHAPE, chosen, quantized, seeds_of


@pytest.fixture
def weights(rng):
    return rng.standard_normal(SHAPE).astype(np.float32)


@pytest.fixture
def refused(tmp_path):
    """Return the text of the error with which one tensor is refused; nothing is left behind."""

    def run(weights, plan, name="w", **given):
        arrays = {
            key: {name: array} if key != "calibration" else array for key, array in given.items()
        }
        with pytest.raises(ConfigError) as caught:
            compress_model(
                as_model({"w": weights}), tmp_path / "c", {"w": plan}, given=UserArrays(**arrays)
            )
        assert list(tmp_path.iterdir()) == []
        assert repr(name) in str(caught.value)
        return str(caught.value)

    return run


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mask": np.ones((4, 5), np.bool_)}, "must be (48, 64) like the tensor"),
        ({"seeds": b""}, "must be 1 index streams, found 0"),
        ({"order": "row"}, "the seeds decode to another mask"),
        ({"slices_per_stream": 24}, "no multiple of frame 16"),
        ({"slices_per_stream": 16}, "must be 3 index streams, found 1"),
        ({"mask": np.zeros(SHAPE, np.bool_)}, "weights differ: take mask and seeds of one choice"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(change, text, weights, refused):
    choice = replace(chosen(weights), **change)
    assert text in refused(weights, PLAN, masks=choice)


def test_a_damaged_choice_is_refused(weights, refused):
    choice = chosen(weights)
    for at in range(0, len(choice.seeds), 29):
        seeds = bytearray(choice.seeds)
        seeds[at] ^= 4
        refused(weights, PLAN, masks=replace(choice, seeds=bytes(seeds)))


def test_a_choice_for_another_plan_is_refused(weights, refused):
    choice = chosen(weights)
    other = chosen(weights, density=0.1, index_bits=0.3)
    text = refused(weights, replace(PLAN, index=other.index), masks=choice)
    assert "is for the trellis index, n_in 10, minterms 7, the plan's index is the trellis" in text
    text = refused(weights, replace(PLAN, order="row"), masks=choice)
    assert f"is in order {choice.order}, the plan's is row" in text
    text = refused(weights, replace(PLAN, quantizer=Quantizer(planes=2)), masks=choice)
    assert "does not go with slices of 32 weights" in text
    text = refused(weights, replace(PLAN, quantizer=Quantizer("ternary")), masks=choice)
    assert "the ternary quantizer clears weights" in text
    text = refused(weights, replace(PLAN, scope="row"), masks=choice)
    assert "scope must be tensor, not row" in text
    text = refused(weights, replace(PLAN, config=BlockConfig()), masks=choice)
    assert "goes with the window value codec, not with block" in text
    text = refused(weights, TensorPlan(config=DIRECT, quantizer=LEVELS), masks=choice)
    assert "keeps every weight" in text
    assert "belongs to no tensor" in refused(weights, PLAN, name="v", masks=choice)


def test_a_mask_alone_is_refused_by_an_index_that_chooses(weights, refused):
    choice = chosen(weights)
    text = refused(weights, replace(PLAN, index=choice.index), masks=choice.mask)
    assert text == (
        "the trellis index chooses the mask and cannot keep that of 'w' exactly: use the bitmap or "
        "entropy index, or give the choice that the mask comes from (a Choice, --choices)"
    )
    ours = quantized(choice.mask, Quantizer(), np.random.default_rng(0))
    text = refused(weights, replace(PLAN, index=choice.index), quantized=ours)
    assert "or give the choice that the mask comes from" in text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"mask": np.ones((4, 5), np.bool_)}, "mask is (4, 5), must be (48, 64) like the tensor"),
        ({"mask": np.ones(SHAPE, np.uint8)}, "mask must be bool, not uint8"),
        ({"codes": np.zeros((5,), np.uint8)}, "codes is (5,), must be (48, 64)"),
        ({"codes": np.zeros(SHAPE, np.int8)}, "codes must be uint8, not int8"),
        ({"codes": np.full(SHAPE, 2, np.uint8)}, "code 2 at (0, 0) needs more than 1 planes"),
        ({"codes": np.ones(SHAPE, np.uint8)}, "codes of pruned weights must be 0"),
        ({"scales": np.ones((48, 1))}, "scales must be float16 or float32, not float64"),
        ({"scales": np.ones((48, 1), ">f4")}, "scales must be float16 or float32, not >f4"),
        ({"scales": np.ones((1, 1), np.float16)}, "scales must be (48, 1) for row scales"),
        ({"scales": np.full((48, 1), np.nan, "f")}, "scales of row 0 are [nan], must be finite"),
        ({"levels": np.ones(2, np.int8)}, "levels and a rotation go with the direct value codec"),
        ({"rotation": 1}, "levels and a rotation go with the direct value codec"),
    ],
)
def test_given_weights_that_do_not_fit_are_refused(change, text, weights, refused, rng):
    ours = replace(quantized(rng.random(SHAPE) < 0.2, Quantizer(), rng), **change)
    assert text in refused(weights, PLAN, quantized=ours)


def test_given_weights_beside_others_are_refused(weights, refused, rng):
    choice = chosen(weights)
    ours = quantized(choice.mask, Quantizer(), rng)
    assert "belongs to no tensor" in refused(weights, PLAN, name="v", quantized=ours)
    other = ~choice.mask
    text = refused(weights, PLAN, quantized=ours, masks=other)
    assert "its mask is another than the mask of 'w'" in text
    text = refused(weights, PLAN, quantized=ours, masks=choice.mask, codes=ours.codes)
    assert "its codes are given as well" in text
    text = refused(weights, PLAN, masks=choice, codes=ours.codes)
    assert "go with a mask, not with a choice" in text
    text = refused(weights, PLAN, masks=choice, saliency=weights**2)
    assert "its mask is given, so nothing is chosen" in text
    plan = replace(PLAN, index=NoneConfig(n_out=64, bus_bits=32))
    text = refused(weights, plan, quantized=ours)
    assert "the plan keeps every weight" in text
    plan = TensorPlan(config=DIRECT, quantizer=Quantizer("trellis", 3))
    text = refused(weights, plan, quantized=ours)
    assert "the direct value codec stores seeds: give those" in text


def change_stream(streams, **change):
    return replace(streams, streams=(replace(streams.streams[0], **change), *streams.streams[1:]))


def wrong_seeds(streams):
    seeds = streams.streams[0].seeds.copy()
    seeds[1] ^= np.uint64(1 << 20)
    behind = streams.streams[0].seeds.copy()
    behind[-1] = 1
    return {
        "decode to other codes": change_stream(streams, seeds=seeds),
        "seed bits must be 0": change_stream(streams, seeds=behind),
        "seeds must be uint64 of at least": change_stream(streams, seeds=seeds[:-1]),
        "not int64": change_stream(streams, seeds=seeds.astype(np.int64)),
        "must be streams of [": change_stream(streams, count=12),
        "levels must be int8 of shape (8,)": replace(streams, levels=streams.levels[:4]),
        "levels are others": replace(streams, levels=streams.levels[::-1].copy()),
        "order must be one of": replace(streams, order="diagonal"),
        "slices_per_stream must be between": replace(streams, slices_per_stream=0),
        "slice bits, not []": replace(streams, streams=()),
    }


def test_seeds_must_end_in_zeros_within_a_word(weights, refused):
    streams, ours = seeds_of(weights, slices_per_stream=100)
    seeds = streams.streams[0].seeds.copy()
    seeds[100 * DIRECT.n_in // 64] |= np.uint64(1 << 40)
    plan = TensorPlan(config=DIRECT, quantizer=LEVELS)
    text = refused(weights, plan, quantized=ours, seeds=change_stream(streams, seeds=seeds))
    assert "stream 0: bits behind the last of 800 seed bits must be 0" in text


def test_seeds_that_do_not_fit_are_refused(weights, refused):
    streams, ours = seeds_of(weights)
    plan = TensorPlan(config=DIRECT, quantizer=LEVELS)
    for text, wrong in wrong_seeds(streams).items():
        assert text in refused(weights, plan, quantized=ours, seeds=wrong)
    text = refused(weights, plan, seeds=streams)
    assert "need a compressed tensor and quantized weights" in text
    text = refused(weights, replace(plan, order="row"), quantized=ours, seeds=streams)
    assert "are in order column, the plan's is row" in text
    text = refused(weights, replace(plan, rotation=1), quantized=ours, seeds=streams)
    assert "has rotation None, the plan has 1" in text
    text = refused(weights, PLAN, quantized=replace(ours, levels=None), seeds=streams)
    assert "needs more than 1 planes" in text
    ones = replace(ours, levels=None, codes=ours.codes & 1)
    text = refused(weights, PLAN, quantized=ones, seeds=streams)
    assert "go with the direct value codec, not with window: use --value direct" in text
    text = refused(weights, plan, quantized=ours, seeds=streams, saliency=weights**2)
    assert "its mask is given, so nothing is chosen" in text


@pytest.mark.parametrize(
    ("key", "wrong", "text"),
    [
        ("masks", [[True]], "mask 'w' must be a NumPy array or a Choice, not list"),
        ("masks", None, "mask 'w' must be a NumPy array or a Choice, not NoneType"),
        ("masks", np.full(SHAPE, "a"), "mask 'w' must be of real numbers, not <U1"),
        ("masks", np.full(SHAPE, 1j), "mask 'w' must be of real numbers, not complex128"),
        ("masks", np.full(SHAPE, np.nan), "mask 'w' has a NaN (give 0 where a weight is pruned)"),
        ("codes", [[0]], "codes 'w' must be a NumPy array, not list"),
        ("quantized", np.ones(SHAPE), "quantized 'w' must be a Quantized, not ndarray"),
        ("seeds", b"", "seeds 'w' must be a DirectStreams, not bytes"),
    ],
)
def test_what_is_no_array_of_numbers_is_refused(key, wrong, text, weights, refused):
    assert text in refused(weights, PLAN, **{key: wrong})


def test_parts_that_are_no_arrays_are_refused(weights, rng, refused):
    mask = np.ones(SHAPE, np.bool_)
    for part in ("mask", "codes", "scales"):
        wrong = replace(quantized(mask, PLAN.quantizer, rng), **{part: None})
        text = f"{part} of quantized 'w' must be a NumPy array, not NoneType"
        assert text in refused(weights, PLAN, quantized=wrong)
