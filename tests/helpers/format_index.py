# SPDX-License-Identifier: Apache-2.0
"""Index streams by FORMAT.md alone: section 5."""

from collections.abc import Callable
from typing import Any

from .format_network import generator, trellis_lanes

__all__ = ["decode_index"]

KINDS = {"bitmap": 1, "trellis": 4, "lowrank": 5, "entropy": 6, "hashed": 8, "none": 9}
TEXTS = {
    "trellis": "n_in n_out window minterms classes period network_seed",
    "lowrank": "n_out tile_slices tile_lanes rank",
    "entropy": "n_out lanes states",
    "hashed": "n_out threshold network_seed",
}


def decode_index(
    index: dict[str, Any], data: bytes, counts: list[int], streams: Callable[..., Any]
) -> list[int]:
    """Beats of all streams of a tensor, lanes without a weight 0."""
    codec, config = index["codec"], index["config"]
    text = ",".join(str(config[key]) for key in TEXTS[codec].split()) if codec in TEXTS else None
    beats = []
    found = list(streams(data, config["bus_bits"] // 8, KINDS[codec], text))
    for (count, _, payload), expected in zip(found, [n for n in counts if n], strict=True):
        assert count == expected
        n_out = config["n_out"]
        masks = DECODERS[codec](config, payload, -(-count // n_out))
        masks[-1] &= (1 << (count - 1) % n_out + 1) - 1
        beats += masks
    return beats


def bitmap(config: dict[str, int], payload: bytes, beats: int) -> list[int]:
    bits, n_out = int.from_bytes(payload, "little"), config["n_out"]
    return [bits >> k * n_out & (1 << n_out) - 1 for k in range(beats)]


def hashed(config: dict[str, int], payload: bytes, beats: int) -> list[int]:
    source = generator(config["network_seed"])
    words = [next(source) for _ in range(4)]
    words[0] |= 65536
    nibbles: list[list[int]] = []
    lanes: list[list[int]] = []
    pairs = {
        frozenset((64 * v + i, 64 * w + i)) for i in range(64) for v in range(4) for w in range(v)
    }
    pairs |= {frozenset((i, 192 + (i + 45) % 64)) for i in range(64)}

    def draw(n: int, but: list[int]) -> list[int]:
        hand: list[int] = []
        while len(hand) < n:
            place = next(source) % 256
            if place not in hand + but:
                hand.append(place)
        return hand

    while len(lanes) < config["n_out"]:
        if len(lanes) == 4 * len(nibbles):
            nibbles.append(draw(4, []))
        a, b, c, d, e, f = draw(6, nibbles[-1])
        own = {frozenset(pair) for pair in ((a, b), (a, c), (b, c), (d, e), (d, f), (e, f))}
        if not own & pairs:
            pairs |= own
            lanes.append([a, b, c, d, e, f])
    seed = int.from_bytes(payload, "little")
    assert seed < 65536
    assert len(payload) == config["bus_bits"] // 8
    words[0] ^= seed
    masks = []
    for step in range(32 + beats):
        if step >= 32:
            bits = [words[i // 64] >> i % 64 & 1 for i in range(256)]
            mask = 0
            for lane, (a, b, c, d, e, f) in enumerate(lanes):
                p, q, r, s = (bits[place] for place in nibbles[lane // 4])
                top = (bits[a] ^ bits[b], bits[a] ^ bits[c], bits[d] ^ bits[e], bits[d] ^ bits[f])
                number = int("".join(map(str, (*top, s, r, q, p))), 2)
                mask |= (number < config["threshold"]) << lane
            masks.append(mask)
        moved = words[1] << 17 & (1 << 64) - 1
        words[2] ^= words[0]
        words[3] ^= words[1]
        words[1] ^= words[2]
        words[0] ^= words[3]
        words[2] ^= moved
        words[3] = (words[3] << 45 | words[3] >> 19) & (1 << 64) - 1
    return masks


def none(config: dict[str, int], payload: bytes, beats: int) -> list[int]:
    assert payload == bytes(config["bus_bits"] // 8)
    return [(1 << config["n_out"]) - 1] * beats


def trellis(config: dict[str, int], payload: bytes, beats: int) -> list[int]:
    bits, at, lanes = int.from_bytes(payload, "little"), 0, trellis_lanes(config)
    n_in, n_out, size = config["n_in"], config["n_out"], config["window"]
    classes, past, masks = [0] * n_out, 0, []
    for beat in range(beats):
        if config["classes"] == 4 and beat % config["period"] == 0:
            field = bits >> at
            classes = [field >> 2 * j & 3 for j in range(n_out)]
            at += -(-2 * n_out // n_in) * n_in
        # Bit size - 1 of `seen` is bit 0 of the beat.
        seen = past | (bits >> at & (1 << n_in) - 1) << size - 1
        at += n_in
        mask = 0
        for j, (u, parities, minterms, gate) in enumerate(lanes):
            window = seen >> u
            p = sum(sum(window >> t & 1 for t in parities[k]) % 2 << k for k in range(4))
            g = [window >> t & 1 for t in gate]
            bit = int(p in minterms)
            if config["classes"] == 1:
                bit &= g[0] ^ g[1] ^ g[2]
            else:
                bit &= g[0] ^ g[1] if classes[j] & 1 else 1
                bit &= g[2] & g[3] if classes[j] & 2 else 1
            mask |= bit << j
        masks.append(mask)
        past = seen >> n_in
    return masks


def lowrank(config: dict[str, int], payload: bytes, beats: int) -> list[int]:
    n_out, s, l, k = (config[key] for key in ("n_out", "tile_slices", "tile_lanes", "rank"))  # noqa: E741
    tiles = -(-n_out // l)
    lane_bits, beat_bits = k * n_out, k * tiles
    h = -(-lane_bits // s)
    c = beat_bits + h
    p = c // h
    preamble = -(-s // p)
    bits = int.from_bytes(payload, "little")

    def field(chunk: int, at: int, size: int) -> list[int]:
        return [bits >> chunk * c + at + i & 1 for i in range(size)]

    shares = []
    for chunk in range(preamble):
        shares += [field(chunk, c - p * h + r * h, h) for r in range(p)]
    shares = shares[p * preamble - s :]
    for e in range(beats):
        shares.append(field(preamble + e, beat_bits, h))
    masks = []
    for e in range(beats):
        row = [bit for share in shares[e // s * s : (e // s + 1) * s] for bit in share]
        a = row[s * h - lane_bits :]
        b = field(preamble + e, 0, beat_bits)
        mask = 0
        for j in range(n_out):
            hits = (a[j * k + r] & b[j // l * k + r] for r in range(k))
            mask |= int(any(hits)) << j
        masks.append(mask)
    return masks


def entropy(config: dict[str, int], payload: bytes, beats: int) -> list[int]:
    n_out, lanes, states = config["n_out"], config["lanes"], config["states"]
    units = [int.from_bytes(payload[i : i + 2], "little") for i in range(0, len(payload), 2)]
    head = units.pop(0)
    classes = [units.pop(0) for _ in range((head & 15) + 1)]
    q, f = [unit & 15 for unit in classes], [(unit >> 4 & 255) + 1 for unit in classes]
    total = sum(1 << width for width in q)
    values = sorted(range(256), key=lambda v: (v.bit_count(), v))
    if head >> 4 & 1:
        pairs = [units.pop(0) for _ in range(-(-total // 2))]
        values = [half for pair in pairs for half in (pair & 255, pair >> 8)]
    if head >> 5 & 1:
        values = [v ^ 255 for v in values]
    stride, owner = states // 2 + states // 8 + 3, [0] * states
    counted = [c for c, n in enumerate(f) for _ in range(n)]
    for i, c in enumerate(counted):
        owner[i * stride % states] = c
    following, table = list(f), []
    for s in range(states):
        c = owner[s]
        x = following[c]
        following[c] += 1
        moved = 0
        while x << moved < states:
            moved += 1
        table.append((moved, (x << moved) - states, q[c], sum(1 << w for w in q[:c])))
    need = max(moved + width for moved, _, width, _ in table)
    r = states.bit_length() - 1
    held, level, state = [0] * lanes, [0] * lanes, [0] * lanes

    def take(lane: int, bits: int) -> int:
        found = held[lane] & (1 << bits) - 1
        held[lane] >>= bits
        level[lane] -= bits
        return found

    if len(f) > 1:
        for lane in range(lanes):
            held[lane], level[lane] = units.pop(0), 16
            state[lane] = take(lane, r)
    masks = []
    for _ in range(beats):
        mask = 0
        for step in range(n_out // (8 * lanes)):
            for lane in range(lanes):
                if level[lane] < need:
                    held[lane] |= units.pop(0) << level[lane]
                    level[lane] += 16
                moved, base, width, first = table[state[lane]]
                state[lane] = base + take(lane, moved)
                chunk = values[first + take(lane, width)]
                mask |= chunk << 8 * (step * lanes + lane)
        masks.append(mask)
    assert not any([*state, *held, *units])
    return masks


DECODERS: dict[str, Callable[[dict[str, int], bytes, int], list[int]]] = {
    "bitmap": bitmap,
    "trellis": trellis,
    "lowrank": lowrank,
    "entropy": entropy,
    "none": none,
    "hashed": hashed,
}
