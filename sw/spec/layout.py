# SPDX-License-Identifier: Apache-2.0
"""Bit positions of the memory stream and of output beats.

Of the stream: header, trailer, control fields, word order constants. ``FORMAT.md`` is the prose;
the numbers live here and nowhere else.
"""

import struct
import zlib
from dataclasses import dataclass
from functools import lru_cache

from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError

from .config import BlockConfig, DecoderConfig

__all__ = [
    "BEATS",
    "CONTROL_AHEAD",
    "COUNT_OFFSET_BITS",
    "CRC_BYTES",
    "GROUP",
    "HEADER_BYTES",
    "KIND_WEIGHTS",
    "MAGIC",
    "VERSION",
    "WEIGHT_HEADER_BYTES",
    "WIDTH_FIELD_BITS",
    "WORDS_OFFSET_BITS",
    "BeatLayout",
    "Header",
    "WeightHeader",
    "byte_units",
    "control_threshold_bits",
    "frame_bytes",
    "last_slice_bits",
    "network_id",
    "padded",
    "schedule_block_words",
    "seed_bits_per_group",
    "weights_network_id",
]

MAGIC = b"XL"
VERSION = 1
KIND_WEIGHTS = 16
"""Added to the kind of its index: a weight stream, values and index in one."""
WEIGHT_HEADER_BYTES = 24
HEADER_BYTES = 16
CRC_BYTES = 4
COUNT_OFFSET_BITS = 32
"""Where the RTL finds ``count`` (32 bits) in the header."""
WORDS_OFFSET_BITS = 96
"""Where it finds ``words`` (32 bits)."""
WIDTH_FIELD_BITS = 4
"""Bits of an n_patch width; each block of groups opens with that of the next one."""

CONTROL_AHEAD = 4
"""Groups whose control words come before the words of the current group (an argument of the
kernels: a compiled kernel in a cache would keep a global's old value)."""

BEATS = ("packed", "planar")
"""Forms of an IP block's output beats, see :class:`BeatLayout`; the first is the default."""
GROUP = 8
"""Weights of a group of a packed beat: their masks are a byte."""

_HEADER = struct.Struct("<2sBBIII")
_WEIGHT_HEADER = struct.Struct("<2sBBIIIIBBH")


def padded(n_bytes: int, bus_bytes: int) -> int:
    """Round up to whole bus words."""
    return -(-n_bytes // bus_bytes) * bus_bytes


def frame_bytes(bus_bytes: int) -> int:
    """Bytes that a memory stream has around its payload: header and CRC, in whole bus words."""
    return padded(HEADER_BYTES, bus_bytes) + padded(CRC_BYTES, bus_bytes)


def last_slice_bits(count: int, n_out: int) -> int:
    """Bits that count in the last of the slices, or mask beats, of a stream of ``count`` bits."""
    return (count - 1) % n_out + 1


def seed_bits_per_group(config: BlockConfig) -> int:
    """Seed bits that a group consumes, in its first cycle."""
    return config.lanes * config.n_in


def control_threshold_bits(config: BlockConfig) -> int:
    """Control bits that must be there before a group is parsed, whatever it needs."""
    return WIDTH_FIELD_BITS + config.lanes * config.position_bits


@lru_cache(maxsize=64)
def network_id(config: DecoderConfig) -> int:
    """CRC-32 of the configuration's ``identity``: tells one network from another."""
    return zlib.crc32(config.identity.encode("ascii"))


def weights_network_id(value: DecoderConfig, planes: int, index: DecoderConfig) -> int:
    """CRC-32 of all that a decoder of weight streams is made for, but the bus width."""
    text = f"{value.identity}/{planes}/{index.kind}/{index.identity}"
    return zlib.crc32(text.encode("ascii"))


def schedule_block_words(bus_bytes: int) -> int:
    """Bus words of a block of a weight stream: 512 bits, at least two words."""
    return max(2, 64 // bus_bytes)


def _check_magic(magic: bytes, version: int, where: str) -> None:
    if magic != MAGIC:
        raise FormatError(f"{where}: stream magic must be {MAGIC!r}, found {magic!r}")
    if version != VERSION:
        raise FormatError(
            f"{where}: stream version {version} is not the supported {VERSION}: use a newer xorloom"
        )


@dataclass(frozen=True)
class Header:
    """Header of a memory stream: its first 16 bytes.

    Parameters
    ----------
    kind : int
        ``kind`` of the codec's configuration.
    count : int
        Weights (index codecs), slices (block) or slice bits (window), 0 to 2**32 - 1.
    network : int
        :func:`network_id`, 0 for a bitmap.
    words : int
        Bus words between header and CRC.
    """

    kind: int
    count: int
    network: int
    words: int

    def pack(self) -> bytes:
        """Return the header's bytes.

        Raises
        ------
        CapacityError
            If a count does not fit 32 bits.
        """
        for name in ("count", "words"):
            if getattr(self, name) >= 1 << 32:
                raise CapacityError(
                    f"stream {name} {getattr(self, name)} does not fit 32 bits: split the tensor"
                )
        return _HEADER.pack(MAGIC, VERSION, self.kind, self.count, self.network, self.words)

    @classmethod
    def unpack(cls, data: bytes, where: str) -> "Header":
        """Read a header; ``where`` names the stream in messages.

        Raises
        ------
        FormatError
            If the bytes are too few, not ours, or of a newer version.
        """
        if len(data) < HEADER_BYTES:
            raise FormatError(
                f"{where}: stream is {len(data)} bytes, shorter than its {HEADER_BYTES}-byte header"
            )
        magic, version, kind, count, network, words = _HEADER.unpack_from(data)
        _check_magic(magic, version, where)
        return cls(kind, count, network, words)


@dataclass(frozen=True)
class WeightHeader:
    """Header of a weight stream: its first 24 bytes.

    Parameters
    ----------
    kind : int
        ``KIND_WEIGHTS`` and the index's kind.
    count : int
        Slice bits, 1 to 2**32 - 1.
    network : int
        :func:`weights_network_id`.
    blocks : int
        Of both kinds.
    crc : int
        CRC-32 of the whole stream with this field 0.
    first : (int, int)
        Words of the first block of values and of the first block of index, at most
        :func:`schedule_block_words` and one; 1: one word, and one of zeros.
    """

    kind: int
    count: int
    network: int
    blocks: int
    crc: int
    first: tuple[int, int]

    def pack(self) -> bytes:
        """Return the header's bytes."""
        return _WEIGHT_HEADER.pack(
            MAGIC,
            VERSION,
            self.kind,
            self.count,
            self.network,
            self.blocks,
            self.crc,
            *self.first,
            0,
        )

    @classmethod
    def unpack(cls, data: bytes, where: str) -> "WeightHeader":
        """Read a header; ``where`` names the stream in messages.

        Raises
        ------
        FormatError
            If the bytes are too few, not ours, of a newer version, or not zero where they must be.
        """
        if len(data) < WEIGHT_HEADER_BYTES:
            raise FormatError(
                f"{where}: stream is {len(data)} bytes, shorter than its "
                f"{WEIGHT_HEADER_BYTES}-byte header"
            )
        magic, version, kind, count, network, blocks, crc, value, index, zero = (
            _WEIGHT_HEADER.unpack_from(data)
        )
        _check_magic(magic, version, where)
        if zero:
            raise FormatError(f"{where}: bytes 22 and 23 of the header must be zero")
        return cls(kind, count, network, blocks, crc, (value, index))

    def words(self, bus_bytes: int) -> int:
        """Bus words of the whole stream."""
        size = schedule_block_words(bus_bytes)
        head = padded(WEIGHT_HEADER_BYTES, bus_bytes)
        spare = 8 * (head - WEIGHT_HEADER_BYTES)
        blocks = (self.blocks - 2) * size + sum(max(2, n) for n in self.first)
        return head // bus_bytes + blocks + -(-max(0, self.blocks - spare) // (8 * bus_bytes))


def byte_units(unit_bits: int, units: int) -> tuple[int, ...]:
    """Return, for each byte of an output beat, the unit that the byte's lowest bit belongs to.

    This is the rule of every AXI4-Stream output, so that a DMA engine writes a packet as
    consecutive bytes. A beat is made of units that follow each other from bit 0 on; ``tkeep`` marks
    a byte if that unit holds weights. Units without weights are the highest ones of a packet's last
    beat. So the kept bytes of a beat are contiguous from byte 0 on, there is at least one, and all
    beats but the last are full. An output without ``tkeep`` keeps all bytes.

    Parameters
    ----------
    unit_bits : int
        Bits of a unit.
    units : int
        Units of a beat.
    """
    return tuple(8 * byte // unit_bits for byte in range(-(-unit_bits * units // 8)))


@dataclass(frozen=True)
class BeatLayout:
    """Layout of an IP block's output beats: where codes and mask of a slice stand in ``tdata``.

    A packed beat is made of groups of 8 weights, lowest lanes first: the 8 codes, ``width`` bytes,
    then a byte with the 8 masks. A lane that a slice does not have is 0. The last beat of a packet
    keeps the groups with a weight. A planar beat has all codes, above them all masks, and zeros up
    to a whole byte; it has no ``tkeep``.

    Parameters
    ----------
    n_out : int
        Code bits of a slice.
    planes : int
        Bits of the code of a weight.
    levels : bool
        Whether there are levels, 8 bits for each weight, in place of codes.
    form : str
        One of :data:`BEATS`.

    Raises
    ------
    ConfigError
        If there is no such form.
    """

    n_out: int
    planes: int
    levels: bool = False
    form: str = BEATS[0]

    def __post_init__(self) -> None:
        if self.form not in BEATS:
            raise ConfigError(f"beats must be {' or '.join(BEATS)}, not {self.form!r}")

    @property
    def packed(self) -> bool:
        """Whether beats are packed, and have ``tkeep``."""
        return self.form == "packed"

    @property
    def lanes(self) -> int:
        """Weights of a slice."""
        return self.n_out // self.planes

    @property
    def width(self) -> int:
        """Bits that ``tdata`` has for the code or level of a weight."""
        return 8 if self.levels else self.planes

    @property
    def code_bits(self) -> int:
        """Bits of the codes or levels of a slice."""
        return 8 * self.lanes if self.levels else self.n_out

    @property
    def groups(self) -> int:
        """Groups of a packed beat."""
        return -(-self.lanes // GROUP)

    @property
    def group_bits(self) -> int:
        """Bits of a group: the unit of a packed beat."""
        return GROUP * (self.width + 1)

    @property
    def bytes(self) -> int:
        """Bytes of a beat."""
        bits = self.groups * self.group_bits if self.packed else self.code_bits + self.lanes
        return -(-bits // 8)
