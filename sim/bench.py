# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: value-plane efficiency, the paper's curve, coding speed."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw import block_codec, stream
from xorloom.sw.config import BlockConfig
from xorloom.sw.prune import check_sparsity
from xorloom.sw.search import SearchPoint, curve, search_block

from .datasets import iid

__all__ = ["curve_rows", "lanes_for", "plot_curve", "speed_rows", "value_rows"]

Progress = Callable[[str], None]
_SEED = 2020


def lanes_for(n_in: int, bus_bits: int) -> int:
    """Lanes whose seeds fill one bus word."""
    return max(1, bus_bits // max(1, n_in))


def value_rows(
    sparsities: Sequence[float],
    n_ins: Sequence[int],
    weights: int,
    planes: int = 1,
    bus_bits: int = 64,
    progress: Progress = lambda what: None,
) -> list[dict[str, Any]]:
    """Efficiency of the block codec on i.i.d. masks, everything stored counted.

    ``bits_per_weight`` is the whole memory stream: header, seeds, n_patch fields, patch
    positions, padding and CRC. ``efficiency`` is ``planes * (kept / weights) / bits_per_weight``.
    """
    rows = []
    for sparsity in map(check_sparsity, sparsities):
        mask, codes = iid(weights, sparsity, planes, _SEED)
        kept = int(np.count_nonzero(mask))
        for n_in in n_ins:
            base = BlockConfig(n_in=n_in, lanes=lanes_for(n_in, bus_bits), bus_bits=bus_bits)
            config = search_block([(mask, codes, planes)], base).config
            slices = block_codec.encode(mask, codes, planes, config)
            data, _ = stream.pack_block(slices, config)
            decoded = block_codec.decode(stream.unpack_block(data, config), mask, planes, config)
            rows.append(
                {
                    "codec": "block",
                    "sparsity": sparsity,
                    "n_in": n_in,
                    "n_out": config.n_out,
                    "block_groups": config.block_groups,
                    "lanes": config.lanes,
                    "planes": planes,
                    "weights": weights,
                    "bits_per_weight": 8 * len(data) / weights,
                    "efficiency": planes * kept / (8 * len(data)),
                    "patches_per_weight": slices.patches.size / weights,
                    "lossless": bool((decoded == np.where(mask, codes, 0)).all()),
                }
            )
            progress(f"S {sparsity} n_in {n_in}")
    return rows


def curve_rows(
    sparsity: float, n_ins: Sequence[int], weights: int, progress: Progress = lambda what: None
) -> list[dict[str, Any]]:
    """Total bits against n_out for several n_in: the trade of long slices against patches."""
    mask, codes = iid(weights, sparsity, 1, _SEED)
    rows = []
    for n_in in n_ins:
        middle = n_in / (1 - sparsity)
        n_outs = sorted({round(middle * f) for f in np.linspace(0.4, 1.5, 34)})
        config = BlockConfig(n_in=n_in, lanes=lanes_for(n_in, 64))
        for point in curve([(mask, codes, 1)], config, n_outs):
            rows.append({"sparsity": sparsity, "weights": weights} | _point_row(point, weights))
        progress(f"n_in {n_in}")
    return rows


def _point_row(point: SearchPoint, weights: int) -> dict[str, Any]:
    return {
        "n_in": point.config.n_in,
        "n_out": point.config.n_out,
        "bits_per_weight": point.total / weights,
        "seeds": point.seeds / weights,
        "control": point.control / weights,
        "patches": point.patches / weights,
    }


def plot_curve(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw :func:`curve_rows` as a picture (PNG or SVG by the file's ending)."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    sparsity = rows[0]["sparsity"]
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    for n_in in sorted({row["n_in"] for row in rows}):
        line = [row for row in rows if row["n_in"] == n_in]
        x = [row["n_out"] * (1 - sparsity) / n_in for row in line]
        y = [row["bits_per_weight"] for row in line]
        best = min(range(len(y)), key=y.__getitem__)
        label = f"n_in {n_in}: {y[best]:.3f} at n_out {line[best]['n_out']}"
        (drawn,) = axes.plot(x, y, label=label, linewidth=1.8)
        axes.plot(x[best], y[best], "o", color=drawn.get_color(), markersize=5)
    axes.axhline(1 - sparsity, color="black", linestyle="--", linewidth=1)
    note = f"one bit a kept weight: {1 - sparsity:.2f}"
    axes.text(1.5, 1 - sparsity, note, va="bottom", ha="right", fontsize=8)
    axes.set_xlabel("slice length, as expected kept bits a seed bit: n_out (1 - S) / n_in")
    axes.set_ylabel("value plane, bits a weight")
    axes.set_title(f"Block codec, i.i.d. mask, S = {sparsity}: seeds, n_patch fields and patches")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def speed_rows(
    sparsity: float, n_in: int, weights: int, repeats: int, progress: Progress = lambda what: None
) -> list[dict[str, Any]]:
    """Coding speed, median and range over ``repeats`` runs, in million weights a second.

    ``encode`` is mask and codes to memory stream; ``decode`` is memory stream and mask to codes.
    """
    mask, codes = iid(weights, sparsity, 1, _SEED)
    base = BlockConfig(n_in=n_in, lanes=lanes_for(n_in, 64))
    sample = [(mask[:2_000_000], codes[:2_000_000], 1)]
    config = replace(search_block(sample, base).config)
    times: dict[str, list[float]] = {"encode": [], "decode": []}
    for n in range(repeats + 1):
        start = time.perf_counter()
        data, _ = stream.pack_block(block_codec.encode(mask, codes, 1, config), config)
        middle = time.perf_counter()
        block_codec.decode(stream.unpack_block(data, config), mask, 1, config)
        end = time.perf_counter()
        if n:  # the first run compiles
            times["encode"].append(middle - start)
            times["decode"].append(end - middle)
        progress(f"run {n}")
    return [
        {
            "what": what,
            "codec": "block",
            "sparsity": sparsity,
            "n_in": n_in,
            "n_out": config.n_out,
            "weights": weights,
            "threads": block_codec.threads_default() if what == "encode" else 1,
            "mweights_per_s": weights / 1e6 / statistics.median(seconds),
            "mweights_per_s_min": weights / 1e6 / max(seconds),
            "mweights_per_s_max": weights / 1e6 / min(seconds),
        }
        for what, seconds in times.items()
    ]
