# SPDX-License-Identifier: Apache-2.0
"""Small checkpoints and compressed files."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.reports.inspect import tensor_bits
from xorloom.sw.model.verify import verify_tensor
from xorloom.sw.tensors.checkpoint import open_model

from tests.helpers.containers import SPECS
from tests.helpers.models import CONFIG, WINDOW, as_model


@pytest.fixture
def arrays(rng):
    return {
        "enc.weight": rng.standard_normal((20, 30)).astype(np.float32),
        "enc.bias": rng.standard_normal(20).astype(np.float32),
        "dec.weight": (4 * rng.standard_normal((10, 5, 8))).astype(np.float16),
        "tiny": rng.standard_normal((2, 3)).astype(np.float32),
        "ids": np.arange(400).reshape(20, 20),
        "none": np.zeros((0, 300), np.float32),
    }


@pytest.fixture(params=[CONFIG, WINDOW], ids=["block", "window"])
def value_codec(request):
    """The small configuration of either codec."""
    return request.param


@pytest.fixture
def round_trip(value_codec, tmp_path):
    """Compress arrays, check all, decompress; return config, container, arrays of the output."""

    def run(arrays, options, **given):
        options = replace(options, config=value_codec)
        made = compress_model(
            as_model(arrays), tmp_path / "c.safetensors", options, given=UserArrays(**given)
        )
        config, bits = made.config, made.bits
        container = read_container(tmp_path / "c.safetensors")
        assert container.value() == config
        assert set(bits) == set(container.tensors)
        for name in container.tensors:
            verify_tensor(container, name)
            assert tensor_bits(container, name) == bits[name]
            parts = [n for n in container.names if n.startswith(f"{name}.xl_")]
            assert bits[name].total == 8 * sum(container.entry(n)[2] for n in parts)
        shapes = decompress_model(tmp_path / "c.safetensors", tmp_path / "d.safetensors")
        assert shapes == {name: t.shape for name, t in container.tensors.items()}
        return config, container, load_file(tmp_path / "d.safetensors")

    return run


@pytest.fixture
def original(tmp_path, rng):
    """A checkpoint with one small matrix and tensors that pass through."""
    arrays = {
        "w": rng.standard_normal((6, 10)).astype(np.float32),
        "bias": rng.standard_normal(3).astype(np.float16),
        "steps": np.array(7, np.int64),
    }
    save_file(arrays, tmp_path / "model.safetensors")
    return arrays


@pytest.fixture(params=["block"])
def codec(request):
    """Codec of the compressed file; a test asks for others by indirect parametrization."""
    return request.param


@pytest.fixture
def compressed(tmp_path, original, codec):
    model = open_model(tmp_path / "model.safetensors")
    compress_model(model, tmp_path / "c.safetensors", SPECS[codec])
    return tmp_path / "c.safetensors"
