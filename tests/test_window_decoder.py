# SPDX-License-Identifier: Apache-2.0
"""Window decoder RTL against the golden model."""

from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.window_decoder import WindowDecoder
from xorloom.sw.config import WindowConfig

from .hw_helpers import StreamRun, drive, simulate
from .window_streams import WindowStream, window_stream

STALLS = [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.4, 0.4)]


def small(**changes: int) -> WindowConfig:
    values = {"n_in": 16, "n_out": 64, "window": 128, "shared": 64, "frame": 16, "bus_bits": 32}
    return WindowConfig(**(values | changes))


CONFIGS = {
    "n_in_half_of_bus": small(),
    "n_in_eighth_of_bus": small(bus_bits=128),
    "n_in_1_64th_of_bus": small(n_in=8, bus_bits=512),
    "n_in_is_bus": small(n_in=32),
    "n_in_is_wide_bus": small(n_in=128, bus_bits=128, window=256),
    "n_in_2_words": small(n_in=64),
    "n_in_4_words": small(n_in=128, window=256),
    "n_in_8_words": small(n_in=256, window=512),
    "rate_shift": small(n_in=8, frame=64),
    "window_of_one_chunk": small(n_in=64, window=64, shared=32, bus_bits=64),
    "patches": small(patches=1, n_in=32),
    "patches_half_of_bus": small(patches=1, n_in=32, bus_bits=64),
    "patches_2_words": small(patches=1, n_in=64),
    "patches_long_frame": small(patches=1, n_in=64, frame=256, n_out=320, bus_bits=64),
    "slices_of_192": small(n_out=192, window=256),
    "direct": small(own_taps=7, shared_taps=0, shared=0),
    "many_taps": small(own_taps=9, shared_taps=2, shared=32, parity_taps=7),
}


def decode(config: WindowConfig, streams: list[WindowStream], **stalls: Any) -> StreamRun:
    """Run streams back to back; compare all slices."""
    words = [word for stream in streams for word in stream.words]
    expected = [item for stream in streams for item in stream.slices]
    run = drive(WindowDecoder(config), words, len(expected), **stalls)
    for number, (item, (bits, valid_bits, last)) in enumerate(
        zip(run.items, expected, strict=True)
    ):
        where = f"slice {number}"
        assert (item.valid_bits, item.last) == (valid_bits, last), where
        wrong = [bit for bit in range(config.n_out) if (item.bits ^ bits) >> bit & 1]
        assert not wrong, f"{where}: bits {wrong} differ from {bits:x}"
    return run


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize(("source", "sink"), STALLS)
def test_window_decoder_equals_golden_model_under_stalls(
    name: str, source: float, sink: float
) -> None:
    config = CONFIGS[name]
    counts = (40 * config.n_out - 1, 1, 0, 0, config.n_out, 3 * config.n_out + 64, 65)
    streams = [window_stream(config, count, seed) for seed, count in enumerate(counts, 1)]
    if config.patches:
        assert sum(stream.patched for stream in streams) > 4
    decode(config, streams, source=source, sink=sink)
