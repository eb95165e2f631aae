# SPDX-License-Identifier: Apache-2.0
"""xorloom beside its peers: the same streams as in a file that compress writes."""

from functools import partial

import numpy as np
import pytest
from xorloom.sim.peers.own import encode_chosen, encode_given
from xorloom.sim.peers.sample import Clock, Sample
from xorloom.sw.index.choice import index_config
from xorloom.sw.model.codec import decode_planes, decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import INDEX, STREAM, read_container
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.tensors.checkpoint import from_arrays
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.weights import clustered_weights


@pytest.mark.parametrize("planes", [1, 4])
@pytest.mark.parametrize("index", ["entropy", "trellis"])
def test_size_and_contents_are_those_of_a_compressed_file(index, planes, tmp_path):
    weights = clustered_weights(384, 512, seed=3)
    sample = Sample.of(weights, 0.9, planes, "row")
    way = {"entropy": partial(encode_given, "auto"), "trellis": partial(encode_chosen, 10)}[index]
    clock = Clock()
    stored = way(sample, clock)
    assert clock.seconds > 0

    value = WindowConfig(n_in=32)
    config = index_config(index, value, planes, density=0.1, window=10)
    spec = CompressSpec(
        sparsity=0.9, config=value, index=config, quantizer=Quantizer("uniform", planes)
    )
    path = tmp_path / "w.safetensors"
    compress_model(from_arrays({"w": weights}), path, spec, jobs=1)
    container = read_container(path)
    assert stored.bits == 8 * sum(len(container.raw("w" + part)) for part in (STREAM, INDEX))
    made = decode_tensor(container, "w")
    assert (stored.mask == made.mask).all()
    magnitudes = (made.codes & ((1 << (planes - 1)) - 1)) + 1
    wanted = np.where(made.codes >> (planes - 1), 1, -1) * magnitudes * made.mask
    assert (stored.values == wanted).all()
    assert (stored.decode() == stored.values).all()
    assert stored.decode_planes is not None
    for found, there in zip(stored.decode_planes(), decode_planes(container, "w"), strict=True):
        assert (found == there).all()
    if index == "entropy":
        assert (stored.mask == sample.mask).all()
