# SPDX-License-Identifier: Apache-2.0
"""The trellis index told in plain Python, for tests: windows as lists of bits, oldest first."""

import itertools

import numpy as np
from xorloom.sw.index.trellis.kernels import Trellis, lane_tables, set_patterns
from xorloom.sw.spec.index_config import TrellisConfig
from xorloom.sw.spec.trellis_code import GATE_TAPS


def mask_bit(code, classes, j, window, lane_class):
    """The mask bit that lane ``j`` makes of a window, from the text of FORMAT.md."""
    parities = code.parities[code.steps[j]]
    p = sum(sum(window[t] for t in parities[pick]) % 2 << k for k, pick in enumerate(code.picks[j]))
    hit = code.tables[j] >> p & 1
    a = [window[t] for t in code.gates[j]]
    if classes == 1:
        return hit and sum(a) % 2
    first = (a[0] + a[1]) % 2 if lane_class & 1 else 1
    second = a[2] * a[3] if lane_class & 2 else 1
    return hit and first and second


def mask_of(config, seeds, slices, classes=None):
    """The mask of seed bits (one a step), (slices, n_out) bool; ``classes`` (periods, n_out)."""
    code, past = config.code, config.window - 1
    bits = [0] * past + list(seeds)
    mask = np.zeros((slices, config.n_out), np.bool_)
    for e, j in itertools.product(range(slices), range(config.n_out)):
        at = e * config.n_in + code.steps[j]
        lane_class = 0 if classes is None or not len(classes) else classes[e // config.period, j]
        mask[e, j] = mask_bit(code, config.classes, j, bits[at : at + config.window], lane_class)
    return mask


def kernel_inputs(config, lanes, classes=None):
    """Lane tables and trellis for the kernels, states ``lanes`` at a time."""
    code, window = config.code, config.window

    def value(positions):
        return sum(1 << (window - 1 - t) for t in positions)

    parities = np.array(
        [
            [value(code.parities[u][pick]) for pick in hand]
            for u, hand in zip(code.steps, code.picks, strict=True)
        ],
        np.uint32,
    )
    gates = np.zeros((config.n_out, GATE_TAPS[4]), np.uint32)
    for j, gate in enumerate(code.gates):
        parts = [gate] if config.classes == 1 else [(t,) for t in gate]
        gates[j, : len(parts)] = [value(part) for part in parts]
    bits = np.zeros((config.n_out, 1 << window), np.uint8)
    lane_tables(parities, np.array(code.tables, np.uint32), gates, window, lanes, bits)
    first = np.searchsorted(code.steps, np.arange(config.n_in + 1)).astype(np.int64)
    n_bytes = -(-int(np.diff(first).max()) // 8)
    patterns = np.zeros((config.n_in, n_bytes, 1 << window), np.uint8)
    if classes is None:
        set_patterns(bits, np.zeros(config.n_out, np.uint8), first, patterns)
    return Trellis(first, patterns, window, lanes), bits


def seed_bits(words, count):
    """The first bits of packed uint64 words, as a list."""
    return np.unpackbits(words.view(np.uint8), count=count, bitorder="little").tolist()


def trellis_config(n_in, n_out, window, **rest):
    """A small configuration."""
    return TrellisConfig(n_in=n_in, n_out=n_out, window=window, bus_bits=32, **rest)
