# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the window decoder and its control, twins of ``hw.window.decoder`` and parts."""

from collections.abc import Iterator, Sequence

from xorloom.sw.spec.config import WindowConfig

from .bus import BitQueue, payload
from .network import patch_unit, xor_network

__all__ = ["window_control", "window_decoder"]


def window_control(config: WindowConfig, words: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
    """Twin of ``hw.window.control``: the window and the patch positions of every slice.

    The header counts slice bits: all slices have ``n_out``, the last one may have fewer.
    A ``StopIteration`` inside (``RuntimeError`` outside) means that the stream is too short.
    """
    count, source = payload(config, words)
    seeds = BitQueue(source, config.bus_bits)
    index_bits = (config.frame - 1).bit_length()
    mask = (1 << config.window) - 1
    window = 0
    place = 0  # slices of the frame that have left
    steps = 0  # of the frame
    credit = -config.preload_steps * config.frame
    patch: tuple[int, int] | None = None  # slice of the frame, position
    fresh, entry_due = True, False  # the next chunk opens a frame; it opens with a patch entry
    for _ in range(-(-count // config.n_out)):
        while True:
            seeds.fill(config.n_in)
            chunk = seeds.take(config.n_in)
            window = (window >> config.n_in | chunk << (config.window - config.n_in)) & mask
            entry = chunk
            if fresh:
                rate = chunk & ((1 << config.rate_bits) - 1)
                steps = config.frame + (rate << config.rate_shift)
                entry >>= config.rate_bits
            if config.patches and (fresh or entry_due):
                index = entry >> 1 & (config.frame - 1)
                position = entry >> (1 + index_bits) & ((1 << config.position_bits) - 1)
                patch = (index, position) if entry & 1 else None
            fresh = entry_due = False
            credit += config.frame
            if credit >= steps:
                break
        credit -= steps
        positions = [patch[1]] if patch is not None and patch[0] == place else []
        entry_due = bool(positions)
        if positions:
            patch = None
        place += 1
        if place == config.frame:
            place, fresh = 0, True
        yield window, positions


def window_decoder(config: WindowConfig, columns: Sequence[int], words: Sequence[int]) -> list[int]:
    """Twin of ``hw.window.decoder``: bus words in, one integer of ``n_out`` bits per slice.

    Bits of the last slice beyond the header's count have no meaning. ``columns`` are those of the
    network's rows, see :func:`xorloom.sw.spec.taps.columns`.
    """
    return [
        patch_unit(xor_network(columns, window), positions)
        for window, positions in window_control(config, words)
    ]
