# SPDX-License-Identifier: Apache-2.0
"""The window encoder against linear systems made from the stream's definition."""

import os
import subprocess
import sys

import galois
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.bits.jit import njit
from xorloom.sw.tensors.orders import lanes
from xorloom.sw.value.window import codec as window_codec
from xorloom.sw.value.window import elimination, rate_control
from xorloom.sw.value.window.codec import encode
from xorloom.sw.value.window.geometry import geometry

from tests.helpers.window import random_case, slice_ends, small

GF2 = galois.GF(2)
CONFIG = small()
SHIFTED = small(frame=128)
PATCHED = small(n_in=32, patches=1)


def sliced(mask, codes, config):
    """Kept outputs and their bits, slice by slice, of one plane in row order."""
    n = config.n_out
    bits = [int(code) for code in codes.reshape(-1)]
    kept = np.flatnonzero(mask)
    found = [[] for _ in range(-(-mask.size // n))]
    for weight in kept:
        found[weight // n].append((int(weight) % n, bits[weight]))
    return found


def equations(config, rates, slices, flips=None):
    """Rows (row, right-hand side, slice, output) of everything that a stream must meet, in order.

    Rate bits and patch entries come as rows with slice -1.
    """
    flips = flips or {}
    rows = config.network.rows
    ends, openings = slice_ends(config, rates, len(slices))
    found = []

    def fix(at, width, value):
        found.extend((1 << at + i, value >> i & 1, -1, -1) for i in range(width))

    for e, kept in enumerate(slices):
        f, place = divmod(e, config.frame)
        if place == 0:
            fix(openings[f] * config.n_in, config.rate_bits, rates[f])
        if config.patches and (place == 0 or e - 1 in flips):
            at = (openings[f] if place == 0 else ends[e - 1]) * config.n_in
            at += config.rate_bits if place == 0 else 0
            last = min(len(slices), (f + 1) * config.frame)
            following = next((k for k in range(e, last) if k in flips), None)
            if following is None:
                fix(at, 1, 0)
            else:
                entry = 1 | following % config.frame << 1
                entry |= flips[following] << config.frame.bit_length()
                fix(at, config.patch_bits, entry)
        start = ends[e] * config.n_in - config.window
        found.extend((rows[j] << start, bit ^ (flips.get(e) == j), e, j) for j, bit in kept)
    return found, ends[-1]


def contradiction(system):
    """First (slice, output) that contradicts what stands before it, or None; plain elimination."""
    basis = {}
    for row, bit, e, j in system:
        while row:
            pivot = row.bit_length()
            if pivot not in basis:
                basis[pivot] = row, bit
                break
            row, bit = row ^ basis[pivot][0], bit ^ basis[pivot][1]
        if row == 0 and bit:
            return e, j
    return None


def as_galois(system, n_bits):
    left = GF2([[row >> a & 1 for a in range(n_bits)] for row, *_ in system])
    return left, GF2([bit for _, bit, *_ in system])


def has_solution(system, n_bits):
    left, right = as_galois(system, n_bits)
    joined = GF2(np.column_stack([left, right]))
    return np.linalg.matrix_rank(joined) == np.linalg.matrix_rank(left)


@pytest.fixture
def seen(monkeypatch):
    """Facts (rate word, patches, attempts) of every stream that is encoded."""
    found, real = [], window_codec.encode_stream

    def spy(*arguments):
        result = real(*arguments)
        found.append(arguments[-1].copy())
        return result

    monkeypatch.setattr(window_codec, "encode_stream", spy)
    return found


def spiky(rng, slices, config, sparsity=0.9):
    mask, codes = random_case(rng, (slices, config.n_out), sparsity, 1)
    mask[8::16] = True
    return mask, codes


@pytest.mark.parametrize("config", [CONFIG, SHIFTED, small(n_in=64), PATCHED], ids=str)
@pytest.mark.parametrize("sparsity", [0.5, 0.95])
def test_encode_seeds_solve_the_system_of_the_definition(config, sparsity, seen, rng):
    mask, codes = spiky(rng, 2 * config.frame + 3 if config.frame < 99 else 30, config, sparsity)
    stream = encode(mask, codes, 1, config, order="row").streams[0]
    flips = window_codec._walk(stream.seeds, stream.chunks, stream.count, config, "x")[1]
    flips = {e: int(flip) for e, flip in enumerate(flips) if flip >= 0}
    assert len(flips) == stream.n_patches
    rates = [int(rate) for rate in seen[0][:, 0]]
    system, chunks = equations(config, rates, sliced(mask, codes, config), flips)
    assert chunks == stream.chunks
    seeds = int.from_bytes(stream.seeds.tobytes(), "little")
    assert seeds >> chunks * config.n_in == 0
    left, right = as_galois(system, chunks * config.n_in)
    point = GF2([seeds >> a & 1 for a in range(chunks * config.n_in)])
    wrong = np.flatnonzero(left @ point != right)
    assert wrong.size == 0, system[wrong[0]][2:]


@pytest.mark.parametrize("seed", range(6))
def test_encode_adds_steps_only_if_galois_finds_no_solution(seed, seen):
    rng = np.random.default_rng(seed)
    mask, codes = spiky(rng, 48, CONFIG, 0.97)
    stream = encode(mask, codes, 1, CONFIG, order="row").streams[0]
    facts = seen[0].tolist()
    assert stream.attempts == sum(fact[2] for fact in facts)
    slices = sliced(mask, codes, CONFIG)
    raised = 0
    for f, (rate, _, tries) in enumerate(facts):
        before = [fact[0] for fact in facts[:f]]
        part = slices[: (f + 1) * CONFIG.frame]
        system, chunks = equations(CONFIG, [*before, rate], part)
        assert has_solution(system, chunks * CONFIG.n_in)
        if tries > 1:
            lower = rate - (1 + (tries - 1) ** 2 // 16)  # the step grows with the tries
            system, chunks = equations(CONFIG, [*before, lower], part)
            assert not has_solution(system, chunks * CONFIG.n_in)
            raised += 1
    assert raised


@njit()
def call_encode_frame(basis, shape, chunk, rate, care, value, taps, patches, count):
    elimination.save(basis, rate_control._oldest(shape, chunk))
    return rate_control._encode_frame(care, value, taps, shape, basis, chunk, rate, patches, count)


@njit()
def call_undo(basis, shape, chunk, used):
    rate_control._undo(basis, shape, chunk, used)


class Frame:
    """One stream's kernel arguments, to call the frame kernel with rates of our own."""

    def __init__(self, mask, codes, config):
        self.config, self.shape = config, geometry(config)
        slices = -(-mask.size // config.n_out)
        self.care = np.empty((slices, config.n_out // 64), np.uint64)
        self.value = np.empty_like(self.care)
        where = lanes("row", mask.size, config.n_out)
        packed = window_codec.pack_planes(mask.reshape(-1), codes.reshape(-1), 1, config.n_out)
        window_codec.cut_slices(packed, where, 0, self.care, self.value)
        self.taps = window_codec.network_taps(config)
        self.basis = window_codec.new_basis(config, 3 * window_codec.frame_bits(config))

    def encode(self, frame, chunk, rate, flips=()):
        """Return (chunks, slice of the frame, output)."""
        part = slice(frame * self.config.frame, (frame + 1) * self.config.frame)
        patches = np.array([*flips, (0, 0)], np.int64)
        return call_encode_frame(
            self.basis, self.shape, chunk, rate, self.care[part], self.value[part], self.taps,
            patches, len(flips)
        )  # fmt: skip

    def undo(self, chunk, used):
        call_undo(self.basis, self.shape, chunk, used)

    def state(self):
        """All that later equations see of the rows, the open words' included."""
        basis, n = self.basis, len(self.basis.span)
        rows = []
        for word in np.flatnonzero((basis.has != 0) & (basis.done == 0)):
            for bit in range(64):
                a = int(word) * 64 + bit
                if int(basis.has[word]) >> bit & 1:
                    rows.append((a, int(basis.heads[a]), int(basis.combos[a])))
                    rows.append(basis.tails[a * n : a * n + n].tolist())
        return basis.has.tolist(), basis.right.tolist(), basis.done.tolist(), rows


@given(st.integers(0, 2**32 - 1), st.integers(0, 12), st.floats(0, 1), st.sampled_from([8, 16, 64]))
@settings(max_examples=60)
def test_encode_frame_stops_at_the_first_contradiction(seed, rate, sparsity, n_in):
    rng = np.random.default_rng(seed)
    config = small(n_in=n_in)
    rate = min(rate, (1 << config.rate_bits) - 1)
    mask, codes = random_case(rng, (32, 64), sparsity, 1)
    mask[rng.integers(0, 32, 2)] = True
    frame, slices, rates, chunk = Frame(mask, codes, config), sliced(mask, codes, config), [], 0
    for f in range(2):
        part = slices[: 16 * (f + 1)]
        before = frame.state()
        system, chunks = equations(config, [*rates, rate], part)
        expected = contradiction(system)
        used, e, j = frame.encode(f, chunk, rate)
        assert ((16 * f + e, j) if e >= 0 else None) == expected
        if expected is None:
            assert used == chunks
        frame.undo(chunk, used)
        assert frame.state() == before
        rates.append((1 << config.rate_bits) - 1)  # enough for any mask
        chunk, e, _ = frame.encode(f, chunk, rates[-1])
        assert e == -1


@given(st.integers(0, 2**32 - 1), st.integers(0, 10), st.integers(0, 6))
@settings(max_examples=60)
def test_encode_frame_flips_patched_outputs(seed, rate, n):
    rng = np.random.default_rng(seed)
    mask, codes = random_case(rng, (16, 64), 0.5, 1)
    flips = {
        int(e): int(rng.integers(0, 64)) for e in sorted(rng.choice(16, n, replace=False).tolist())
    }
    frame = Frame(mask, codes, PATCHED)
    expected = contradiction(equations(PATCHED, [rate], sliced(mask, codes, PATCHED), flips)[0])
    _, e, j = frame.encode(0, 0, rate, sorted(flips.items()))
    assert ((e, j) if e >= 0 else None) == expected


def test_encode_stream_asks_for_larger_arrays(rng):
    mask, codes = random_case(rng, (40, 64), 0.5, 1)
    frame = Frame(mask, codes, CONFIG)
    short = window_codec.new_basis(CONFIG, 640)
    facts = np.zeros((3, 3), np.int64)
    arguments = (frame.care, frame.value, frame.taps, frame.shape, 36, 2)
    status, place = rate_control.encode_stream(*arguments, short, facts)
    assert (status, place) == (rate_control.FULL, 0)
    status, place = rate_control.encode_stream(*arguments, frame.basis, facts)
    assert status == rate_control.OK


def test_encode_starts_again_when_its_arrays_are_full(rng, monkeypatch):
    mask, codes = random_case(rng, (100, 64), 0.9, 1)
    plain = encode(mask, codes, 1, CONFIG, order="row").streams[0]
    sizes, real = [], window_codec.new_basis

    def tight(config, n_bits):
        sizes.append(n_bits // 64)
        return real(config, n_bits // 64)

    monkeypatch.setattr(window_codec, "new_basis", tight)
    again = encode(mask, codes, 1, CONFIG, order="row").streams[0]
    assert len(sizes) > 2
    assert again.seeds.tolist() == plain.seeds.tolist()


def test_solve_sets_what_no_equation_asks_for_to_zero():
    mask = np.zeros(64, np.bool_)
    mask[5] = True
    stream = encode(mask, mask.astype(np.uint8), 1, CONFIG, order="row").streams[0]
    seeds = int.from_bytes(stream.seeds.tobytes(), "little")
    free = CONFIG.network.rows[5] >> CONFIG.rate_bits << CONFIG.rate_bits
    assert stream.chunks == 8
    assert seeds == free & -free


def test_encode_target_trades_bits_for_attempts(rng):
    mask, codes = random_case(rng, (400, 64), 0.5, 1)
    results = [encode(mask, codes, 1, CONFIG, order="row", target=t).streams[0] for t in (0, 60)]
    assert results[0].chunks <= results[1].chunks
    assert results[0].attempts >= results[1].attempts


@pytest.mark.long
def test_kernels_stay_inside_their_arrays(tmp_path):
    code = """
import numpy as np
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.value.window.codec import decode, encode

rng = np.random.default_rng(7)
for n_in, n_out, patches, size, planes in (
    (8, 192, 0, 9000, 3), (64, 64, 0, 4097, 1), (32, 192, 1, 9001, 2), (32, 128, 1, 1, 8)
):
    config = WindowConfig(n_in=n_in, n_out=n_out, window=192, frame=16, patches=patches)
    for keep in (0.05, 0.3, 1.0):
        mask = rng.random(size) < keep
        codes = rng.integers(0, 1 << planes, size).astype(np.uint8)
        for order in ("row", "strided", "skewed"):
            encoded = encode(mask, codes, planes, config, order=order)
            assert (decode(encoded, mask, planes, config) == np.where(mask, codes, 0)).all()
"""
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | checked, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
