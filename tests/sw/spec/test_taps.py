# SPDX-License-Identifier: Apache-2.0
import itertools
import re
import zlib

import galois
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.taps import (
    N_OUT_MAX,
    WindowNetwork,
    block_network,
    columns,
    gf2_rank,
    splitmix64,
    window_network,
)

GF2 = galois.GF(2)


def take(n, seed):
    return list(itertools.islice(splitmix64(seed), n))


def bits(rows, n_in):
    return GF2([[(row >> c) & 1 for c in range(n_in)] for row in rows])


def test_splitmix64_matches_published_vectors_of_seed_0():
    # Ref: the sequence of Java's SplittableRandom and of Vigna's splitmix64.c
    assert take(3, 0) == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_splitmix64_matches_published_vectors_of_seed_1234567():
    # Ref: Rosetta Code, "Pseudo-random numbers/Splitmix64"
    assert take(5, 1234567) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_splitmix64_takes_seeds_modulo_two_to_the_64():
    assert take(3, (1 << 64) + 5) == take(3, 5)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=12))
def test_gf2_rank_equals_galois(rows):
    assert gf2_rank(rows) == np.linalg.matrix_rank(bits(rows, 8))


def test_gf2_rank_of_nothing_is_0():
    assert gf2_rank([]) == 0
    assert gf2_rank([0, 0]) == 0


@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (1, 9), (8, 8), (20, 200), (64, 64), (64, 30)])
@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_block_network_has_full_rank_and_no_zero_row(n_in, n_out, seed):
    rows = block_network(n_in, n_out, seed)
    assert len(rows) == n_out
    assert all(0 < row < 1 << n_in for row in rows)
    assert np.linalg.matrix_rank(bits(rows, n_in)) == min(n_in, n_out)


def test_block_network_rows_are_low_bits_of_the_generator():
    assert block_network(64, 3, 0) == (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)
    assert block_network(20, 3, 0) == (0xDCDAF, 0x965F4, 0x9454F)


def test_block_network_is_this_one_forever():
    assert block_network(4, 10, 1) == (0x1, 0x7, 0xE, 0xB, 0x9, 0x5, 0x5, 0x8, 0x6, 0x1)
    block_network.cache_clear()
    assert block_network(4, 10, 1) == (0x1, 0x7, 0xE, 0xB, 0x9, 0x5, 0x5, 0x8, 0x6, 0x1)


@pytest.mark.parametrize("seed", range(12))
def test_block_network_redraws_whole_matrices_until_one_is_regular(seed):
    n = 3
    outputs = (value & 7 for value in splitmix64(seed))
    rows = (row for row in outputs if row)
    drawn = list(itertools.islice(rows, n))
    while np.linalg.matrix_rank(bits(drawn, n)) < n:
        drawn = list(itertools.islice(rows, n))
    assert block_network(n, n, seed) == tuple(drawn)


def test_columns_is_the_transpose():
    rows = block_network(11, 37, 5)
    transposed = columns(rows, 11)
    assert len(transposed) == 11
    assert (bits(transposed, 37) == bits(rows, 11).T).all()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            (0, 5, 0),
            "n_in must be between 1 and 64, not 0 (use more lanes for more bits per cycle)",
        ),
        ((65, 5, 0), "n_in must be between 1 and 64, not 65"),
        ((4, 0, 0), f"n_out must be between 1 and {N_OUT_MAX}, not 0"),
        ((4, N_OUT_MAX + 1, 0), f"n_out must be between 1 and {N_OUT_MAX}, not {N_OUT_MAX + 1}"),
        ((4, 5, -1), "network seed must be between 0 and 18446744073709551615, not -1"),
        ((4, 5, 1 << 64), "network seed must be between 0 and"),
        ((4.0, 5, 0), "n_in must be an integer, not 4.0 (use more lanes"),
        ((True, 5, 0), "n_in must be an integer, not True"),
    ],
)
def test_block_network_rejects(arguments, text):
    with pytest.raises(ConfigError) as caught:
        block_network(*arguments)
    assert text in str(caught.value)


def test_block_network_of_the_formats_redraw_example_draws_four_times_more():
    # FORMAT.md, 9.1: n_in 4, n_out 4, network_seed 0
    rows = (row for row in (value & 15 for value in splitmix64(0)) if row)
    draws = [tuple(itertools.islice(rows, 4)) for _ in range(5)]
    ranks = [int(np.linalg.matrix_rank(bits(draw, 4))) for draw in draws]
    assert all(rank < 4 for rank in ranks[:4])
    assert ranks[4] == 4
    assert block_network(4, 4, 0) == draws[4]


WINDOW_NETWORKS = {
    "default": (512, 512, 1, 3, 256, 4),
    "plain": (64, 64, 7, 0, 0, 4),
    "tall": (64, 192, 5, 0, 0, 4),
    "wide": (256, 64, 2, 3, 100, 2),
    "odd": (192, 128, 1, 8, 50, 8),
    "hand_is_deck": (64, 64, 1, 4, 4, 3),
}


def test_window_network_is_this_one_forever():
    for _ in range(2):
        network = window_network(512, 512, 1, 3, 256, 4, 0)
        assert network.own[:4] == ((4,), (34,), (99,), (286,))
        assert network.picks[:2] == ((110, 133, 131), (215, 16, 123))
        assert network.parities[:2] == ((450, 234, 145, 135), (67, 494, 102, 484))
        assert [f"{row:x}" for row in network.rows[:2]] == [
            "80000000000040010000020000008800000000000200000000000000004000000000000000000100"
            "000004000000000000004000040000000000000000000010",
            "20000000000001000020000000000000000040000000000000000400000001000000000080000000"
            "0000000000000100000000000004000200408400000",
        ]
        text = ",".join(f"{row:x}" for row in network.rows)
        assert zlib.crc32(text.encode()) == 0x5EC10234
        window_network.cache_clear()


@pytest.mark.parametrize(
    ("name", "crc"), [("plain", 0x579055C8), ("odd", 0xC541F2AB), ("hand_is_deck", 0xED0689C7)]
)
def test_window_network_of_other_shapes_is_this_one_forever(name, crc):
    text = ",".join(f"{row:x}" for row in window_network(*WINDOW_NETWORKS[name]).rows)
    assert zlib.crc32(text.encode()) == crc


@pytest.mark.parametrize("name", WINDOW_NETWORKS)
@pytest.mark.parametrize("seed", [0, 2**64 - 1])
def test_window_network_has_the_asked_shape_and_full_rank(name, seed):
    window, n_out, own_taps, shared_taps, shared, parity_taps = WINDOW_NETWORKS[name]
    network = window_network(*WINDOW_NETWORKS[name], seed)
    for hands, count, size, cards in (
        (network.own, n_out, own_taps, window),
        (network.picks, n_out, shared_taps, shared),
        (network.parities, shared, parity_taps, window),
    ):
        assert len(hands) == count
        assert all(len(set(hand)) == len(hand) == size for hand in hands)
        uses = np.bincount(np.array(hands, np.int64).reshape(-1), minlength=cards)
        assert uses.size == cards
        if cards:
            assert uses.max() - uses.min() <= 2
    assert np.linalg.matrix_rank(bits(network.rows, window)) == min(window, n_out)


def test_window_network_rows_are_own_bits_and_parities():
    network = WindowNetwork(((0, 2), (2, 3)), ((1,), (0,)), ((0, 1), (0,)))
    assert network.rows == (0b1011, 0b0100)  # what two parities share cancels, as does 0 with 0


def test_window_network_seeds_give_different_networks():
    networks = {window_network(64, 64, 5, 0, 0, 4, seed).own for seed in range(8)}
    assert len(networks) == 8


def test_window_network_deals_the_first_deck_by_fisher_yates():
    draws, deck = splitmix64(0), list(range(64))
    for i in range(63, 0, -1):
        k = next(draws) % (i + 1)
        deck[i], deck[k] = deck[k], deck[i]
    assert window_network(64, 64, 1, 0, 0, 1, 0).own == tuple((card,) for card in deck)


@pytest.mark.parametrize(("window", "n_out"), [(64, 64), (64, 128)])
def test_window_network_refuses_an_even_number_of_taps(window, n_out):
    text = (
        f"an output has 6 taps: with window {window} <= n_out {n_out} it must be an odd number "
        "(an even one has no network of full rank)"
    )
    with pytest.raises(ConfigError, match=re.escape(text)):
        window_network(window, n_out, 6, 0, 0, 4)
    with pytest.raises(ConfigError, match=re.escape(text)):
        window_network(window, n_out, 2, 2, 64, 2)


def test_window_network_takes_an_even_number_of_taps_in_a_longer_window():
    network = window_network(128, 64, 6, 0, 0, 4)
    assert np.linalg.matrix_rank(bits(network.rows, 128)) == 64


def test_window_network_without_full_rank_is_refused():
    text = (
        "no network of rank 64 found for own_taps 2, shared_taps 1, shared 2, parity_taps 3 "
        "(try an odd own_taps, or more shared)"
    )
    with pytest.raises(ConfigError, match=re.escape(text)):
        window_network(64, 64, 2, 1, 2, 3)
    assert window_network(64, 64, 3, 0, 0, 3).rows
