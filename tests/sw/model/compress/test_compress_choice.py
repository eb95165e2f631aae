# SPDX-License-Identifier: Apache-2.0
"""What was trained under a chosen mask goes into the file bit for bit, and comes back so."""

import tempfile
from dataclasses import replace
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from xorloom.sw.base.errors import ConfigError, DensityError
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
from xorloom.sw.spec.index_config import EntropyConfig, NoneConfig
from xorloom.sw.spec.weight_format import mask_lanes
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.quantize import Quantizer, dequantize

from tests.helpers.models import WINDOW, as_model
from tests.helpers.trained import CODECS, DIRECT, LEVELS, SHAPE, chosen, quantized, seeds_of


@pytest.fixture
def weights(rng):
    return rng.standard_normal(SHAPE).astype(np.float32)


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
    ours = quantized(mask, quantizer, rng, dtype)
    container, reports = compress(weights, plan, quantized=ours, **masks)
    expected = dequantize(ours, quantizer)
    found = decode_tensor(container, "w")
    assert (found.mask == mask).all()
    assert (found.codes == ours.codes).all()
    assert found.scales.dtype == dtype
    assert found.scales.tobytes() == ours.scales.tobytes()
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
    ours = quantized(rng.random(SHAPE) < 0.3, Quantizer(), rng)
    container, _ = compress(weights, TensorPlan(config=value), quantized=ours)
    assert (decode_tensor(container, "w").codes == ours.codes).all()
    assert decode_tensor(container, "w").scales.tobytes() == ours.scales.tobytes()


def test_every_weight_can_be_given(weights, compress, rng):
    ours = quantized(np.ones(SHAPE, np.bool_), Quantizer(), rng)
    plan = TensorPlan(config=WINDOW, index=NoneConfig(n_out=64, bus_bits=32), search=False)
    container, reports = compress(weights, plan, quantized=ours)
    assert (decode_tensor(container, "w").codes == ours.codes).all()
    assert reports["w"].origin == "all"


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 12), max_size=4),
    st.sampled_from([*CODECS, None]),
    st.sampled_from(sorted(QUANTIZERS)),
    st.sampled_from([np.float16, np.float32]),
    st.integers(0, 1 << 20),
)
def test_tensors_of_any_shape_come_back_bit_for_bit(shape, codec, how, dtype, seed):
    rng = np.random.default_rng(seed)
    weights, quantizer = rng.standard_normal(shape).astype(np.float32), QUANTIZERS[how]
    assume(how != "axis 1" or len(shape) != 1)
    masks, mask = {}, rng.random(shape) < 0.3
    if codec is not None:
        try:
            masks["w"] = choose_mask(
                weights, codec=codec, value=WINDOW, planes=quantizer.planes, density=0.3, window=6
            )
        except DensityError:
            assume(False)
        mask = masks["w"].mask
    ours = quantized(np.asarray(mask), quantizer, rng, dtype)
    plan = TensorPlan(config=WINDOW, quantizer=quantizer, search=False)
    arrays = UserArrays(masks, quantized={"w": ours})
    with tempfile.TemporaryDirectory() as folder:
        compress_model(as_model({"w": weights}), Path(folder, "c"), {"w": plan}, given=arrays)
        container = read_container(Path(folder, "c"))
        found = decode_tensor(container, "w")
        assert plain_weights(container, "w").tobytes() == dequantize(ours, quantizer).tobytes()
        assert found.scales.tobytes() == ours.scales.tobytes()
        assert (found.codes == ours.codes).all()
        assert not masks or container.raw("w" + INDEX) == masks["w"].seeds


@pytest.mark.parametrize("rotation", [None, 7])
@pytest.mark.parametrize("slices", [None, 100])
def test_given_seeds_come_back_bit_for_bit(slices, rotation, weights, compress, tmp_path):
    streams, ours = seeds_of(weights, rotation, slices_per_stream=slices, order="skewed")
    plan = TensorPlan(config=DIRECT, quantizer=Quantizer("trellis", 3), rotation=rotation)
    container, reports = compress(weights, plan, quantized=ours, seeds=streams)
    found = decode_tensor(container, "w")
    expected = dequantize(ours, plan.quantizer)
    assert (found.codes == ours.codes).all()
    assert (found.levels == streams.levels).all()
    assert found.scales.tobytes() == ours.scales.tobytes()
    decompress_model(tmp_path / "c", tmp_path / "d.safetensors")
    assert load_file(tmp_path / "d.safetensors")["w"].tobytes() == expected.tobytes()
    assert container.tensor("w").layout.order == "skewed"
    assert reports["w"].origin == "all"
    assert reports["w"].notes == ("its seeds and scales are given, and stored as they are",)


def test_a_bf16_tensor_comes_back_as_the_nearest_bf16(weights, compress, rng):
    ours = quantized(rng.random(SHAPE) < 0.3, Quantizer(), rng)
    plan = TensorPlan(config=WINDOW, search=False)
    container, _ = compress(weights.astype(ml_dtypes.bfloat16), plan, quantized=ours)
    expected = dequantize(ours, Quantizer()).astype(ml_dtypes.bfloat16)
    assert (plain_weights(container, "w") == expected).all()


def test_a_calibration_is_not_for_given_seeds(weights, tmp_path):
    streams, ours = seeds_of(weights)
    plan = TensorPlan(config=DIRECT, quantizer=LEVELS)
    calibration = Calibration({"w": Moments(np.eye(64), mean=np.ones(64))})
    arrays = UserArrays(quantized={"w": ours}, seeds={"w": streams}, calibration=calibration)
    with pytest.raises(ConfigError, match="a calibration goes with --value direct, and no tensor"):
        compress_model(as_model({"w": weights}), tmp_path / "c", {"w": plan}, given=arrays)
    model = as_model({"v": weights, "w": weights, "w.bias": weights[:, 0]})
    both = replace(arrays, calibration=Calibration({"v": Moments(np.eye(64), mean=np.ones(64))}))
    made = compress_model(model, tmp_path / "c", {"v": plan, "w": plan}, given=both)
    assert made.tensors["w"].notes == ("its seeds and scales are given, and stored as they are",)
