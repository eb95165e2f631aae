# SPDX-License-Identifier: Apache-2.0
"""Random memory streams of the window codec, and what the golden model makes of them."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from xorloom.sw.golden.window import window_control, window_decoder
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.layout import CRC_BYTES, HEADER_BYTES, Header, network_id, padded
from xorloom.sw.spec.taps import columns

__all__ = ["WindowStream", "header_words", "window_stream"]


@dataclass(frozen=True)
class WindowStream:
    """Bus words from header to CRC, and the decoded slices.

    ``slices`` are (bits, valid bits, last) with ``n_out`` bits, ``steps`` the payload's chunks,
    ``patched`` the numbers of the slices with a patch.
    """

    words: tuple[int, ...]
    slices: tuple[tuple[int, int, bool], ...]
    steps: int
    patched: tuple[int, ...]


class _Tape(Sequence[int]):
    """A word list that is as long as somebody reads it."""

    def __init__(self, head: Sequence[int], config: WindowConfig, rng: random.Random, slow: int):
        self.words = list(head)
        self.emitted = 0  # slices that the reader has made of it
        self._config, self._rng, self._slow = config, rng, slow

    def __len__(self) -> int:
        raise AssertionError("not needed")

    def _more(self) -> int:
        """Return a word whose chunks have small rates and patch entries that often hit."""
        config, rng = self._config, self._rng
        unit = min(config.n_in, config.bus_bits)
        word = 0
        for at in range(0, config.bus_bits, unit):
            chunk = rng.getrandbits(unit)
            if rng.randrange(4):
                high = max(1, config.rate_bits - self._slow)
                chunk &= ~(((1 << high) - 1) << (config.rate_bits - high))
            if config.patches and rng.randrange(4):
                # Both readings of the chunk: entry above the rate word, entry at the low end.
                above = config.rate_bits
                chunk &= ~((2 * config.frame - 1) << above)
                chunk |= 1 << above | rng.randrange(4) << (above + 1)
                if rng.randrange(8):
                    # Words are made when they are read, so the reader's place is known.
                    index = (self.emitted + rng.randrange(4)) % config.frame
                    chunk &= ~(2 * config.frame - 1)
                    chunk |= 1 | index << 1
            word |= (chunk & ((1 << unit) - 1)) << at
        return word

    def __getitem__(self, key):  # type: ignore[no-untyped-def]
        if not isinstance(key, slice):
            return self.words[key]
        return self.words[key] if key.stop is not None else self._endless(key.start)

    def _endless(self, at: int) -> Iterator[int]:
        while True:
            if at == len(self.words):
                self.words.append(self._more())
            yield self.words[at]
            at += 1


def header_words(config: WindowConfig, count: int, words: int) -> list[int]:
    """Return the header's bus words; ``words`` is the payload's length."""
    data = Header(WindowConfig.kind, count, network_id(config), words).pack()
    data = data.ljust(padded(HEADER_BYTES, config.bus_bytes), b"\0")
    n = config.bus_bytes
    return [int.from_bytes(data[i : i + n], "little") for i in range(0, len(data), n)]


@lru_cache
def _columns(config: WindowConfig) -> tuple[int, ...]:
    return columns(config.network.rows, config.window)


def window_stream(config: WindowConfig, count: int, seed: int, *, slow: int = 4) -> WindowStream:
    """Return a random stream of ``count`` slice bits.

    Any bits are a payload: the golden model reads as many as it needs. ``slow``: three rates of
    four are below ``2**slow``.
    """
    rng = random.Random(seed)
    head = header_words(config, count, 0)
    tape = _Tape(head, config, rng, slow)
    patched = []
    for _, positions in window_control(config, tape):
        if positions:
            patched.append(tape.emitted)
        tape.emitted += 1
    words = tape.words
    slices = window_decoder(config, _columns(config), words)
    payload = words[len(head) :]
    mask = (1 << config.n_out) - 1
    rest = [min(config.n_out, count - at) for at in range(0, count, config.n_out)]
    tail = [rng.getrandbits(config.bus_bits)] * (
        padded(CRC_BYTES, config.bus_bytes) // config.bus_bytes
    )
    return WindowStream(
        (*header_words(config, count, len(payload)), *payload, *tail),
        tuple(
            (bits & mask, valid, n == len(slices) - 1)
            for n, (bits, valid) in enumerate(zip(slices, rest, strict=True))
        ),
        len(payload) * config.bus_bits // config.n_in,
        tuple(patched),
    )
