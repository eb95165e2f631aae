# SPDX-License-Identifier: Apache-2.0
"""Search for good networks of the direct codec; writes their table.

``python -m xorloom.sim.bench.networks`` draws networks for every rate, window, number of planes and
of taps, judges each on Gaussian weights with levels of its own, and writes
``sw/spec/direct_table.py``. ``--rates 2 --windows 8,10`` searches a part, and keeps the rest.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.host import write_whole
from xorloom.sw.spec import direct_table
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.direct_table import SEEDS
from xorloom.sw.value.direct.levels import first_levels, fit_levels

__all__ = [
    "DRAWS",
    "PLANES",
    "RATES",
    "WINDOWS",
    "Found",
    "best_network",
    "gap",
    "ordered",
    "searched",
    "table_text",
]

_RATES = "1/16,1/12,1/10,1/8,1/6,1/5,1/4,1/3,1/2,2/3,3/4,1,5/4,4/3,3/2,5/3,2,5/2,3,7/2,4"
RATES = tuple(map(Fraction, _RATES.split(",")))
"""Bits per weight."""
WINDOWS = (6, 8, 10, 12, 14)
TAPS = {6: (3, 5), 8: (3, 5), 10: (3, 5), 12: (3, 5, 7), 14: (3, 5, 7)}
"""Taps that are tried, by window: odd numbers, as with even ones the complement of all seeds means
the same codes."""
PLANES = {
    Fraction(1, 3): (1, 2),
    Fraction(1, 2): (2,),
    Fraction(3, 4): (3, 2),
    Fraction(1): (4, 3),
    Fraction(3, 2): (4,),
    Fraction(2): (4, 3, 5),
    Fraction(5, 2): (5, 4),
    Fraction(4): (6, 5),
}
"""Planes that are tried for rates up to a key."""
_SINGLE = 10
"""Windows up to this one have one plane at rates up to 1/3: a second one gains less than it costs
there."""
_LOW = Fraction(1, 4)
"""Rates up to this one gain from 9 taps, with the largest window."""
_MARGIN = 3
"""Window bits that a weight must share with the one before it."""
DRAWS = {6: 800, 8: 800, 10: 800, 12: 500, 14: 160}
_SHORT, _TRIAL, _LONG = 20_000, 4_000, 150_000
KEPT = 6
"""Networks that are judged again."""
_LUT_INPUTS = 4


@dataclass(frozen=True, order=True)
class Found:
    """Network that a search found: its error, planes, taps and seed."""

    error: float
    planes: int
    taps: int
    seed: int

    @property
    def luts(self) -> int:
        """LUT4 of a code bit."""
        return -(-(self.taps - 1) // (_LUT_INPUTS - 1))


def gap(error: float, rate: Fraction) -> float:
    """Return the bits per weight by which an error is above the rate-distortion bound."""
    return float(rate) + 0.5 * float(np.log2(error))


def _config(rate: Fraction, window: int, planes: int, taps: int, seed: int) -> DirectConfig:
    return DirectConfig(
        n_in=rate.numerator,
        n_out=rate.denominator * planes,
        planes=planes,
        window=window,
        taps=taps,
        network_seed=seed,
    )


def _gaussian(rng: np.random.Generator, size: int) -> np.ndarray:
    """Return a sample of mean square 1: what it is off by would count as error."""
    x = rng.standard_normal(size, np.float32)
    return x / np.sqrt(np.mean(x * x))


def _has_network(config: DirectConfig) -> bool:
    """Whether the draw has independent code bits: small windows of many taps may not."""
    try:
        return bool(config.network)
    except ConfigError:
        return False


def best_network(
    rate: Fraction,
    window: int,
    planes: int,
    taps: int,
    draws: int,
    *,
    first: int = 0,
    kept: int = KEPT,
) -> Found | None:
    """Return the best of ``draws`` networks, from seed ``first`` on; ``None``: there is none.

    All are judged on 20,000 Gaussian weights, with levels that were fitted on fewer; the best of
    them, ``kept``, are judged again on 150,000.
    """
    rng = np.random.default_rng(1)
    x, longer = (_gaussian(rng, size) for size in (_SHORT, _LONG))
    short = []
    for seed in range(first, first + draws):
        config = _config(rate, window, planes, taps, seed)
        if not _has_network(config):
            continue
        start = first_levels(config)
        levels, _ = fit_levels(x[:_TRIAL], None, start, config, rounds=2, threads=1)
        levels, error = fit_levels(x, None, levels, config, rounds=1, threads=1)
        short.append((error, seed, levels))
    short.sort(key=lambda entry: entry[:2])
    again = []
    for _, seed, levels in short[:kept]:
        config = _config(rate, window, planes, taps, seed)
        levels, _ = fit_levels(x, None, levels, config, rounds=3, threads=1)
        _, error = fit_levels(longer, None, levels, config, rounds=2, threads=1)
        again.append(Found(error, planes, taps, seed))
    return min(again, default=None)


def _planes(rate: Fraction, window: int) -> tuple[int, ...]:
    planes = next(PLANES[limit] for limit in sorted(PLANES) if rate <= limit)
    return planes[:1] if rate <= min(PLANES) and window <= _SINGLE else planes


def _taps(rate: Fraction, window: int) -> tuple[int, ...]:
    return TAPS[window] + ((9,) if window == max(WINDOWS) and rate <= _LOW else ())


def ordered(found: list[Found], window: int) -> list[Found]:
    """Put the default first: by error, up to window 10 of those of 1 LUT4 per code bit."""
    return sorted(found, key=lambda one: (window <= 10 and one.luts > 1, one.error))


def searched(
    rates: tuple[Fraction, ...], windows: tuple[int, ...], draws: int | None, kept: int
) -> Iterator[tuple[Fraction, int, list[Found]]]:
    """Search all networks of some rates and windows; report each to stderr."""
    for window in windows:
        for rate in rates:
            shift = -(-rate.numerator // rate.denominator)
            if window < shift + _MARGIN:
                continue
            found = []
            for planes in _planes(rate, window):
                for taps in _taps(rate, window):
                    best = best_network(
                        rate, window, planes, taps, draws or DRAWS[window], kept=kept
                    )
                    if best is None:
                        continue
                    found.append(best)
                    print(
                        f"rate {rate} window {window} planes {planes} taps {taps}: seed "
                        f"{best.seed} error {best.error:.5f} gap {gap(best.error, rate):.4f}",
                        file=sys.stderr,
                        flush=True,
                    )
            yield rate, window, ordered(found, window)


def table_text(seeds: dict[tuple[int, int, int], tuple[tuple[int, int, int], ...]]) -> str:
    """Return the text of ``sw/spec/direct_table.py``."""
    head, start, _ = Path(direct_table.__file__).read_text().partition("SEEDS:")
    lines = [f"{head}{start} dict[tuple[int, int, int], tuple[tuple[int, int, int], ...]] = {{"]
    for key in sorted(seeds, key=lambda key: (Fraction(key[0], key[1]), key[2])):
        entries = seeds[key]
        text = ", ".join(map(str, entries)) + ("," if len(entries) == 1 else "")
        line = f"    {key}: ({text}),"
        if len(line) <= 100:
            lines.append(line)
            continue
        lines += [f"    {key}: (", *(f"        {entry}," for entry in entries), "    ),"]
    lines += [
        "}",
        '"""By seed bits, weights and window: planes, taps and network seed, the default first."""',
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Search, and write the table after every rate and window."""
    parser = argparse.ArgumentParser(description="Search networks of the direct codec.")
    parser.add_argument("--rates", default="", help="such as 1/4,2; all if not given")
    parser.add_argument("--windows", default="", help="such as 8,10; all if not given")
    parser.add_argument("--draws", type=int, help="networks of each kind that are drawn")
    parser.add_argument("--kept", type=int, default=KEPT, help="networks that are judged again")
    parser.add_argument("--table", type=Path, default=Path(direct_table.__file__), help="to write")
    options = parser.parse_args()
    rates = tuple(map(Fraction, options.rates.split(","))) if options.rates else RATES
    windows = tuple(map(int, options.windows.split(","))) if options.windows else WINDOWS
    seeds = dict(SEEDS) if options.rates or options.windows else {}
    for rate, window, found in searched(rates, windows, options.draws, options.kept):
        key = (rate.numerator, rate.denominator, window)
        seeds[key] = tuple((one.planes, one.taps, one.seed) for one in found)
        write_whole(options.table, table_text(seeds))


if __name__ == "__main__":
    main()
