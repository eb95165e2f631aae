# SPDX-License-Identifier: Apache-2.0
"""Weight streams with random contents."""

from xorloom.sw.bits.framing import frame_payload
from xorloom.sw.memory.weight_stream import join_streams
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.layout import CRC_BYTES, HEADER_BYTES, Header, network_id, padded
from xorloom.sw.spec.weight_format import WeightFormat

from tests.helpers.direct import direct_stream
from tests.helpers.index_streams import index_stream
from tests.helpers.window_streams import window_stream

__all__ = ["value_stream", "weight_stream"]


def value_stream(form: WeightFormat, count: int, seed: int) -> bytes:
    """Return a random value stream of ``count`` slice bits, header and CRC right."""
    config = form.value
    if isinstance(config, DirectConfig):
        return direct_stream(config, count, seed)
    assert isinstance(config, WindowConfig)
    bus = config.bus_bytes
    words = window_stream(config, count, seed).words
    head, tail = (padded(n, bus) // bus for n in (HEADER_BYTES, CRC_BYTES))
    payload = b"".join(word.to_bytes(bus, "little") for word in words[head : len(words) - tail])
    chunks = len(payload) * 8 // config.n_in
    return frame_payload(_header(form, count, len(payload) // bus), payload, bus) if chunks else b""


def _header(form: WeightFormat, count: int, words: int) -> Header:
    return Header(form.value.kind, count, network_id(form.value), words)


def weight_stream(form: WeightFormat, slices: int, tail: int, seed: int) -> bytes:
    """Return a random weight stream of ``slices`` slices, ``tail`` weights in the last."""
    lanes = form.value.n_out // form.planes
    count = form.value.n_out * (slices - 1) + tail * form.planes
    index = index_stream(form.index, lanes * (slices - 1) + tail, seed)
    return join_streams(value_stream(form, count, seed), index, form)[0]
