# SPDX-License-Identifier: Apache-2.0
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.host import threads_default
from xorloom.sw.spec.config import BUS_BITS, BlockConfig
from xorloom.sw.tensors.codes import check_codes
from xorloom.sw.value.block import codec as block_codec
from xorloom.sw.value.block import stream
from xorloom.sw.value.block.codec import decode, encode

from tests.helpers.index import pack_bitmap, unpack_bitmap


def random_weights(rng, shape, sparsity, planes):
    """Random mask and codes; codes of pruned weights are not zero."""
    mask = rng.random(shape) >= sparsity
    codes = rng.integers(0, 1 << planes, shape, dtype=np.uint8)
    return mask, codes


def bit_matrix(rows, n_in):
    return np.array([[(row >> c) & 1 for c in range(n_in)] for row in rows], np.uint8)


def rank_mod_2(matrix):
    """Rank by plain Gauss elimination, nothing shared with the code under test."""
    a = matrix.copy()
    rank = 0
    for c in range(a.shape[1]):
        hits = np.flatnonzero(a[rank:, c]) + rank
        if hits.size == 0:
            continue
        a[[rank, hits[0]]] = a[[hits[0], rank]]
        others = np.flatnonzero(a[:, c])
        others = others[others != rank]
        a[others] ^= a[rank]
        rank += 1
        if rank == a.shape[0]:
            break
    return rank


def algorithm_1(matrix, care, bits):
    """Kwon et al., Algorithm 1, as the paper tells it: positions of the patches of one slice."""
    kept, patches = [], []
    for j in np.flatnonzero(care):
        tried = [*kept, j]
        left = matrix[tried]
        augmented = np.column_stack([left, bits[tried]])
        if rank_mod_2(left) == rank_mod_2(augmented):
            kept = tried
        else:
            patches.append(int(j))
    return patches


def split_patches(slices):
    ends = np.cumsum(slices.n_patch, dtype=np.int64)
    return [slices.patches[e - n : e].tolist() for e, n in zip(ends, slices.n_patch, strict=True)]


def sliced(array, n_out):
    flat = array.reshape(-1)
    n_slices = -(-flat.size // n_out)
    return np.pad(flat, (0, n_slices * n_out - flat.size)).reshape(n_slices, n_out)


@pytest.mark.parametrize("planes", [1, 3])
@pytest.mark.parametrize(
    ("n_in", "n_out", "sparsity"),
    [(1, 7, 0.5), (4, 10, 0.3), (8, 30, 0.6), (8, 30, 0.0), (20, 70, 0.5), (64, 66, 0.0)],
)
def test_encode_patches_exactly_where_algorithm_1_does(n_in, n_out, sparsity, planes, rng):
    config = BlockConfig(n_in=n_in, n_out=n_out, network_seed=n_out)
    mask, codes = random_weights(rng, (3 * n_out + n_out // 3,), sparsity, planes)
    slices = encode(mask, codes, planes, config)
    matrix = bit_matrix(config.rows, n_in)
    expected = [
        algorithm_1(matrix, care, (code >> b) & 1)
        for care, code in zip(sliced(mask, n_out), sliced(codes, n_out), strict=True)
        for b in range(planes)
    ]
    assert sum(map(len, expected)) > 0 or n_in == 64
    assert slices.n_patch.tolist() == [len(patches) for patches in expected]
    assert split_patches(slices) == expected


@pytest.mark.parametrize("planes", [1, 3])
def test_encode_seeds_solve_all_equations_but_the_patches(planes, rng):
    config = BlockConfig(n_in=12, n_out=50)
    mask, codes = random_weights(rng, (500,), 0.7, planes)
    slices = encode(mask, codes, planes, config)
    matrix = bit_matrix(config.rows, 12).astype(np.int64)
    patches = split_patches(slices)
    pairs = zip(sliced(mask, 50), sliced(codes, 50), strict=True)
    for s, (care, code) in enumerate(pairs):
        for b in range(planes):
            seed = int(slices.seeds[s * planes + b])
            assert seed < 1 << 12
            product = matrix @ np.array([(seed >> c) & 1 for c in range(12)]) % 2
            wrong = np.flatnonzero(care & (product != ((code >> b) & 1)))
            assert wrong.tolist() == patches[s * planes + b]


@st.composite
def cases(draw):
    shape = tuple(draw(st.lists(st.integers(0, 23), min_size=1, max_size=3)))
    config = BlockConfig(
        n_in=draw(st.integers(1, 64)),
        n_out=draw(st.integers(1, 300)),
        lanes=draw(st.integers(1, 64)),
        patches_per_cycle=draw(st.integers(1, 16)),
        bus_bits=draw(st.sampled_from(BUS_BITS)),
        block_groups=draw(st.integers(2, 20)),
        network_seed=draw(st.integers(0, 2**64 - 1)),
    )
    planes = draw(st.integers(1, 8))
    sparsity = draw(st.floats(0, 0.999))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return config, planes, *random_weights(rng, shape, sparsity, planes)


@given(cases())
@settings(max_examples=250)
def test_decode_undoes_encode_through_the_stream(case):
    config, planes, mask, codes = case
    slices = encode(mask, codes, planes, config)
    expected = np.where(mask, codes, 0)
    decoded = decode(slices, mask, planes, config)
    assert decoded.dtype == np.uint8
    assert decoded.shape == mask.shape
    assert (decoded == expected).all()
    data, bits = stream.pack_block(slices, config)
    again = stream.unpack_block(data, config)
    assert (again.seeds == slices.seeds).all()
    assert (again.n_patch == slices.n_patch).all()
    assert (again.patches == slices.patches).all()
    assert bits.total == 8 * len(data)
    assert (
        unpack_bitmap(pack_bitmap(mask, config.bus_bits), mask.shape, config.bus_bits) == mask
    ).all()


def adversarial_masks():
    shape = (40, 50)
    one_row, stripes, checks = (np.zeros(shape, np.bool_) for _ in range(3))
    one_row[17] = True
    stripes[:, 20:30] = True
    checks[::2, ::2] = True
    corner = np.zeros(shape, np.bool_)
    corner[-1, -1] = True
    return {
        "all_kept": np.ones(shape, np.bool_),
        "all_pruned": np.zeros(shape, np.bool_),
        "one_row": one_row,
        "stripes": stripes,
        "checks": checks,
        "last_weight": corner,
        "empty": np.zeros((0,), np.bool_),
        "empty_rows": np.zeros((0, 7), np.bool_),
        "one_kept": np.ones((1,), np.bool_),
        "one_pruned": np.zeros((1, 1), np.bool_),
        "scalar": np.ones((), np.bool_),
    }


@pytest.mark.parametrize("planes", [1, 8])
@pytest.mark.parametrize("name", adversarial_masks())
@pytest.mark.parametrize(
    ("n_in", "n_out"), [(1, 1), (1, 300), (20, 200), (64, 64), (64, 1), (20, 32768)]
)
def test_decode_undoes_encode_on_adversarial_masks(name, n_in, n_out, planes, rng):
    mask = adversarial_masks()[name]
    config = BlockConfig(n_in=n_in, n_out=n_out)
    codes = rng.integers(0, 1 << planes, mask.shape, dtype=np.uint8)
    slices = encode(mask, codes, planes, config)
    assert slices.seeds.size == -(-mask.size // n_out) * planes
    data, _ = stream.pack_block(slices, config)
    decoded = decode(stream.unpack_block(data, config), mask, planes, config)
    assert decoded.shape == mask.shape
    assert (decoded == np.where(mask, codes, 0)).all()


def test_encode_of_nothing_kept_is_all_zero():
    config = BlockConfig(n_in=20, n_out=100)
    zeros = np.zeros((30, 30), np.bool_)
    slices = encode(zeros, np.full((30, 30), 3, np.uint8), 2, config)
    assert not slices.seeds.any()
    assert slices.patches.size == 0


def test_encode_ignores_codes_of_pruned_weights(rng):
    config = BlockConfig(n_in=10, n_out=60)
    mask, codes = random_weights(rng, (37, 11), 0.8, 4)
    with_noise = encode(mask, codes, 4, config)
    clean = encode(mask, np.where(mask, codes, 0).astype(np.uint8), 4, config)
    assert (with_noise.seeds == clean.seeds).all()
    assert (with_noise.patches == clean.patches).all()


def test_encode_takes_weights_in_row_major_order_whatever_the_memory_order(rng):
    config = BlockConfig(n_in=10, n_out=64)
    mask, codes = random_weights(rng, (48, 21), 0.8, 2)
    plain = encode(mask, codes, 2, config)
    fortran = encode(np.asfortranarray(mask), np.asfortranarray(codes), 2, config)
    assert (plain.seeds == fortran.seeds).all()
    assert (plain.patches == fortran.patches).all()
    assert (decode(fortran, np.asfortranarray(mask), 2, config) == np.where(mask, codes, 0)).all()


@pytest.mark.parametrize("planes", [1, 3])
def test_encode_gives_the_same_slices_with_one_thread_and_with_two(planes, rng):
    config = BlockConfig(n_in=16, n_out=50)
    mask, codes = random_weights(rng, (8, 50_009), 0.7, planes)  # several jobs, ragged end
    one = encode(mask, codes, planes, config, threads=1)
    for threads in (2, 5):
        more = encode(mask, codes, planes, config, threads=threads)
        assert (one.seeds == more.seeds).all()
        assert (one.n_patch == more.n_patch).all()
        assert (one.patches == more.patches).all()
    assert (decode(one, mask, planes, config) == np.where(mask, codes, 0)).all()


def test_encode_slices_kernel_equals_its_python_function(rng):
    config = BlockConfig(n_in=5, n_out=70)
    mask, codes = random_weights(rng, (150,), 0.5, 2)
    packed, rows = block_codec.pack_bool(mask), np.array(config.rows, np.uint64)
    results = []
    for kernel in (block_codec.encode_slices, block_codec.encode_slices.py_func):
        seeds, n_patch = np.zeros(6, np.uint64), np.zeros(6, np.uint16)
        patches = np.zeros(300, np.uint16)
        used = kernel(packed, codes, rows, 2, 0, 3, seeds, n_patch, patches)
        results.append((seeds.tolist(), n_patch.tolist(), patches[:used].tolist()))
    assert results[0] == results[1]


def test_threads_default_is_at_least_one():
    assert threads_default() >= 1


@pytest.mark.parametrize("planes", [0, 9])
def test_check_codes_rejects_planes(planes):
    empty = np.zeros(3, np.bool_)
    with pytest.raises(ConfigError, match=f"planes must be between 1 and 8, not {planes}"):
        check_codes(empty, np.zeros(3, np.uint8), planes)


def test_check_codes_rejects_masks_that_are_not_bool():
    with pytest.raises(ConfigError, match=r"mask must be bool, not int64 \(use mask != 0\)"):
        encode(np.ones(3, np.int64), np.zeros(3, np.uint8), 1, BlockConfig())


def test_check_codes_rejects_codes_that_are_not_uint8():
    with pytest.raises(ConfigError, match="codes must be uint8, not int8"):
        encode(np.ones(3, np.bool_), np.zeros(3, np.int8), 1, BlockConfig())


def test_check_codes_rejects_different_shapes():
    with pytest.raises(ConfigError, match=r"mask \(3,\) and codes \(4,\) must have one shape"):
        encode(np.ones(3, np.bool_), np.zeros(4, np.uint8), 1, BlockConfig())


def test_check_codes_shows_the_first_code_that_is_too_large():
    codes = np.array([[0, 3], [7, 2]], np.uint8)
    check_codes(np.ones((2, 2), np.bool_), codes, 3)
    with pytest.raises(ConfigError, match=r"code 7 at \(1, 0\) needs more than 2 planes \(raise"):
        check_codes(np.ones((2, 2), np.bool_), codes, 2)


@pytest.mark.long
def test_kernels_stay_inside_their_arrays(tmp_path):
    code = """
import numpy as np
from xorloom.sw.value.block import codec as block_codec
from xorloom.sw.value.block import stream
from xorloom.sw.spec.config import BlockConfig

rng = np.random.default_rng(7)
for size, n_out, planes in ((6144, 32768, 1), (100, 333, 3), (1, 4096, 1), (7000, 190, 2)):
    mask, codes = rng.random(size) >= 0.9, rng.integers(0, 1 << planes, size).astype(np.uint8)
    config = BlockConfig(n_out=n_out)
    data, _ = stream.pack_block(block_codec.encode(mask, codes, planes, config), config)
    decoded = block_codec.decode(stream.unpack_block(data, config), mask, planes, config)
    assert (decoded == np.where(mask, codes, 0)).all()
"""
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | checked, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
