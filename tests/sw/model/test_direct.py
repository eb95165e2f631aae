# SPDX-License-Identifier: Apache-2.0
"""Whole models through the direct codec: kinds of tensors, biases, saliencies."""

import ml_dtypes
import numpy as np
import pytest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.verify import plain_weights, verify_model
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.checkpoint.model import Checkpoint
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.models import as_model

CONFIG = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
LEVELS = Quantizer("trellis", 3)


def spec(**options):
    return CompressSpec(**{"config": CONFIG, "quantizer": LEVELS, "min_size": 20} | options)


@pytest.fixture
def compress(tmp_path):
    """Compress a model, check the file with the golden model; return container and reports."""

    def run(model, plan=None, **given):
        model = model if isinstance(model, Checkpoint) else as_model(model)
        made = compress_model(model, tmp_path / "c", plan or spec(), given=UserArrays(**given))
        container = read_container(tmp_path / "c")
        assert list(container.order) == list(model)
        assert all(verdict.ok for verdict in verify_model(container, golden=True))
        return container, made.tensors

    return run


@pytest.mark.parametrize("rotation", [None, 3])
@pytest.mark.parametrize("scale", ["tensor", "row", "group"])
def test_tensors_of_every_shape_and_dtype_come_back(scale, rotation, compress, rng):
    arrays = {
        "matrix": rng.standard_normal((24, 40)).astype(np.float32),
        "conv": (9 * rng.standard_normal((8, 3, 3, 3))).astype(np.float16),
        "double": 1e-9 * rng.standard_normal((20, 16)),
        "bf16": rng.standard_normal((20, 16)).astype(ml_dtypes.bfloat16),
        "f8": rng.standard_normal((20, 32)).astype(ml_dtypes.float8_e4m3fn),
        "line": rng.standard_normal(300).astype(np.float32),
        "one": np.full((), 0.5, np.float32),
    }
    plan = spec(
        include=tuple(arrays), quantizer=Quantizer("trellis", 3, scale, 64), rotation=rotation
    )
    container, reports = compress(arrays, plan)
    for name, wanted in arrays.items():
        found = plain_weights(container, name)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        a, b = wanted.astype(np.float64), found.astype(np.float64)
        error = np.square(a - b).sum() / np.square(a).sum()
        assert error == pytest.approx(reports[name].error, abs=1e-6)
        assert error < 0.3
        assert reports[name].origin == "all"


def moments(x, **more):
    x = x.astype(np.float32)
    return Moments(x.T @ x / len(x), x.mean(axis=0), len(x), **more)


@pytest.mark.parametrize("names", [["m.bias", "m.weight", "z"], ["m.weight", "z", "m.bias"]])
def test_a_bias_takes_up_the_mean_wherever_it_stands(names, compress, rng):
    x = rng.standard_normal((300, 32)) + 2
    arrays = {
        "m.weight": rng.standard_normal((12, 32)).astype(np.float32),
        "m.bias": rng.standard_normal(12).astype(np.float32),
        "z": rng.standard_normal((6, 32)).astype(np.float32),
    }
    arrays = {name: arrays[name] for name in names}
    calibration = Calibration({"m.weight": moments(x), "z": moments(x)})
    container, reports = compress(arrays, spec(rotation=1), calibration=calibration)
    found = np.frombuffer(container.raw("m.bias"), np.float32)
    lost = plain_weights(container, "m.weight") - arrays["m.weight"]
    assert np.allclose(found, arrays["m.bias"] - lost @ x.mean(axis=0), atol=1e-4)
    assert any("its bias takes up" in note for note in reports["m.weight"].notes)
    assert not any("its bias" in note for note in reports["z"].notes)


def test_a_bias_that_is_shared_or_unknown_stays(compress, rng):
    x = rng.standard_normal((300, 32)) + 2
    arrays = {
        "m.weight": rng.standard_normal((12, 32)).astype(np.float32),
        "m.bias": rng.standard_normal(12).astype(np.float32),
        "n.weight": rng.standard_normal((12, 32)).astype(np.float32),
        "n.bias": rng.standard_normal(7).astype(np.float32),
    }
    model = Checkpoint(as_model(arrays), ties={"o.bias": "m.bias"})
    calibration = Calibration({"m.weight": moments(x), "n.weight": moments(x)})
    container, _ = compress(model, calibration=calibration)
    for name in ("m.bias", "n.bias"):
        assert container.raw(name) == arrays[name].tobytes()


def test_a_calibration_is_of_matrices(compress, rng):
    calibration = Calibration({"v": moments(rng.standard_normal((90, 40)))}, "cal.npz")
    arrays = {"v": rng.standard_normal(40).astype(np.float32)}
    with pytest.raises(ConfigError, match=r"cal\.npz: v: a calibration is of matrices, not"):
        compress(arrays, spec(include=("v",)), calibration=calibration)


def test_a_saliency_tells_what_an_error_counts(compress, rng):
    w = rng.standard_normal((32, 64)).astype(np.float32)
    worth = np.ones_like(w)
    worth[:, :8] = 50
    errors = []
    for given in ({}, {"saliency": {"w": worth}}):
        container, _ = compress({"w": w}, spec(quantizer=LEVELS), **given)
        errors.append(float(np.square(plain_weights(container, "w") - w)[:, :8].sum()))
    assert errors[1] < 0.9 * errors[0]
    with pytest.raises(ConfigError, match="saliency of 'w' does not go with a rotation"):
        compress({"w": w}, spec(rotation=1), saliency={"w": worth})
    codes = np.zeros(w.shape, np.uint8)
    with pytest.raises(ConfigError, match="codes of 'w': the direct value codec keeps every weigh"):
        compress({"w": w}, codes={"w": codes}, masks={"w": codes == 0})


@pytest.mark.parametrize("order", ["row", "column", "skewed"])
def test_rows_of_unequal_size_cost_nothing(order, compress, rng):
    w = rng.standard_normal((64, 128)).astype(np.float32)
    sizes = np.exp(rng.standard_normal((64, 1))).astype(np.float32)
    _, alike = compress({"w": w}, spec(order=order))
    _, unequal = compress({"w": w * sizes}, spec(order=order))
    # A few large rows decide the second error; metrics that overflow double it.
    assert unequal["w"].error < 1.25 * alike["w"].error


def test_rows_of_zeros_come_back_as_zeros(compress, rng):
    w = rng.standard_normal((16, 48)).astype(np.float32)
    w[3] = 0
    calibration = Calibration({"w": moments(rng.standard_normal((300, 48)))})
    for given in ({}, {"calibration": calibration}):
        container, reports = compress({"w": w}, spec(rotation=2), **given)
        assert (plain_weights(container, "w")[3] == 0).all()
        assert any("zero" in note for note in reports["w"].notes)
