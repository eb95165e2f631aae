# SPDX-License-Identifier: Apache-2.0
"""What was trained under a chosen mask goes into the file bit for bit, and comes back so."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.masks import choose_mask
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.codec import decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import INDEX, read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.notes import report_notes
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.settings import Settings
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.verify import plain_weights, verify_model
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import EntropyConfig, NoneConfig
from xorloom.sw.spec.weight_format import mask_lanes
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.quantize import Quantized, Quantizer, dequantize
from xorloom.sw.value.direct.choose import choose

from tests.helpers.models import as_model

WINDOW = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)
DIRECT = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
SHAPE = (48, 64)
PLAN = TensorPlan(config=WINDOW, search=False)
LEVELS = Quantizer("trellis", 3)
CODECS = ("trellis", "lowrank", "hashed")


@pytest.fixture
def weights(rng):
    return rng.standard_normal(SHAPE).astype(np.float32)


_CHOICES = {}


def chosen(weights, codec="trellis", **options):
    key = weights.tobytes(), codec, tuple(options.items())
    if key not in _CHOICES:
        options = {"density": 0.2, "window": 8} | options
        _CHOICES[key] = choose_mask(weights, codec=codec, value=WINDOW, **options)
    return _CHOICES[key]


def quantized(mask, quantizer, rng, dtype=np.float16):
    """Codes and scales that no quantizer of ours would choose."""
    codes = rng.integers(0, 1 << quantizer.planes, mask.shape).astype(np.uint8) * mask
    scales = rng.standard_normal(quantizer.scale_shape(mask.shape)).astype(dtype)
    return Quantized(mask, codes, scales)


@pytest.fixture
def compress(tmp_path):
    """Compress one tensor, check the file with the golden model; return container and report."""

    def run(weights, plan, **given):
        arrays = {name: {"w": array} for name, array in given.items()}
        model = as_model({"w": weights})
        made = compress_model(model, tmp_path / "c", {"w": plan}, given=UserArrays(**arrays))
        container = read_container(tmp_path / "c")
        assert all(verdict.ok for verdict in verify_model(container, golden=True))
        return container, made.tensors

    return run


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


@pytest.mark.parametrize("search", [False, True])
@pytest.mark.parametrize("codec", CODECS)
def test_the_streams_of_a_choice_go_into_the_file(codec, search, weights, compress):
    choice = chosen(weights, codec)
    trained = (weights + 0.5) * choice.mask  # another search would find another mask
    plan = TensorPlan(config=WINDOW, search=search)
    container, reports = compress(trained, plan, masks=choice)
    assert container.raw("w" + INDEX) == choice.seeds
    assert (decode_tensor(container, "w").mask == choice.mask).all()
    assert container.tensor("w").layout.order == choice.order
    assert container.tensor("w").decoder.index == choice.index
    assert reports["w"].origin == "choice"
    kept = f"{choice.count:,} of {weights.size:,} weights"
    assert report_notes(reports, {"w": Settings()}) == [
        f"w: keeps the mask of its choice, {kept}, with its {codec} streams"
    ]


def test_a_plan_may_name_the_index_of_the_choice(weights, compress):
    choice = chosen(weights)
    plan = TensorPlan(config=WINDOW, index=choice.index, order=choice.order, search=False)
    container, _ = compress(weights * choice.mask, plan, masks=choice)
    assert container.raw("w" + INDEX) == choice.seeds


def test_the_decoder_is_searched_for_the_density_of_the_choice(weights, compress):
    value = WindowConfig()
    choice = choose_mask(weights, density=0.4, value=value, window=8)
    container, _ = compress(weights * choice.mask, TensorPlan(config=value), masks=choice)
    assert container.value().n_in == 128  # for density 0.1 it would be 32


def test_a_choice_of_which_weights_are_zero_tells_so(weights, compress):
    choice = chosen(weights)
    trained = weights * choice.mask
    trained.reshape(-1)[np.flatnonzero(choice.mask)[:5]] = 0
    _, reports = compress(trained, TensorPlan(config=WINDOW, search=False), masks=choice)
    assert reports["w"].zeros == 5
    assert "5 zeros are kept by the index" in reports["w"].notes[0]


def test_a_choice_that_is_not_of_the_trained_weights_tells_so(weights, compress, rng):
    choice = chosen(weights)
    other = chosen(rng.standard_normal(SHAPE).astype(np.float32))
    lost = int((choice.mask & ~other.mask).sum())
    _, reports = compress(
        weights * choice.mask, TensorPlan(config=WINDOW, search=False), masks=other
    )
    text = f"{lost:,} weights of its own mask are pruned: the trellis mask is another one"
    assert text in reports["w"].notes


QUANTIZERS = {
    "binary": Quantizer(),
    "alternating": Quantizer("alternating", 3, "tensor"),
    "uniform": Quantizer("uniform", 2, "group", 40),
    "axis 1": Quantizer("binary", 2, axis=1),
}
STORED = [(index, how) for index in (*CODECS, "bitmap") for how in QUANTIZERS]
STORED += [("entropy", how) for how in ("binary", "uniform")]  # whose slices are whole chunks


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("index", "how"), STORED)
def test_given_weights_come_back_bit_for_bit(index, how, dtype, weights, compress, rng, tmp_path):
    quantizer, masks = QUANTIZERS[how], {}
    plan = TensorPlan(config=WINDOW, quantizer=quantizer, search=False)
    if index in CODECS:
        choice = chosen(weights, index, planes=quantizer.planes)
        mask, masks = choice.mask, {"masks": choice}
    else:
        mask = rng.random(SHAPE) < 0.2
    if index == "entropy":
        n_out = mask_lanes(WINDOW, quantizer.planes)
        plan = replace(plan, index=EntropyConfig(n_out=n_out, lanes=1, bus_bits=32))
    given = quantized(mask, quantizer, rng, dtype)
    container, reports = compress(weights, plan, quantized=given, **masks)
    expected = dequantize(given, quantizer)
    found = decode_tensor(container, "w")
    assert (found.mask == mask).all()
    assert (found.codes == given.codes).all()
    assert found.scales.dtype == dtype
    assert found.scales.tobytes() == given.scales.tobytes()
    assert container.tensor("w").decoder.index.codec == index
    assert plain_weights(container, "w").tobytes() == expected.tobytes()
    decompress_model(tmp_path / "c", tmp_path / "d.safetensors")
    assert load_file(tmp_path / "d.safetensors")["w"].tobytes() == expected.tobytes()
    assert reports["w"].origin == ("choice" if index in CODECS else "given")
    assert reports["w"].notes == ("its codes and scales are given, and stored as they are",)
    error = np.square(weights - expected).sum() / np.square(weights).sum()
    assert reports["w"].error == pytest.approx(error, rel=1e-5)
    if index in CODECS:
        assert container.raw("w" + INDEX) == choice.seeds


@pytest.mark.parametrize("value", [WINDOW, BlockConfig(n_in=8, n_out=40, lanes=2, bus_bits=32)])
def test_a_search_sees_given_weights(value, weights, compress, rng):
    given = quantized(rng.random(SHAPE) < 0.3, Quantizer(), rng)
    container, _ = compress(weights, TensorPlan(config=value), quantized=given)
    assert (decode_tensor(container, "w").codes == given.codes).all()
    assert decode_tensor(container, "w").scales.tobytes() == given.scales.tobytes()


def test_every_weight_can_be_given(weights, compress, rng):
    given = quantized(np.ones(SHAPE, np.bool_), Quantizer(), rng)
    plan = TensorPlan(config=WINDOW, index=NoneConfig(n_out=64, bus_bits=32), search=False)
    container, reports = compress(weights, plan, quantized=given)
    assert (decode_tensor(container, "w").codes == given.codes).all()
    assert reports["w"].origin == "all"


def seeds_of(weights, rotation=None, **options):
    """Seeds and weights such as training could give: not those of a search for these weights."""
    how = Quantizer("trellis", 3)
    found = choose(weights[::-1] * 0.7 + 0.1, DIRECT, how, **options)
    scales = (found.scales * np.float16(1.25)).astype(found.scales.dtype)
    mask = np.ones(weights.shape, np.bool_)
    given = Quantized(mask, found.codes, scales, levels=found.streams.levels, rotation=rotation)
    return found.streams, given


@pytest.mark.parametrize("rotation", [None, 7])
@pytest.mark.parametrize("slices", [None, 100])
def test_given_seeds_come_back_bit_for_bit(slices, rotation, weights, compress, tmp_path):
    streams, given = seeds_of(weights, rotation, slices_per_stream=slices, order="skewed")
    plan = TensorPlan(config=DIRECT, quantizer=Quantizer("trellis", 3), rotation=rotation)
    container, reports = compress(weights, plan, quantized=given, seeds=streams)
    found = decode_tensor(container, "w")
    expected = dequantize(given, plan.quantizer)
    assert (found.codes == given.codes).all()
    assert (found.levels == streams.levels).all()
    assert found.scales.tobytes() == given.scales.tobytes()
    decompress_model(tmp_path / "c", tmp_path / "d.safetensors")
    assert load_file(tmp_path / "d.safetensors")["w"].tobytes() == expected.tobytes()
    assert container.tensor("w").layout.order == "skewed"
    assert reports["w"].origin == "all"
    assert reports["w"].notes == ("its seeds and scales are given, and stored as they are",)


def test_a_bf16_tensor_comes_back_as_the_nearest_bf16(weights, compress, rng):
    given = quantized(rng.random(SHAPE) < 0.3, Quantizer(), rng)
    plan = TensorPlan(config=WINDOW, search=False)
    container, _ = compress(weights.astype(ml_dtypes.bfloat16), plan, quantized=given)
    expected = dequantize(given, Quantizer()).astype(ml_dtypes.bfloat16)
    assert (plain_weights(container, "w") == expected).all()


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
    given = quantized(choice.mask, Quantizer(), np.random.default_rng(0))
    text = refused(weights, replace(PLAN, index=choice.index), quantized=given)
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
    given = replace(quantized(rng.random(SHAPE) < 0.2, Quantizer(), rng), **change)
    assert text in refused(weights, PLAN, quantized=given)


def test_given_weights_beside_others_are_refused(weights, refused, rng):
    choice = chosen(weights)
    given = quantized(choice.mask, Quantizer(), rng)
    assert "belongs to no tensor" in refused(weights, PLAN, name="v", quantized=given)
    other = ~choice.mask
    text = refused(weights, PLAN, quantized=given, masks=other)
    assert "its mask is another than the mask of 'w'" in text
    text = refused(weights, PLAN, quantized=given, masks=choice.mask, codes=given.codes)
    assert "its codes are given as well" in text
    text = refused(weights, PLAN, masks=choice, codes=given.codes)
    assert "go with a mask, not with a choice" in text
    text = refused(weights, PLAN, masks=choice, saliency=weights**2)
    assert "its mask is given, so nothing is chosen" in text
    plan = replace(PLAN, index=NoneConfig(n_out=64, bus_bits=32))
    text = refused(weights, plan, quantized=given)
    assert "the plan keeps every weight" in text
    plan = TensorPlan(config=DIRECT, quantizer=Quantizer("trellis", 3))
    text = refused(weights, plan, quantized=given)
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


def test_seeds_that_do_not_fit_are_refused(weights, refused):
    streams, given = seeds_of(weights)
    plan = TensorPlan(config=DIRECT, quantizer=LEVELS)
    for text, wrong in wrong_seeds(streams).items():
        assert text in refused(weights, plan, quantized=given, seeds=wrong)
    text = refused(weights, plan, seeds=streams)
    assert "need a compressed tensor and quantized weights" in text
    text = refused(weights, replace(plan, order="row"), quantized=given, seeds=streams)
    assert "are in order column, the plan's is row" in text
    text = refused(weights, replace(plan, rotation=1), quantized=given, seeds=streams)
    assert "has rotation None, the plan has 1" in text
    text = refused(weights, PLAN, quantized=replace(given, levels=None), seeds=streams)
    assert "needs more than 1 planes" in text
    ones = replace(given, levels=None, codes=given.codes & 1)
    text = refused(weights, PLAN, quantized=ones, seeds=streams)
    assert "go with the direct value codec, not with window: use --value direct" in text
    text = refused(weights, plan, quantized=given, seeds=streams, saliency=weights**2)
    assert "its mask is given, so nothing is chosen" in text


def test_a_calibration_is_not_for_given_seeds(weights, tmp_path):
    streams, given = seeds_of(weights)
    plan = TensorPlan(config=DIRECT, quantizer=LEVELS)
    calibration = Calibration({"w": Moments(np.eye(64), mean=np.ones(64))})
    arrays = UserArrays(quantized={"w": given}, seeds={"w": streams}, calibration=calibration)
    with pytest.raises(ConfigError, match="a calibration goes with --value direct, and no tensor"):
        compress_model(as_model({"w": weights}), tmp_path / "c", {"w": plan}, given=arrays)
    model = as_model({"v": weights, "w": weights, "w.bias": weights[:, 0]})
    both = replace(arrays, calibration=Calibration({"v": Moments(np.eye(64), mean=np.ones(64))}))
    made = compress_model(model, tmp_path / "c", {"v": plan, "w": plan}, given=both)
    assert made.tensors["w"].notes == ("its seeds and scales are given, and stored as they are",)
