# SPDX-License-Identifier: Apache-2.0
"""Direct codec: parameters of one build, and its network.

``FORMAT.md``, "Direct codec", is normative.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from xorloom.sw.base.errors import ConfigError

from .config import ValueConfig
from .taps import deal, gf2_rank, splitmix64

__all__ = ["PERIOD_MAX", "RATES", "DirectConfig", "DirectNetwork", "check_rate", "direct_network"]

RATES = (Fraction(1, 32), Fraction(4))
"""Least and greatest seed bits per weight."""
PERIOD_MAX = 64
"""Most phases of a network."""
N_OUT_MAX = 4096
"""Most slice bits."""
_DRAWS = 256


@dataclass(frozen=True)
class DirectNetwork:
    """Network of the direct codec: the same for every run of ``period`` weights.

    Parameters
    ----------
    rows : tuple of tuple of tuple of int, (period, planes, taps)
        Window positions (0 the oldest) whose XOR is a code bit of the weights of a phase.
    """

    rows: tuple[tuple[tuple[int, ...], ...], ...]

    @property
    def masks(self) -> tuple[tuple[int, ...], ...]:
        """The same as integers, (period, planes): bit ``t`` connects window position ``t``."""
        return tuple(tuple(_mask(row) for row in phase) for phase in self.rows)


def _mask(positions: tuple[int, ...]) -> int:
    return sum(1 << position for position in positions)


@lru_cache(maxsize=64)
def direct_network(
    period: int, planes: int, window: int, taps: int, seed: int = 0
) -> DirectNetwork:
    """Return the network of ``period`` phases.

    Positions are dealt from shuffled decks, so all window bits feed nearly equally many code bits.
    The code bits of a weight are linearly independent, so that every code can come up.

    Source: trellis source codes, Marcellin and Fischer, IEEE Trans. Commun. 38, 1990; the window as
    the state is that of the bitshift trellis of Tseng et al., arXiv 2406.11235. The network is a
    random one over GF(2), as in Kwon et al., arXiv 1905.10138.

    Parameters
    ----------
    period, planes, window, taps, seed : int
        As in :class:`DirectConfig`.

    Raises
    ------
    ConfigError
        If no network of independent code bits was found.
    """
    generator = splitmix64(seed)
    for _ in range(_DRAWS):
        hands = deal(generator, period * planes, window, taps)
        network = DirectNetwork(
            tuple(tuple(hands[p * planes : (p + 1) * planes]) for p in range(period))
        )
        if all(gf2_rank(phase) == planes for phase in network.masks):
            return network
    raise ConfigError(
        f"no network of {planes} independent code bits of {taps} taps found for window {window} "
        "(raise window, or use an odd number of taps)"
    )


def check_rate(rate: Fraction, what: str = "") -> None:
    """Check that networks of a rate, in bits per weight, are possible.

    Raises
    ------
    ConfigError
        If not; the message begins with ``what``.
    """
    least, most = RATES
    if not least <= rate <= most:
        raise ConfigError(
            f"{what}{float(rate):g} bits per weight: it must be between {least} and {most}"
        )
    if rate.denominator > PERIOD_MAX:
        raise ConfigError(
            f"{what}{rate} bits per weight: the network repeats after {rate.denominator} weights, "
            f"but at most {PERIOD_MAX} are possible (choose a rate of a smaller denominator)"
        )


@dataclass(frozen=True)
class DirectConfig(ValueConfig):
    """Direct decoder: the parameters of one build.

    A step shifts ``n_in`` seed bits in and yields a slice: the codes of ``lanes`` weights. A code
    bit is the XOR of ``taps`` bits of the window that ends with the newest seed bit of its weight.
    There is no mask, no rate control and no patch: the encoder chooses the values.

    Parameters
    ----------
    n_in : int, 1 to 2048
        Seed bits per step, that is, per cycle.
    n_out : int, a multiple of ``planes``, 1 to 4096
        Slice bits: the codes of ``n_out // planes`` weights.
    planes : int, 1 to 6
        Code bits per weight; a code's meaning is one of ``2**planes`` levels.
    window : int, 6 to 16
        Seed bits that a code can depend on; the encoder walks ``2**window`` windows.
    taps : int, 1 to 9
        Window bits that a code bit is the XOR of.
    bus_bits : int, one of 32, 64, 128, 256, 512
        Width of a memory-stream word.
    network_seed : int, 0 to 2**64 - 1
        Seed of :func:`direct_network`.

    Raises
    ------
    ConfigError
        If a parameter is out of range or two do not fit together.
    """

    codec = "direct"
    kind = 7
    indexes = ("none",)
    chooses_values = True

    n_in: int = 64
    n_out: int = 128
    planes: int = 4
    window: int = 10
    taps: int = 3
    bus_bits: int = 64
    network_seed: int = 0

    def __post_init__(self) -> None:
        self._check(
            {
                "n_in": (1, 2048, "more bits per cycle need several decoders"),
                "planes": (1, 6),
                "window": (6, 16, "every bit more doubles the encoder's time"),
                "taps": (1, 9),
                "network_seed": (0, (1 << 64) - 1),
            }
        )
        one = self.n_in * self.planes
        hint = f"codes of whole weights{f', such as {one}' if one <= N_OUT_MAX else ''}"
        self._check({"n_out": (1, N_OUT_MAX, hint)}, steps={"n_out": self.planes})
        if self.taps > self.window:
            raise ConfigError(f"taps {self.taps} must not exceed window {self.window}")
        check_rate(self.rate, f"n_in {self.n_in} of {self.lanes} weights is ")

    def check_planes(self, planes: int) -> None:
        """Check that a weight's code can have so many bits.

        Raises
        ------
        ConfigError
            If it cannot: the network decides it.
        """
        if planes != self.planes:
            raise ConfigError(
                f"planes must be {self.planes}, as the direct codec's network has, not {planes}"
            )

    @property
    def lanes(self) -> int:
        """Weights of a slice."""
        return self.n_out // self.planes

    @property
    def rate(self) -> Fraction:
        """Seed bits per weight."""
        return Fraction(self.n_in, self.lanes)

    @property
    def period(self) -> int:
        """Weights after which the network repeats: the denominator of the rate."""
        return self.rate.denominator

    @property
    def steps(self) -> tuple[int, ...]:
        """Which seed bit of the beat is the newest one in the window of each lane."""
        return tuple(-(-(lane + 1) * self.n_in // self.lanes) - 1 for lane in range(self.lanes))

    @property
    def shifts(self) -> tuple[int, ...]:
        """By how many bits the window moves before the weight of each phase."""
        ends = [-(-p * self.rate.numerator // self.period) for p in range(self.period + 1)]
        return tuple(after - before for before, after in pairwise(ends))

    @property
    def network(self) -> DirectNetwork:
        """The network, see :func:`direct_network`."""
        return direct_network(self.period, self.planes, self.window, self.taps, self.network_seed)

    @property
    def columns(self) -> tuple[int, ...]:
        """Bit ``r`` of entry ``c`` connects bit ``c`` of a step's seeds to slice bit ``r``.

        A step's seeds are its ``n_in`` bits above the ``window - 1`` bits before them.
        """
        found = [0] * (self.window - 1 + self.n_in)
        rows = self.network.rows
        for lane, end in enumerate(self.steps):
            for b, row in enumerate(rows[lane % self.period]):
                for t in row:
                    found[end + t] ^= 1 << (lane * self.planes + b)
        return tuple(found)

    @property
    def level_words(self) -> int:
        """Bus words before the seeds: the levels, one byte each."""
        return -(-8 * (1 << self.planes) // self.bus_bits)
