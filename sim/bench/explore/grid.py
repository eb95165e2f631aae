# SPDX-License-Identifier: Apache-2.0
"""Grid of a sweep: all combinations of parameters that make a decoder."""

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.index.choice import index_config
from xorloom.sw.spec.codecs import INDEX_CODECS, VALUE_CODECS
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.direct_preset import direct_config, rate_of
from xorloom.sw.spec.index_config import IndexConfig

__all__ = ["DEFAULT", "FULL", "Grid", "Point", "points"]

_TAPS = re.compile(r"(\d+)\+(\d+)x(\d+)")


@dataclass(frozen=True)
class Grid:
    """Grid: the values of each parameter, which are combined.

    Parameters
    ----------
    value : value codecs, ``window``, ``block`` or ``direct``.
    n_in, n_out : of the window codec.
    window : window bits; 0: ``n_out``, at least 512.
    taps : ``OWN+SHAREDxPARITY``: own window bits per output, shared parities per output, and window
        bits per parity; ``7+0x4`` has no parities.
    index, index_bits : index codecs, and rates of those that choose the mask.
    bus_bits : of all codecs.
    planes : of window and block codec, which keep a mask.
    block_n_in, block_n_out, lanes : of the block codec, which goes with the bitmap index; lanes 0:
        as many as fit a bus word.
    rate, direct_window, direct_planes : of the direct codec, which goes without an index: bits per
        weight, as text; window bits; bits of a code, 0: the best network of the table. A beat takes
        a bus word.
    """

    value: tuple[str, ...] = ("window", "block", "direct")
    n_in: tuple[int, ...] = (32, 64)
    n_out: tuple[int, ...] = (256, 512)
    window: tuple[int, ...] = (0,)
    taps: tuple[str, ...] = ("1+3x4",)
    index: tuple[str, ...] = ("trellis", "entropy", "bitmap")
    index_bits: tuple[float, ...] = (0.15625, 0.25)
    bus_bits: tuple[int, ...] = (64,)
    planes: tuple[int, ...] = (1,)
    block_n_in: tuple[int, ...] = (20,)
    block_n_out: tuple[int, ...] = (200,)
    lanes: tuple[int, ...] = (0,)
    rate: tuple[str, ...] = ("1/4", "1", "2")
    direct_window: tuple[int, ...] = (10,)
    direct_planes: tuple[int, ...] = (0,)


DEFAULT = Grid()
FULL = Grid(
    n_in=(16, 32, 64),
    n_out=(128, 256, 512, 1024),
    window=(0, 1024),
    taps=("1+3x4", "7+0x4"),
    index=("trellis", "entropy", "lowrank", "bitmap"),
    index_bits=(0.078125, 0.15625, 0.25),
    bus_bits=(64, 128),
    block_n_in=(20, 32),
    block_n_out=(200, 320),
    lanes=(0, 1),
    rate=("1/4", "1/2", "1", "3/2", "2", "3"),
    direct_window=(8, 10, 12),
)


@dataclass(frozen=True)
class Point:
    """Point of a grid: a decoder's parameters, with zeros replaced, and its configurations."""

    parameters: dict[str, Any]
    value: ValueConfig
    index: IndexConfig
    planes: int


def _window(choice: dict[str, Any]) -> WindowConfig:
    taps = _TAPS.fullmatch(choice["taps"])
    if taps is None:
        raise ConfigError(f"taps must be like 1+3x4 (OWN+SHAREDxPARITY), not {choice['taps']!r}")
    own, shared, parity = map(int, taps.groups())
    n_out = choice["n_out"]
    return WindowConfig(
        n_in=choice["n_in"],
        n_out=n_out,
        window=choice["window"] or max(WindowConfig.window, n_out),
        own_taps=own,
        shared_taps=shared,
        shared=n_out // 2 if shared else 0,
        parity_taps=parity,
        bus_bits=choice["bus_bits"],
    )


def _block(choice: dict[str, Any]) -> BlockConfig:
    lanes = choice["lanes"] or max(1, choice["bus_bits"] // choice["n_in"])
    return BlockConfig(
        n_in=choice["n_in"], n_out=choice["n_out"], lanes=lanes, bus_bits=choice["bus_bits"]
    )


def _direct(choice: dict[str, Any]) -> DirectConfig:
    return direct_config(
        rate=rate_of(choice["rate"]),
        window=choice["window"],
        planes=choice["planes"] or None,
        bus_bits=choice["bus_bits"],
    )


_CONFIGS: dict[str, Callable[[dict[str, Any]], ValueConfig]] = {
    "window": _window,
    "block": _block,
    "direct": _direct,
}


def _choices(grid: Grid) -> Iterator[dict[str, Any]]:
    """Yield every combination once: parameters without effect are not varied."""
    for codec in grid.value:
        pairs: list[tuple[str, float | None]]
        own: dict[str, Sequence[Any]]
        if codec == "window":
            own = {"n_in": grid.n_in, "n_out": grid.n_out, "window": grid.window, "taps": grid.taps}
            pairs = [
                (index, rate)
                for index in grid.index
                for rate in (grid.index_bits if index in ("trellis", "lowrank") else (None,))
            ]
        elif codec == "block":
            own = {"n_in": grid.block_n_in, "n_out": grid.block_n_out, "lanes": grid.lanes}
            pairs = [("bitmap", None)]
        elif codec == "direct":
            own = {"rate": grid.rate, "window": grid.direct_window}
            pairs = [("none", None)]
        else:
            raise ConfigError(f"value codec must be {', '.join(VALUE_CODECS)}, not {codec!r}")
        planes = grid.direct_planes if codec == "direct" else grid.planes
        names = ("value", *own, "bus_bits", "planes", "index", "index_bits")
        for *chosen, pair in itertools.product(*own.values(), grid.bus_bits, planes, pairs):
            yield dict(zip(names, (codec, *chosen, *pair), strict=True))


def _parameters(choice: dict[str, Any], value: ValueConfig) -> dict[str, Any]:
    """Return a choice with zeros replaced, and what the table of networks chose."""
    facts: dict[str, Any] = value.to_dict()
    if not isinstance(value, DirectConfig):
        return choice | {n: facts[n] for n in ("window", "lanes") if n in facts}
    facts |= {"rate": str(value.rate), "taps": str(value.taps)}
    return choice | {n: facts[n] for n in ("rate", "n_in", "n_out", "window", "taps", "planes")}


def points(
    grid: Grid,
    density: float,
    *,
    importance: np.ndarray | None = None,
    at_most: int | None = None,
) -> tuple[list[Point], Counter[str]]:
    """Return the decoders of a grid, and the number of combinations that make none, by reason.

    Parameters
    ----------
    grid : Grid
    density : float
        Share of kept weights.
    importance : array, optional
        Sample on which the tile of the low-rank index is searched.
    at_most : int, optional
        Most points; a grid always yields the same subset.

    Raises
    ------
    ConfigError
        If nothing is left; the text tells the first reason.
    """
    found: list[Point] = []
    skipped: Counter[str] = Counter()
    for choice in _choices(grid):
        try:
            value = _CONFIGS[choice["value"]](choice)
            parameters = _parameters(choice, value)
            index = index_config(
                choice["index"],
                value,
                parameters["planes"],
                density=1.0 if INDEX_CODECS[choice["index"]].keeps_all else density,
                rate=choice["index_bits"],
                importance=importance,
            )
        except (ConfigError, CapacityError) as error:
            skipped[str(error)] += 1
            continue
        point = Point(parameters, value, index, parameters["planes"])
        if point not in found:  # a window of 0 may stand for one that is in the grid as well
            found.append(point)
    if not found:
        reason = next(iter(skipped), "a parameter has no values")
        raise ConfigError(f"no combination of the grid makes a decoder: {reason}")
    if at_most is not None and at_most < len(found):
        chosen = sorted(random.Random(0).sample(range(len(found)), at_most))
        found = [found[k] for k in chosen]
    return found, skipped
