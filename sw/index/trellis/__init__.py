# SPDX-License-Identifier: Apache-2.0
"""Trellis index: its record, for :mod:`xorloom.sw.bits.codec`."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.codec import IndexCodec
from xorloom.sw.bits.framing import check_words
from xorloom.sw.spec.index_config import TRELLIS_RATES, TrellisConfig
from xorloom.sw.spec.layout import Header

from .choose import choose as choose_path
from .choose import minterms_for
from .stream import pack, payload_bits, unpack_words

__all__ = ["CODEC", "trellis_configs"]

_TRIAL_WINDOW = 10
"""Window of the trellis in trials: quick, and as good a judge."""


def _choose(
    importance: np.ndarray,
    counts: Sequence[int],
    density: float,
    config: TrellisConfig,
    slices_per_stream: int,
    threads: int | None,
) -> tuple[np.ndarray, list[bytes]]:
    path = choose_path(
        importance,
        sum(counts),
        density,
        config,
        slices_per_stream=slices_per_stream,
        threads=threads,
    )
    streams = zip(path.streams, counts, strict=True)
    return path.mask, [pack(stream, count, config) for stream, count in streams]


def _due(_data: bytes, header: Header, config: TrellisConfig, where: str) -> np.ndarray:
    beats = -(-header.count // config.n_out)
    check_words(header, payload_bits(beats, config), config.bus_bits, where)
    head = config.class_chunks
    chunk = np.arange(header.words) * config.bus_bits // config.n_in
    period, place = np.divmod(chunk, head + config.period)
    return period * config.period + np.maximum(0, place - head)


def _configure(
    n_out: int,
    bus_bits: int,
    *,
    density: float,
    rate: float | None,
    window: int,
    classes: int,
    **_wishes: object,
) -> TrellisConfig:
    rate = rate if rate is not None else 1 / 6
    least, most = TRELLIS_RATES
    if not least <= rate <= most:
        raise ConfigError(
            f"index bits must be between {least} and {most} bits per weight for the trellis "
            f"index, not {rate} (more: the entropy or bitmap index stores the ideal mask)"
        )
    found = trellis_configs(n_out, bus_bits, density=density, window=window, classes=classes)
    fits = [c for c in found if c.rate <= rate + 1e-9]
    if not fits:
        least_here = math.ceil(min(c.rate for c in found) * 10_000) / 10_000
        raise ConfigError(
            f"index bits {rate} are too few for slices of {n_out} weights with {classes} density "
            f"classes: the least is {least_here:.4f} (or use --index-classes 1 or a larger --n-out)"
        )
    return fits[-1]


def trellis_configs(
    n_out: int, bus_bits: int, *, density: float, window: int, classes: int
) -> list[TrellisConfig]:
    """Return the parameters of all rates that there are for a density, ascending.

    Raises
    ------
    ConfigError
        If no code has such a density.
    """
    config = TrellisConfig(
        n_in=1,
        n_out=n_out,
        window=window,
        minterms=minterms_for(density, classes),
        classes=classes,
        bus_bits=bus_bits,
    )
    return [replace(config, n_in=n) for n in range(1, n_out // 2 + 1)]


def _orders(config: TrellisConfig) -> Sequence[str]:
    """With density classes, a lane's run of weights should be of one row or column."""
    mixed = ("skewed", "skewed-column")
    return mixed if config.classes == 1 else ("strided", "strided-column", *mixed)


def _trial(config: TrellisConfig) -> TrellisConfig:
    return replace(config, window=min(config.window, _TRIAL_WINDOW))


def _stream_bits(count: int, _density: float, config: TrellisConfig) -> float:
    return payload_bits(-(-count // config.n_out), config)


CODEC = IndexCodec(
    choose=_choose,
    unpack=unpack_words,
    due=_due,
    configure=_configure,
    stream_bits=_stream_bits,
    orders=_orders,
    trial=_trial,
)
