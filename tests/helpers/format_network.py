# SPDX-License-Identifier: Apache-2.0
"""Networks, codes and rotation by FORMAT.md alone: sections 2, 4.1, 5.2, 7.3 and 8."""

import math
from collections.abc import Iterator
from typing import Any

__all__ = ["block_rows", "direct_slices", "rotate_back", "trellis_lanes", "window_rows"]

MASK = (1 << 64) - 1


def generator(seed: int) -> Iterator[int]:
    s = seed
    while True:
        s = s + 0x9E3779B97F4A7C15 & MASK
        z = (s ^ s >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        yield z ^ z >> 31


def rank(rows: list[int]) -> int:
    done: list[int] = []
    for row in rows:
        for other in done:
            row = min(row, row ^ other)
        if row:
            done.append(row)
    return len(done)


def block_rows(config: dict[str, int]) -> list[int]:
    source, n_in, n_out = generator(config["network_seed"]), config["n_in"], config["n_out"]
    while True:
        rows = []
        while len(rows) < n_out:
            row = next(source) & (1 << n_in) - 1
            if row:
                rows.append(row)
        if rank(rows) == min(n_in, n_out):
            return rows


def shuffle(source: Iterator[int], cards: int) -> list[int]:
    deck = list(range(cards))
    for i in range(cards - 1, 0, -1):
        k = next(source) % (i + 1)
        deck[i], deck[k] = deck[k], deck[i]
    return deck


def deal(source: Iterator[int], hands: int, size: int, cards: int) -> list[list[int]]:
    table: list[list[int]] = [[] for _ in range(hands)]
    deck: list[int] = []
    for _ in range(size):
        for hand in table:
            if not deck:
                deck = shuffle(source, cards)
            fresh = [card for card in deck if card not in hand]
            if fresh:
                deck.remove(fresh[0])
                hand.append(fresh[0])
            else:
                x = deck.pop(0)
                while x in hand:
                    x = (x + 1) % cards
                hand.append(x)
    return table


def window_rows(config: dict[str, int]) -> list[int]:
    source, size, n_out = generator(config["network_seed"]), config["window"], config["n_out"]
    for _ in range(64):
        parities = deal(source, config["shared"], config["parity_taps"], size)
        own = deal(source, n_out, config["own_taps"], size)
        picks = deal(source, n_out, config["shared_taps"], config["shared"])
        rows = []
        for mine, picked in zip(own, picks, strict=True):
            row = 0
            for position in [*mine, *(t for p in picked for t in parities[p])]:
                row ^= 1 << position
            rows.append(row)
        if rank(rows) == min(size, n_out):
            return rows
    raise AssertionError("no network")


Lane = tuple[int, list[list[int]], set[int], list[int]]


def trellis_lanes(config: dict[str, Any]) -> list[Lane]:
    """Step, four parities as positions, minterms and gate of every lane."""
    source, size = generator(config["network_seed"]), config["window"]
    n_in, n_out, classes = config["n_in"], config["n_out"], config["classes"]
    steps = [j * n_in // n_out for j in range(n_out)]
    own = []
    for u in range(n_in):
        hands = max(4, steps.count(u) - 1)
        for _ in range(256):
            dealt = deal(source, hands, 4, size)
            if rank([sum(1 << t for t in hand) for hand in dealt]) == min(hands, size - 1):
                break
        own.append(dealt)
    g = 3 if classes == 1 else 4
    lanes: list[Lane] = []
    for u in range(n_in):
        known = [list(parity) for parity in own[u]]
        for v in (u - 2, u - 1, u + 1, u + 2):
            for parity in own[v] if 0 <= v < n_in else []:
                moved = [t + v - u for t in parity]
                if min(moved) >= 0 and max(moved) < size:
                    known.append(moved)
        best: list[list[int]] = []
        most = -1
        for _ in range(8):
            dealt = deal(source, steps.count(u), 4, len(known))
            score = 2 * len({frozenset(hand) for hand in dealt})
            for hand in dealt:
                covered = {t for k in hand for t in known[k]}
                rows = [sum(1 << t for t in known[k]) for k in hand]
                score += min(size - g, len(covered)) + 4 * rank(rows)
            if score > most:
                best, most = dealt, score
        for hand in best:
            cover = [sum(t in known[k] for k in hand) for t in range(size)]
            gate = sorted(shuffle(source, size), key=lambda t: cover[t])[:g]
            b = next(source) & 1
            first = [x for x in shuffle(source, 16) if x.bit_count() & 1 == b]
            first += [x for x in shuffle(source, 16) if x.bit_count() & 1 != b]
            lanes.append((u, [known[k] for k in hand], set(first[: config["minterms"]]), gate))
    return lanes


def direct_slices(
    config: dict[str, int], payload: bytes, slices: int
) -> tuple[list[int], list[int]]:
    """Levels and slices of one stream of the direct codec."""
    n_in, n_out, q = config["n_in"], config["n_out"], config["planes"]
    size, taps, bus = config["window"], config["taps"], config["bus_bits"] // 8
    lanes = n_out // q
    phases = lanes // math.gcd(n_in, lanes)
    source = generator(config["network_seed"])
    while True:
        hands = deal(source, phases * q, taps, size)
        rows = [sum(1 << t for t in hand) for hand in hands]
        if all(rank(rows[p * q : p * q + q]) == q for p in range(phases)):
            break
    head = -(-(1 << q) // bus) * bus
    levels = [(byte ^ 128) - 128 for byte in payload[: 1 << q]]
    assert not any(payload[1 << q : head])
    bits = int.from_bytes(payload[head:], "little")
    assert bits >> slices * n_in == 0
    bits <<= size - 1
    found = []
    for beat in range(slices):
        value = 0
        for lane in range(lanes):
            newest = beat * n_in + -(-(lane + 1) * n_in // lanes) - 1
            window = bits >> newest & (1 << size) - 1
            for b in range(q):
                row = rows[lane % phases * q + b]
                value |= ((window & row).bit_count() & 1) << lane * q + b
        found.append(value)
    return levels, found


def rotate_back(row: list[float], seed: int) -> list[float]:
    """Section 7.3: a row of single-precision values turned back, in double precision."""
    size, source = len(row), generator(seed)
    words = [next(source) for _ in range(-(-size // 64))]
    b = 1
    while size % (2 * b) == 0:
        b *= 2
    h = 1
    while h < b:
        for c in range(size):
            if c % (2 * h) < h:
                row[c], row[c + h] = row[c] + row[c + h], row[c] - row[c + h]
        h *= 2
    f = 1 / math.sqrt(b)
    return [x * f * (-1 if words[c // 64] >> c % 64 & 1 else 1) for c, x in enumerate(row)]
