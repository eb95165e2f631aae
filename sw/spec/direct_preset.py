# SPDX-License-Identifier: Apache-2.0
"""Choice of a network for the direct codec: by bits per weight and window, out of the table."""

from fractions import Fraction
from numbers import Rational

from xorloom.sw.base.errors import ConfigError

from .direct import DirectConfig, check_rate
from .direct_table import SEEDS

__all__ = ["direct_config", "rate_of", "table_rates"]

_RATE = Fraction(2)


def rate_of(text: str | float) -> Fraction:
    """Return bits per weight as a ratio: of ``2``, ``0.25``, ``1/6`` or ``0.1667``.

    A decimal number that is nearly a ratio of the table is that ratio.

    Raises
    ------
    ConfigError
        If it is no positive number.
    """
    try:
        found = Fraction(str(text))
    except (ValueError, ZeroDivisionError):
        raise ConfigError(
            f"rate must be a number of bits or a ratio such as 3/2, not {text!r}"
        ) from None
    if found <= 0:
        raise ConfigError(f"rate must be positive, not {text}")
    near = min(table_rates(), key=lambda rate: abs(rate - found))
    return near if abs(near - found) <= found / 1000 else found


def table_rates(window: int | None = None) -> list[Fraction]:
    """Return the rates of the table, ascending; for a window, those that it has."""
    return sorted({Fraction(k, m) for k, m, w in SEEDS if window in (None, w)})


def _entry(
    rate: Fraction, window: int, planes: int | None, taps: int | None, n_out: int | None
) -> tuple[int, int, int]:
    """Return planes, taps and seed of the best network of the table that has what was asked for.

    Of those, the best one whose planes fit ``n_out``, if there is one.
    """
    found = SEEDS.get((rate.numerator, rate.denominator, window), ())
    fits = [e for e in found if planes in (None, e[0]) and taps in (None, e[1])]
    whole = [e for e in fits if n_out is not None and n_out % (e[0] * rate.denominator) == 0]
    if fits:
        return (whole or fits)[0]
    if found:
        there = ", ".join(f"planes {q} with taps {t}" for q, t, _ in found)
        raise ConfigError(
            f"no network of {rate} bits per weight and window {window} was searched for planes "
            f"{planes or 'any'} and taps {taps or 'any'}: there are {there} (or give "
            "--network-seed)"
        )
    if rate in table_rates():
        windows = sorted(w for k, m, w in SEEDS if Fraction(k, m) == rate)
        there = ", ".join(map(str, windows))
        raise ConfigError(
            f"no network of {rate} bits per weight was searched for window {window}: there are "
            f"windows {there} (or give --planes, --taps and --network-seed)"
        )
    nearest = sorted(table_rates(window) or table_rates(), key=lambda other: abs(other - rate))[:3]
    there = ", ".join(map(str, sorted(nearest)))
    raise ConfigError(
        f"no network of {rate} bits per weight was searched: the nearest are {there} (or give "
        "--planes, --taps and --network-seed)"
    )


def _beat_bits(rate: Fraction, bus_bits: int) -> int:
    """Return the least seed bits per beat that use the whole bus and need a small gearbox."""
    k = rate.numerator
    return bus_bits * k >> min(k.bit_length(), bus_bits.bit_length()) - 1


def direct_config(
    *,
    rate: Fraction | None = None,
    n_in: int | None = None,
    n_out: int | None = None,
    planes: int | None = None,
    window: int = DirectConfig.window,
    taps: int | None = None,
    bus_bits: int = DirectConfig.bus_bits,
    network_seed: int | None = None,
) -> DirectConfig:
    """Return the direct decoder for the parameters that are given; ``None``: not given.

    Planes, taps and network come from the table. Without ``n_in``, a beat takes a bus word, or a
    little more where the rate asks for it.

    Parameters
    ----------
    rate : Fraction, optional
        Bits per weight; 2, or what ``n_in``, ``n_out`` and ``planes`` make it.
    n_in, n_out, planes, window, taps, bus_bits, network_seed : int, optional
        As in :class:`xorloom.sw.spec.direct.DirectConfig`.

    Raises
    ------
    ConfigError
        If a parameter is out of range, two contradict each other, or the table has no network.
    """
    if n_in is not None and n_out is not None and planes is not None and rate is None:
        rate = Fraction(n_in * planes, n_out)
    rate = _RATE if rate is None else rate
    if not isinstance(rate, Rational) or rate <= 0:
        raise ConfigError(f"rate must be a positive ratio such as Fraction(1, 4), not {rate!r}")
    rate = Fraction(rate)
    if planes is None or taps is None or network_seed is None:
        if network_seed is not None:
            raise ConfigError("--network-seed goes with --planes and --taps")
        planes, taps, network_seed = _entry(rate, window, planes, taps, n_out)
    if n_in is None:
        n_in = int(rate * Fraction(n_out, planes)) if n_out else _beat_bits(rate, bus_bits)
    check_rate(rate)
    lanes = Fraction(n_in) / rate
    if lanes.denominator != 1 or (n_out is not None and n_out != lanes * planes):
        raise ConfigError(
            f"n_in {n_in} and n_out {n_out or int(lanes * planes)} of {planes} planes are not "
            f"{rate} bits per weight: n_in must be a multiple of {rate.numerator}, n_out "
            f"{planes * rate.denominator} for each {rate.numerator} of it"
        )
    return DirectConfig(
        n_in=n_in,
        n_out=int(lanes) * planes,
        planes=planes,
        window=window,
        taps=taps,
        bus_bits=bus_bits,
        network_seed=network_seed,
    )
