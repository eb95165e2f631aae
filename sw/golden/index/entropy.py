# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of the entropy index decoder, twin of ``hw.index.entropy``."""

from collections.abc import Iterator, Sequence

from xorloom.sw.spec.index_config import EntropyConfig

from ..bus import payload

__all__ = ["ENTROPY_UNIT_BITS", "entropy_decoder", "entropy_states"]

ENTROPY_UNIT_BITS = 16


def entropy_states(
    config: EntropyConfig, classes: Sequence[tuple[int, int]]
) -> list[tuple[int, int, int, int]]:
    """Return of every state: bits to the next state, what they are added to, rank bits, class base.

    ``classes`` are pairs (width, freq).
    """
    owner = [c for c, (_, freq) in enumerate(classes) for _ in range(freq)]
    bases = [sum(1 << width for width, _ in classes[:c]) for c in range(len(classes))]
    x = [freq for _, freq in classes]
    table = []
    for s in range(config.states):
        c = owner[config.spread[s]]
        moved = 0
        while x[c] << moved < config.states:
            moved += 1
        table.append((moved, (x[c] << moved) - config.states, classes[c][0], bases[c]))
        x[c] += 1
    return table


def _units(config: EntropyConfig, words: Iterator[int]) -> Iterator[int]:
    for word in words:
        for k in range(config.bus_bits // ENTROPY_UNIT_BITS):
            yield word >> (k * ENTROPY_UNIT_BITS) & 0xFFFF


def entropy_decoder(config: EntropyConfig, words: Sequence[int]) -> list[int]:
    """Twin of ``hw.index.entropy``: one memory stream in, one integer of ``n_out`` bits per beat.

    A ``StopIteration`` means that the stream is too short.
    """
    count, source = payload(config, words)
    beats = -(-count // config.n_out)
    if beats == 0:
        return []
    units = _units(config, source)
    head = next(units)
    classes = []
    for _ in range((head & 15) + 1):
        unit = next(units)
        classes.append((unit & 15, (unit >> 4 & 255) + 1))
    symbols = list(config.symbol_order)
    if head >> 4 & 1:
        symbols = []
        while len(symbols) < sum(1 << width for width, _ in classes):
            unit = next(units)
            symbols += [unit & 255, unit >> 8]
    if head >> 5 & 1:
        symbols = [value ^ 255 for value in symbols]
    table = entropy_states(config, classes)
    need = max(moved + width for moved, _, width, _ in table)
    held, level, state = ([0] * config.lanes for _ in range(3))
    if len(classes) > 1:
        for lane in range(config.lanes):
            unit = next(units)
            state[lane] = unit % config.states
            held[lane] = unit // config.states
            level[lane] = ENTROPY_UNIT_BITS - config.state_bits
    result = []
    for _ in range(beats):
        beat = 0
        for step in range(config.steps):
            for lane in range(config.lanes):
                if level[lane] < need:
                    held[lane] += next(units) << level[lane]
                    level[lane] += ENTROPY_UNIT_BITS
                moved, base, width, first = table[state[lane]]
                state[lane] = base + held[lane] % (1 << moved)
                held[lane] >>= moved
                rank = held[lane] % (1 << width)
                held[lane] >>= width
                level[lane] -= moved + width
                beat |= symbols[first + rank] << 8 * (step * config.lanes + lane)
        result.append(beat)
    return result
