# SPDX-License-Identifier: Apache-2.0
"""Parameters of the index decoders, shared by encoder, golden model and RTL; frozen."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from xorloom.sw.base.errors import ConfigError

from .config import DecoderConfig
from .trellis_code import TrellisCode, trellis_code

__all__ = [
    "N_OUT_MAX",
    "TRELLIS_RATES",
    "BitmapConfig",
    "EntropyConfig",
    "IndexConfig",
    "LowrankConfig",
    "NoneConfig",
    "TrellisConfig",
]

N_OUT_MAX = 2048
"""Most mask bits per beat: the longest slice of the window codec."""
TRELLIS_RATES = (0.03, 0.5)
"""Stored bits per mask bit that the trellis index is made for."""


class IndexConfig(DecoderConfig):
    """Parameters of one index decoder: what the frozen classes of all index codecs have in common.

    A subclass names every fact that other layers ask a codec for; :mod:`xorloom.sw.spec.codecs`
    lists the subclasses.
    """

    n_out: int
    chooses_mask: ClassVar[bool] = False
    """Whether the codec chooses the mask itself; the others store any mask."""
    has_network: ClassVar[bool] = True
    """Whether headers of index streams bear a network id; it is 0 otherwise."""
    takes_rate: ClassVar[bool] = False
    """Whether a user can ask for index bits per weight."""
    keeps_all: ClassVar[bool] = False
    """Whether every weight is kept: there is no mask."""

    @property
    def density(self) -> float | None:
        """Share of weights that every mask keeps, on average; ``None``: whatever is asked for."""
        return 1.0 if self.keeps_all else None

    @property
    def slice_multiple(self) -> int:
        """What the number of slices of a stream must be a multiple of."""
        return 1


@dataclass(frozen=True)
class BitmapConfig(IndexConfig):
    """Bitmap index: one stored bit per weight.

    Parameters
    ----------
    n_out : int, 1 to 32768
        Mask bits per beat.
    bus_bits : int, one of 32, 64, 128, 256, 512
    """

    codec = "bitmap"
    kind = 1
    has_network = False

    n_out: int = 512
    bus_bits: int = 64

    def __post_init__(self) -> None:
        self._check({"n_out": (1, 32768)})

    @property
    def rate(self) -> float:
        """Stored bits per mask bit."""
        return 1.0


@dataclass(frozen=True)
class NoneConfig(IndexConfig):
    """No index: every weight is kept, and nothing is stored of a mask.

    Parameters
    ----------
    n_out : int, 1 to 32768
        Mask bits per beat.
    bus_bits : int, one of 32, 64, 128, 256, 512
    """

    codec = "none"
    kind = 9
    has_network = False
    keeps_all = True

    n_out: int = 512
    bus_bits: int = 64

    def __post_init__(self) -> None:
        self._check({"n_out": (1, 32768)})

    @property
    def rate(self) -> float:
        """Stored bits per mask bit."""
        return 0.0


@dataclass(frozen=True)
class TrellisConfig(IndexConfig):
    """Trellis index: a chosen mask near the rate-distortion bound, as the path of a trellis.

    Parameters
    ----------
    n_in : int, 1 to 1024
        Seed bits per beat.
    n_out : int, 8 to 2048
        Mask bits per beat; the rate is ``n_in / n_out``, at most 1.
    window : int, 6 to 16
        Seed bits that a mask bit can depend on; the encoder walks ``2**(window - 1)`` states.
    minterms : int, 1 to 15
        Of the 16 of a mask bit's look-up table. A mask bit is 1 with probability
        ``minterms / 32``, or with ``classes`` 4, ``minterms / 16`` by 1, 1/2, 1/4 or 1/8.
    classes : int, 1 or 4
        Density classes that a lane can have.
    period : int, 16 to 65536
        Beats that share the lanes' classes.
    bus_bits : int, one of 32, 64, 128, 256, 512
    network_seed : int, 0 to 2**64 - 1
        Seed of :func:`xorloom.sw.spec.trellis_code.trellis_code`.

    Raises
    ------
    ConfigError
        If a parameter is out of range or two do not fit together.
    """

    codec = "trellis"
    kind = 4
    chooses_mask = True
    takes_rate = True

    n_in: int = 84
    n_out: int = 512
    window: int = 14
    minterms: int = 3
    classes: int = 1
    period: int = 384
    bus_bits: int = 64
    network_seed: int = 0

    def __post_init__(self) -> None:
        self._check(
            {
                "n_in": (1, 1024),
                "n_out": (8, N_OUT_MAX),
                "window": (6, 16, "every bit more doubles the encoder's time"),
                "minterms": (1, 15),
                "classes": (1, 4),
                "period": (16, 65536),
                "network_seed": (0, (1 << 64) - 1),
            }
        )
        if self.classes not in (1, 4):
            raise ConfigError(f"classes must be 1 or 4, not {self.classes}")
        if self.n_in > self.n_out:
            raise ConfigError(
                f"n_in {self.n_in} must not exceed n_out {self.n_out} (a bitmap costs one bit per "
                "mask bit)"
            )

    @property
    def class_chunks(self) -> int:
        """Chunks of ``n_in`` bits that bring the lanes' classes, before every period's beats."""
        return 0 if self.classes == 1 else -(-2 * self.n_out // self.n_in)

    @property
    def rate(self) -> float:
        """Stored bits per mask bit, in whole periods."""
        return self.n_in * (self.period + self.class_chunks) / (self.period * self.n_out)

    @property
    def slice_multiple(self) -> int:
        """What the number of slices of a stream must be a multiple of: they share classes."""
        return self.period if self.classes > 1 else 1

    @property
    def densities(self) -> tuple[float, ...]:
        """Density of a random path, by class."""
        if self.classes == 1:
            return (self.minterms / 32,)
        return tuple(self.minterms / 16 / 2**c for c in range(self.classes))

    @property
    def code(self) -> TrellisCode:
        """The code, see :func:`xorloom.sw.spec.trellis_code.trellis_code`."""
        return trellis_code(
            self.n_in, self.n_out, self.window, self.minterms, self.classes, self.network_seed
        )


@dataclass(frozen=True)
class LowrankConfig(IndexConfig):
    """Low-rank index: a chosen mask as boolean products of binary factors, one per tile.

    Parameters
    ----------
    n_out : int, 8 to 2048
        Mask bits per beat.
    tile_slices : int, 2 to 1024
        Slices of a tile; the last tile row of a stream may have fewer.
    tile_lanes : int, 2 to n_out
        Lanes of a tile; the last tile of a slice may have fewer.
    rank : int, 1 to 32
        Products that are ORed.
    bus_bits : int, one of 32, 64, 128, 256, 512

    Raises
    ------
    ConfigError
        If a parameter is out of range, or a beat would cost as much as a bitmap.
    """

    codec = "lowrank"
    kind = 5
    chooses_mask = True
    takes_rate = True

    n_out: int = 512
    tile_slices: int = 15
    tile_lanes: int = 11
    rank: int = 1
    bus_bits: int = 64

    def __post_init__(self) -> None:
        self._check(
            {
                "n_out": (8, N_OUT_MAX),
                "tile_slices": (2, 1024),
                "tile_lanes": (2, self.n_out, "a tile has at most the lanes of a beat"),
                "rank": (1, 32),
            }
        )
        if self.chunk_bits >= self.n_out:
            raise ConfigError(
                f"tiles of {self.tile_slices} slices by {self.tile_lanes} lanes at rank "
                f"{self.rank} cost {self.chunk_bits} bits per beat of {self.n_out}: use larger "
                "tiles, less rank or the bitmap codec"
            )

    @property
    def tiles(self) -> int:
        """Tiles side by side in a slice."""
        return -(-self.n_out // self.tile_lanes)

    @property
    def lane_bits(self) -> int:
        """Bits of the lanes' factor A of one tile row."""
        return self.rank * self.n_out

    @property
    def beat_bits(self) -> int:
        """Bits of the slices' factor B that a slice brings."""
        return self.rank * self.tiles

    @property
    def share_bits(self) -> int:
        """Bits of the next tile row's A that a slice brings."""
        return -(-self.lane_bits // self.tile_slices)

    @property
    def chunk_bits(self) -> int:
        """Bits per slice."""
        return self.beat_bits + self.share_bits

    @property
    def shares_per_chunk(self) -> int:
        """Shares in a preamble chunk."""
        return self.chunk_bits // self.share_bits

    @property
    def preamble_chunks(self) -> int:
        """Chunks before the first slice's: the first tile row's A."""
        return -(-self.tile_slices // self.shares_per_chunk)

    @property
    def rate(self) -> float:
        """Stored bits per mask bit, without a stream's preamble."""
        return self.chunk_bits / self.n_out

    @property
    def slice_multiple(self) -> int:
        """What the number of slices of a stream must be a multiple of: they share tiles."""
        return self.tile_slices

    def chunks(self, slices: int) -> int:
        """Chunks of a stream of so many slices."""
        return self.preamble_chunks + slices if slices else 0


_SYMBOL_ORDER = tuple(sorted(range(256), key=lambda value: (value.bit_count(), value)))


@lru_cache(maxsize=8)
def _spread(states: int) -> tuple[int, ...]:
    stride = (states >> 1) + (states >> 3) + 3
    inverse = pow(stride, -1, states)
    return tuple(s * inverse % states for s in range(states))


@dataclass(frozen=True)
class EntropyConfig(IndexConfig):
    """Entropy index: any mask near its entropy, as 8-bit chunks in table-driven ANS.

    Every lane has a state of its own.

    Parameters
    ----------
    n_out : int, a multiple of 8 * ``lanes``, 8 to 2048
        Mask bits per beat.
    lanes : int, 1 to 64
        Chunks decoded side by side; a beat takes ``n_out / (8 * lanes)`` steps.
    states : int, a power of two, 16 to 256
        States of a lane's decoder: few cost some per cent where one chunk value dominates.
    bus_bits : int, one of 32, 64, 128, 256, 512

    Raises
    ------
    ConfigError
        If a parameter is out of range or two do not fit together.
    """

    codec = "entropy"
    kind = 6

    n_out: int = 512
    lanes: int = 16
    states: int = 256
    bus_bits: int = 64

    def __post_init__(self) -> None:
        self._check({"lanes": (1, 64), "states": (16, 256)}, powers=("states",))
        hint = f"{self.lanes} lanes of 8-bit chunks"
        self._check({"n_out": (8, N_OUT_MAX, hint)}, steps={"n_out": 8 * self.lanes})

    @property
    def state_bits(self) -> int:
        """Bits of a state."""
        return self.states.bit_length() - 1

    @property
    def steps(self) -> int:
        """Steps per beat."""
        return self.n_out // (8 * self.lanes)

    @property
    def spread(self) -> tuple[int, ...]:
        """``spread[s]``: the how-many-th state, class by class, is state s.

        The multiplier is odd, so this is a permutation; it deals each class's states evenly.
        """
        return _spread(self.states)

    @property
    def symbol_order(self) -> tuple[int, ...]:
        """All chunk values by their number of ones, then by value."""
        return _SYMBOL_ORDER
