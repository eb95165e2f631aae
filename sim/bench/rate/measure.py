# SPDX-License-Identifier: Apache-2.0
"""Measurement of the rate benchmark: points of codecs on sources, one process for each core."""

import multiprocessing
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.host import threads_default
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.plans import make_plans
from xorloom.sw.model.plan.settings import Settings
from xorloom.sw.model.verify import plain_weights
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.checkpoint import from_arrays
from xorloom.sw.tensors.loss import share_of_dense_bound

from .area import Area, areas
from .bound import Curve
from .others import other_point
from .points import Point
from .sources import Source, source

__all__ = ["rate_rows", "relative_error"]

_WARM_WEIGHTS = 1 << 16


@dataclass(frozen=True)
class _Found:
    """What one point is worth: bits per weight, error, CPU seconds, and whose decoder it needs."""

    rate: float
    error: float
    seconds: float | None = None
    decoder: Decoder | None = None
    planes: int = 1


def relative_error(tensors: Mapping[str, np.ndarray], decoded: Mapping[str, np.ndarray]) -> float:
    """Return the squared error in units of each tensor's own variance, mean over all weights."""
    lost, weights = 0.0, 0
    for name, given in tensors.items():
        wanted = given.astype(np.float64)
        lost += float(np.square(wanted - decoded[name]).mean() / wanted.var()) * given.size
        weights += given.size
    return lost / weights


def _compressed(
    tensors: Mapping[str, np.ndarray], scale: str, point: Point
) -> tuple[dict[str, np.ndarray], _Found]:
    """Compress tensors as a user would, and read the file again."""
    model = from_arrays(tensors)
    settings = Settings.of(dict(point.options) | {"scale": scale})
    with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
        path = Path(folder) / "point.safetensors"
        start = time.process_time()
        plans = make_plans(model, dict.fromkeys(model, settings))
        made = compress_model(model, path, plans)
        seconds = time.process_time() - start
        container = read_container(path)
        decoded = {name: plain_weights(container, name) for name in tensors}
    bits = sum(report.bits.total for report in made.tensors.values())
    weights = sum(tensor.size for tensor in tensors.values())
    report = max(made.tensors.values(), key=lambda report: report.bits.weights)
    planes = report.bits.planes
    error = relative_error(tensors, decoded)
    return decoded, _Found(bits / weights, error, seconds, report.decoder, planes)


def _part(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the first rows of the first tensor."""
    name, array = next(iter(tensors.items()))
    return {name: array[: max(1, _WARM_WEIGHTS * len(array) // array.size)]}


def _measure(name: str, weights: int, quick: bool, point: Point) -> _Found:
    """Measure a point in a process of its own."""
    of = source(name, weights, quick)
    if not point.ours:
        decoded, rate = other_point(of, point)
        return _Found(rate, relative_error(of.tensors, decoded))
    _compressed(_part(of.tensors), of.scale, point)  # compiles, or loads what was compiled
    return _compressed(of.tensors, of.scale, point)[1]


def _curve(name: str, weights: int, quick: bool) -> Curve:
    return source(name, weights, quick).curve()


def _row(name: str, of: Point, found: _Found, curve: Curve, weights: int) -> dict[str, Any]:
    energy, best = 1 - found.error, 1 - curve.error(found.rate)
    return {
        "codec": of.codec,
        "source": name,
        "options": of.text,
        "weights": weights,
        "rate_bits": found.rate,
        "error": found.error,
        "bound_bits_gap": found.rate - curve.rate(found.error),
        "energy": energy,
        "energy_share_of_bound": energy / best,
        "share_of_dense_bound": share_of_dense_bound(found.error, found.rate),
        "mweights_per_s": weights / 1e6 / found.seconds if found.seconds else None,
    }


def _bound_rows(name: str, curve: Curve, weights: int) -> Iterator[dict[str, Any]]:
    """Yield the bound itself, at rates close enough for a line."""
    for rate in np.geomspace(1 / 16, 4, 25).tolist():
        error = curve.error(rate)
        yield {
            "codec": "bound",
            "source": name,
            "options": "",
            "weights": weights,
            "rate_bits": rate,
            "error": error,
            "bound_bits_gap": 0.0,
            "energy": 1 - error,
            "energy_share_of_bound": 1.0,
            "share_of_dense_bound": share_of_dense_bound(error, rate),
            "mweights_per_s": None,
        } | _size(None)


def rate_rows(
    names: Sequence[str],
    chosen: Sequence[Point],
    weights: int,
    *,
    quick: bool = False,
    area: bool = True,
    seeds: int = 0,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Measure codecs on sources; return a row each, and rows of codec ``bound``.

    ``rate_bits`` is everything stored per weight, ``error`` the squared error relative to the
    variance (matrices: each to its own, mean over all weights). ``bound_bits_gap`` is how many bits
    more than the rate-distortion function that is, of independent weights of the same density.
    ``energy`` is ``1 - error``, ``energy_share_of_bound`` that over the most at this rate, and
    ``share_of_dense_bound`` that over the most of Gaussian weights at this rate.
    ``lut4_per_weight`` is of value decoder and index core on ECP5, over the weights of a slice;
    ``fmax_mhz`` the slower one's. ``mweights_per_s`` is all of ``compress`` per CPU second.

    Parameters
    ----------
    names : sequence of str
        Of :data:`xorloom.sim.bench.rate.sources.SOURCES`.
    chosen : sequence of Point
    weights : int
        Of a made source.
    quick : bool
        Only some of MiniLM's matrices.
    area : bool
        Synthesize the decoders; otherwise ``lut4_per_weight`` is ``None``.
    seeds : int
        Placement seeds for ``fmax_mhz``; 0: ``None``.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(threads_default(), context) as pool:
        curves = {name: pool.submit(_curve, name, weights, quick) for name in names}
        tasks: list[tuple[str, Point, Future[_Found]]] = [
            (name, point, pool.submit(_measure, name, weights, quick, point))
            for name in names
            for point in chosen
        ]
        found: list[tuple[Source, Point, _Found]] = []
        for name, point, task in tasks:
            found.append((source(name, weights, quick), point, task.result()))
            progress(point.codec, f"{name} {point.text}")
    needed = dict.fromkeys((f.decoder, f.planes) for *_, f in found if f.decoder is not None)
    sizes = areas(list(needed), seeds, progress) if area else {}
    rows: list[dict[str, Any]] = []
    for of, point, result in found:
        curve = curves[of.name].result()
        if all(row["source"] != of.name for row in rows):
            rows += _bound_rows(of.name, curve, of.weights)
        size = None if result.decoder is None else sizes.get((result.decoder, result.planes))
        rows.append(_row(of.name, point, result, curve, of.weights) | _size(size))
    return rows


def _size(size: Area | None) -> dict[str, Any]:
    luts, clock = (None, None) if size is None else (size.lut4_per_weight, size.fmax_mhz)
    return {"lut4_per_weight": luts, "fmax_mhz": clock}
