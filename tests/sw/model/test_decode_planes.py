# SPDX-License-Identifier: Apache-2.0
"""Packed decoding against the bytes that the same file decodes to."""

from dataclasses import replace

import numpy as np
import pytest
from xorloom.sw.model.codec import decode_planes, decode_tensor
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.orders import ORDERS
from xorloom.sw.tensors.quantize import Quantizer

from tests.helpers.containers import SPEC, SPECS
from tests.helpers.models import WINDOW, as_model, spec


def bits(words, weights):
    return np.unpackbits(words.view(np.uint8), count=weights, bitorder="little")


def check(container):
    for name, info in container.tensors.items():
        mask, planes = decode_planes(container, name)
        whole = decode_tensor(container, name)
        n_words = -(-whole.mask.size // 64)
        assert (mask.shape, planes.shape) == ((n_words,), (info.planes, n_words))
        assert (bits(mask, whole.mask.size) == whole.mask.reshape(-1)).all()
        for b, plane in enumerate(planes):
            wanted = whole.codes.reshape(-1) >> b & 1
            assert (bits(plane, whole.mask.size) == wanted * whole.mask.reshape(-1)).all()
            assert not (plane & ~mask).any()
        last = 64 * n_words - whole.mask.size  # bits behind the last weight
        assert not n_words or int(mask[-1]) >> 64 - last == 0


DIRECT = replace(
    SPEC,
    config=DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32),
    quantizer=Quantizer("trellis", 3),
    sparsity=CompressSpec().sparsity,
)


@pytest.mark.parametrize("plan", [*SPECS.values(), DIRECT], ids=[*SPECS, "direct"])
def test_decode_planes_are_the_bits_of_decode_tensor(plan, arrays, tmp_path):
    compress_model(as_model(arrays), tmp_path / "c", plan)
    check(read_container(tmp_path / "c"))


@pytest.mark.parametrize("order", ORDERS)
def test_decode_planes_of_every_order(order, arrays, tmp_path):
    plan = replace(spec(config=WINDOW), order=order)
    compress_model(as_model(arrays), tmp_path / "c", plan)
    container = read_container(tmp_path / "c")
    assert {info.layout.order for info in container.tensors.values()} == {order}
    check(container)
