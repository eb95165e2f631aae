# SPDX-License-Identifier: Apache-2.0
"""Other packages' codecs: lossless from what is stored alone, sizes near what theory says."""

from functools import partial

import numpy as np
import pytest
from xorloom.sim.peers.measure import METHODS
from xorloom.sim.peers.packages import encode_rans, encode_zstd
from xorloom.sim.peers.sample import Clock, Sample, Stored

from tests.helpers.weights import clustered_weights

PEERS = {name: method for name, method in METHODS.items() if method.module != "xorloom"}


def encoded(name: str, sample: Sample) -> Stored:
    method = METHODS[name]
    pytest.importorskip(method.module, reason="make setup EXTRAS=peers")
    return method.encode(sample, Clock())


def iid(sparsity: float, planes: int) -> Sample:
    weights = np.random.default_rng(7).standard_normal((512, 600), np.float32)
    return Sample.of(weights, sparsity, planes, "tensor")


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("planes", [1, 4, 7])
def test_what_is_stored_decodes_without_the_sample(name: str, planes: int) -> None:
    sample = Sample.of(clustered_weights(77, 130, seed=2), 0.8, planes, "row")
    stored = encoded(name, sample)
    wanted = sample.values.copy()
    for array in (sample.values, sample.codes, sample.mask):
        array[:] = 0
    assert (np.asarray(stored.decode(), np.int8).reshape(wanted.shape) == wanted).all()


@pytest.mark.parametrize("name", PEERS)
def test_one_row_and_one_column(name: str) -> None:
    for shape in ((1, 70), (70, 1)):
        weights = np.random.default_rng(1).standard_normal(shape, np.float32)
        sample = Sample.of(weights, 0.5, 2, "tensor")
        found = np.asarray(encoded(name, sample).decode(), np.int8)
        assert (found.reshape(shape) == sample.values).all()


@pytest.mark.parametrize("planes", [1, 4])
def test_rans_takes_the_entropy(planes: int) -> None:
    sample = iid(0.9, planes)
    bits = encoded("rans", sample).bits
    assert sample.entropy_bits < bits < 1.01 * sample.entropy_bits


@pytest.mark.parametrize("turned", [False, True])
def test_rans_with_classes_takes_less_where_lines_differ_in_density(turned: bool) -> None:
    pytest.importorskip("constriction", reason="make setup EXTRAS=peers")
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((640, 640)) * rng.lognormal(0, 1, (640, 1))
    sample = Sample.of((weights.T if turned else weights).astype(np.float32), 0.9, 1, "tensor")
    store = partial(encode_rans, sample=sample, clock=Clock())
    classes = store(True)
    assert (classes.decode() == sample.values).all()
    assert classes.bits < 0.9 * store(False).bits


def test_packed_form_is_smaller_than_bytes_and_a_frame_for_each_string_than_one_for_both() -> None:
    zstandard = pytest.importorskip("zstandard", reason="make setup EXTRAS=peers")
    sample = iid(0.9, 1)
    packed = encode_zstd(19, True, sample, Clock())
    assert packed.bits < 0.9 * encode_zstd(19, False, sample, Clock()).bits
    strings = [np.packbits(sample.mask), np.packbits(sample.codes[sample.mask])]
    one = zstandard.ZstdCompressor(level=19).compress(b"".join(map(bytes, strings)))
    assert packed.bits < 8 * len(one)
