# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of bus words and the gearbox, twin of ``hw.lib.gearbox``."""

from collections.abc import Iterator, Sequence

from xorloom.sw.spec.config import DecoderConfig
from xorloom.sw.spec.layout import COUNT_OFFSET_BITS, HEADER_BYTES, padded

__all__ = ["BitQueue", "bus_words", "payload"]


def bus_words(data: bytes, bus_bits: int) -> list[int]:
    """Bytes to bus words: byte 0 is the least significant byte of word 0."""
    n = bus_bits // 8
    return [int.from_bytes(data[i : i + n], "little") for i in range(0, len(data), n)]


class BitQueue:
    """Gearbox: bus words in, fields of any width out, bit 0 first."""

    def __init__(self, words: Iterator[int], bus_bits: int) -> None:
        self._words, self._bus_bits = words, bus_bits
        self._value = self._level = 0

    def fill(self, bits: int) -> None:
        """Take bus words until ``bits`` bits are there."""
        while self._level < bits:
            self._value |= next(self._words) << self._level
            self._level += self._bus_bits

    def take(self, bits: int) -> int:
        """Remove and return the oldest ``bits`` bits."""
        result = self._value & ((1 << bits) - 1)
        self._value >>= bits
        self._level -= bits
        return result


def payload(config: DecoderConfig, words: Sequence[int]) -> tuple[int, Iterator[int]]:
    """Return the header's count and the words after the header."""
    bus_bits = config.bus_bits
    skip = padded(HEADER_BYTES, config.bus_bytes) * 8 // bus_bits
    header = sum(word << (i * bus_bits) for i, word in enumerate(words[:skip]))
    return (header >> COUNT_OFFSET_BITS) & 0xFFFFFFFF, iter(words[skip:])
