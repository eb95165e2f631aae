# SPDX-License-Identifier: Apache-2.0
"""Points of the rate benchmark: codecs with the options that give them their rates."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.toml_text import toml_key
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.direct_table import SEEDS

__all__ = ["CODECS", "DIRECT_BUS_BITS", "SOURCE_TITLES", "TITLES", "Point", "points"]

DIRECT_BUS_BITS = 128
"""Bus of the direct decoders: at 2 bits per weight, 64 weights a cycle."""
_WINDOWS = (8, 10, 14)
TITLES = {
    **{f"direct-{window}": f"direct, window {window}" for window in _WINDOWS},
    "trellis": "trellis index and signs",
    "entropy": "entropy index",
    "lowrank": "low-rank index",
    "bitmap": "bitmap",
    "hashed": "hashed index",
    "binary": "binary coding, dense",
    "uniform": "uniform, dense",
    "lloyd-max": "scalar Lloyd-Max",
    "n:m": "N:M sparsity",
}
"""Titles of the codecs, in the order of the figure. An index goes with the window codec and binary
codes; ``binary`` and ``uniform`` are dense codes in the window codec; ``lloyd-max`` and ``n:m`` are
what others store."""
CODECS = tuple(TITLES)
SOURCE_TITLES = {
    "gaussian": "i.i.d. Gaussian weights",
    "laplacian": "i.i.d. Laplacian weights",
    "minilm": "MiniLM-L6, encoder matrices",
    "minilm-rotated": "MiniLM-L6, encoder matrices, rotated",
}
"""Titles of the sources, in the order of the figures."""
_RATES = (
    *(Fraction(1, m) for m in (16, 10, 6, 4, 2)),
    *(Fraction(n, 4) for n in (3, 4, 6, 8, 12, 16)),
)
_QUICK_RATES = (Fraction(1, 4), Fraction(1), Fraction(2))
_QUICK_WINDOWS = (8, 10)


@dataclass(frozen=True)
class Point:
    """Point: a codec and its options.

    Parameters
    ----------
    codec : str
        One of :data:`CODECS`.
    options : tuple of (name, value)
        Those of ``compress``, as :class:`xorloom.sw.model.plan.settings.Settings` has them; of a
        scheme that is not ours, its own.
    ours : bool
        Whether ``compress`` makes it.
    """

    codec: str
    options: tuple[tuple[str, Any], ...]
    ours: bool = True

    @property
    def text(self) -> str:
        """Options as one types them."""
        words = []
        for name, value in self.options:
            words += [f"--{toml_key(name)}", str(value)] if self.ours else [name, str(value)]
        return shlex.join(words)


def _point(codec: str, **options: Any) -> Point:
    return Point(codec, tuple(options.items()))


def _direct(quick: bool) -> Iterator[Point]:
    """Yield rates and windows that the table of networks has."""
    for window in _QUICK_WINDOWS if quick else _WINDOWS:
        for rate in _QUICK_RATES if quick else _RATES:
            if (rate.numerator, rate.denominator, window) in SEEDS:
                yield _point(
                    f"direct-{window}",
                    value="direct",
                    rate=str(rate),
                    window=window,
                    bus_bits=DIRECT_BUS_BITS,
                )


def _kept(codec: str, density: float, planes: int) -> Point:
    quantizer = "alternating" if planes > 1 else "binary"
    return _point(codec, index=codec, density=density, quantizer=quantizer, planes=planes)


def _with_index(quick: bool) -> Iterator[Point]:
    for budget in (0.25,) if quick else (0.15, 0.25, 0.5):
        yield _point("trellis", index="trellis", bits_per_weight=budget)
    if quick:
        yield _kept("entropy", 0.2, 1)
    else:
        few = [(density, 1) for density in (0.02, 0.05, 0.1, 0.2, 0.35)]
        for density, planes in (*few, (0.4, 2), (0.6, 2), (0.75, 2)):
            yield _kept("entropy", density, planes)
        for density, planes in ((0.1, 1), (0.2, 1), (0.35, 1), (0.5, 1), (0.6, 2)):
            yield _kept("lowrank", density, planes)
        for density, planes in ((0.2, 1), (0.5, 1), (0.6, 2), (0.7, 3)):
            yield _kept("bitmap", density, planes)
    if "hashed" in INDEX_CODECS:
        pairs = ((0.25, 1), (0.5, 1), (0.75, 1), (0.75, 2), (0.75, 3))
        for density, planes in pairs[1:2] if quick else pairs:
            yield _kept("hashed", density, planes)


def _baselines(quick: bool) -> Iterator[Point]:
    for planes in (1, 2) if quick else (1, 2, 3, 4):
        quantizer = "alternating" if planes > 1 else "binary"
        yield _point("binary", index="none", quantizer=quantizer, planes=planes)
    for planes in (2,) if quick else (2, 3, 4):
        yield _point("uniform", index="none", quantizer="uniform", planes=planes)
    for planes in (1, 2) if quick else (1, 2, 3, 4):
        yield Point("lloyd-max", (("planes", planes),), ours=False)
    patterns = [("1:8", "binary", 1), ("1:4", "binary", 1), ("2:4", "binary", 1)]
    if quick:
        patterns = patterns[2:]
    else:
        patterns += [("2:4", "alternating", 2), ("2:4", "uniform", 3), ("2:4", "uniform", 4)]
    for pattern, quantizer, planes in patterns:
        yield Point("n:m", (("kept", pattern), (quantizer, planes)), ours=False)


def points(codecs: Sequence[str], quick: bool) -> list[Point]:
    """Return the points of some codecs.

    Raises
    ------
    ConfigError
        If a codec is unknown, or has no points.
    """
    for name in codecs:
        if name not in CODECS:
            raise ConfigError(f"codec must be one of {', '.join(CODECS)}, not {name!r}")
    every = [*_direct(quick), *_with_index(quick), *_baselines(quick)]
    found = [point for point in every if point.codec in codecs]
    if not found:
        raise ConfigError(f"there is no point of {', '.join(codecs)} (run it without --quick)")
    return found
