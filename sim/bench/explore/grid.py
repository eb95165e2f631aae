# SPDX-License-Identifier: Apache-2.0
"""Grid of a sweep: all combinations of parameters that make a decoder."""

import itertools
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.index.choice import index_config
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig

__all__ = ["DEFAULT", "FULL", "Grid", "Point", "points"]

_TAPS = re.compile(r"(\d+)\+(\d+)x(\d+)")


@dataclass(frozen=True)
class Grid:
    """Grid: the values of each parameter, which are combined.

    Parameters
    ----------
    value : value codecs, ``window`` or ``block``.
    n_in, n_out : of the window codec.
    window : window bits; 0: ``n_out``, at least 512.
    taps : ``OWN+SHAREDxPARITY``: own window bits per output, shared parities per output, and window
        bits per parity; ``7+0x4`` has no parities.
    index, index_bits : index codecs, and rates of those that choose the mask.
    bus_bits, planes : of both codecs.
    block_n_in, block_n_out, lanes : of the block codec, which goes with the bitmap index; lanes 0:
        as many as fit a bus word.
    """

    value: tuple[str, ...] = ("window", "block")
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


def _choices(grid: Grid) -> Iterator[dict[str, Any]]:
    """Yield every combination once: parameters without effect are not varied."""
    values = asdict(grid)
    for codec in grid.value:
        if codec == "window":
            names = ["n_in", "n_out", "window", "taps"]
            lists: list[Sequence[Any]] = [values[name] for name in names]
            pairs: list[tuple[str, float | None]] = [
                (index, rate)
                for index in grid.index
                for rate in (grid.index_bits if index in ("trellis", "lowrank") else (None,))
            ]
        elif codec == "block":
            names = ["n_in", "n_out", "lanes"]
            lists = [grid.block_n_in, grid.block_n_out, grid.lanes]
            pairs = [("bitmap", None)]
        else:
            hint = " (xorloom bench rate measures it)" if codec == "direct" else ""
            raise ConfigError(f"value codec must be window or block, not {codec!r}{hint}")
        for chosen in itertools.product(*lists, grid.bus_bits, grid.planes, pairs):
            *own, bus_bits, planes, (index, rate) = chosen
            base = {"value": codec} | dict(zip(names, own, strict=True))
            yield base | {
                "bus_bits": bus_bits,
                "planes": planes,
                "index": index,
                "index_bits": rate,
            }


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
            value: ValueConfig = _window(choice) if choice["value"] == "window" else _block(choice)
            index = index_config(
                choice["index"],
                value,
                choice["planes"],
                density=density,
                rate=choice["index_bits"],
                importance=importance,
            )
        except (ConfigError, CapacityError) as error:
            skipped[str(error)] += 1
            continue
        own = {n: v for n, v in value.to_dict().items() if n in ("window", "lanes")}
        point = Point(choice | own, value, index, choice["planes"])
        if point not in found:  # a window of 0 may stand for one that is in the grid as well
            found.append(point)
    if not found:
        reason = next(iter(skipped), "a parameter has no values")
        raise ConfigError(f"no combination of the grid makes a decoder: {reason}")
    if at_most is not None and at_most < len(found):
        chosen = sorted(random.Random(0).sample(range(len(found)), at_most))
        found = [found[k] for k in chosen]
    return found, skipped
