# SPDX-License-Identifier: Apache-2.0
"""Value benchmarks: stored bits and efficiency, the paper's curve, coding speed."""

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sim.datasets import SEED, iid, large_matrices
from xorloom.sim.plots import save_plot
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig, lanes_for
from xorloom.sw.tensors.prune import check_sparsity, prune_tensor
from xorloom.sw.tensors.quantize import Quantizer, quantize
from xorloom.sw.value.block import codec as block_codec
from xorloom.sw.value.plane import decode_value, encode_value
from xorloom.sw.value.search import SearchPoint, curve, cut_sample, search_block, search_window

__all__ = [
    "curve_rows",
    "decoder_luts",
    "matrix_rows",
    "plot_curve",
    "speed_config",
    "speed_rows",
    "value_row",
    "value_rows",
    "window_value_rows",
]


def value_rows(
    sparsities: Sequence[float],
    n_ins: Sequence[int],
    weights: int,
    planes: int = 1,
    bus_bits: int = 64,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Efficiency of the block codec on i.i.d. masks, everything stored counted.

    ``bits_per_weight`` is the whole memory stream: header, seeds, n_patch fields, patch
    positions, padding and CRC. ``efficiency`` is ``planes * (kept / weights) / bits_per_weight``.
    """
    rows = []
    for sparsity in map(check_sparsity, sparsities):
        mask, codes = iid(weights, sparsity, planes, SEED)
        for n_in in n_ins:
            base = BlockConfig(n_in=n_in, lanes=lanes_for(n_in, bus_bits), bus_bits=bus_bits)
            config = search_block([(mask, codes, planes)], base).config
            facts = {"block_groups": config.block_groups, "lanes": config.lanes}
            row, _ = value_row([(mask, codes)], planes, config, "row")
            rows.append({"codec": "block", "sparsity": sparsity} | row | facts)
            progress("block", f"S {sparsity} n_in {n_in}")
    return rows


def value_row(
    tensors: Sequence[tuple[np.ndarray, np.ndarray]], planes: int, config: ValueConfig, order: str
) -> tuple[dict[str, Any], list[str]]:
    """Encode tensors, decode them again, and count; return the row and every tensor's order."""
    stored = patches = kept = weights = 0
    lossless = True
    orders = []
    for mask, codes in tensors:
        data, bits, layout = encode_value(mask, codes, planes, config, order)
        decoded = decode_value(data, mask, planes, config, layout, "bench")
        lossless &= bool((decoded == np.where(mask, codes, 0)).all())
        stored += 8 * len(data)
        patches += bits.patches // max(1, patch_bits(config))
        kept += int(np.count_nonzero(mask))
        weights += mask.size
        orders.append(layout.order)
    row = {
        "n_in": config.n_in,
        "n_out": config.n_out,
        "planes": planes,
        "weights": weights,
        "bits_per_weight": stored / weights,
        "efficiency": planes * kept / stored,
        "patches_per_weight": patches / weights,
        "lossless": lossless,
    }
    return row, orders


def patch_bits(config: ValueConfig) -> int:
    """Stored bits of a patch."""
    assert isinstance(config, BlockConfig | WindowConfig)
    return config.patch_bits if isinstance(config, WindowConfig) else config.position_bits


def window_value_rows(
    sparsities: Sequence[float],
    n_ins: Sequence[int],
    weights: int,
    planes: int = 1,
    bus_bits: int = 64,
    *,
    area: bool = True,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Efficiency of the window codec on i.i.d. masks; without ``n_ins``, n_in is chosen to fit.

    Columns as in :func:`value_rows`, and ``window``; ``taps``, window bits an output depends on;
    ``lut4``, ECP5 LUT4s of the whole decoder with its AXI4-Stream shell (with ``area``).
    """
    luts: dict[WindowConfig, int | None] = {}
    rows = []
    for sparsity in map(check_sparsity, sparsities):
        mask, codes = iid(weights, sparsity, planes, SEED)
        for n_in in n_ins or [0]:
            config = WindowConfig(n_in=n_in or WindowConfig.n_in, bus_bits=bus_bits)
            if not n_in:
                config = search_window([(mask, codes, planes)], config)
            row, _ = value_row([(mask, codes)], planes, config, "row")
            facts = {"window": config.window, "taps": config.taps}
            rows.append({"codec": "window", "sparsity": sparsity} | row | facts)
            if area:
                if config not in luts:
                    luts[config] = decoder_luts(config)
                rows[-1]["lut4"] = luts[config]
            progress("window", f"S {sparsity} n_in {config.n_in}")
    return rows


def decoder_luts(config: ValueConfig) -> int | None:
    """ECP5 LUT4s of a decoder with its AXI4-Stream shell."""
    from xorloom.hw.flow.synth import synthesize
    from xorloom.hw.units import generate_unit

    verilog = generate_unit("decoder", config)
    return synthesize(verilog.text, verilog.name, "ecp5", seeds=0).lut


def matrix_rows(
    model: Path,
    sparsities: Sequence[float],
    codecs: Sequence[str],
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Value-plane efficiency on MiniLM's large encoder matrices.

    Every matrix is pruned by magnitude on its own and quantized to one bit; one decoder serves
    all of them. ``orders`` counts the weight orders that the encoder chose.
    """
    tensors = large_matrices(model)
    rows = []
    for sparsity in map(check_sparsity, sparsities):
        pairs = []
        for tensor in tensors.values():
            weights = tensor.weights()
            mask = prune_tensor(weights, sparsity)
            pairs.append((mask, quantize(weights, mask, Quantizer(), fixed_mask=True).codes))
        planes = [(mask, codes, 1) for mask, codes in pairs]
        for codec in codecs:
            config: ValueConfig
            if codec == "window":
                config = search_window(planes, WindowConfig())
            else:
                total = sum(mask.size for mask, _ in pairs)
                sample = [part for plane in planes for part in cut_sample(plane, total)]
                base = BlockConfig(n_in=20, lanes=lanes_for(20, 64))
                config = search_block(sample, base).config
            row, orders = value_row(pairs, 1, config, "auto")
            head = {"codec": codec, "matrices": len(pairs), "sparsity": sparsity}
            rows.append(head | row | {"orders": dict(Counter(orders).most_common())})
            progress(codec, f"S {sparsity}")
    return rows


def curve_rows(
    sparsity: float, n_ins: Sequence[int], weights: int, progress: Progress = no_progress
) -> list[dict[str, Any]]:
    """Total bits against n_out for several n_in: the trade of long slices against patches."""
    mask, codes = iid(weights, sparsity, 1, SEED)
    rows = []
    for n_in in n_ins:
        middle = n_in / (1 - sparsity)
        n_outs = sorted({round(middle * f) for f in np.linspace(0.4, 1.5, 34)})
        config = BlockConfig(n_in=n_in, lanes=lanes_for(n_in, 64))
        for point in curve([(mask, codes, 1)], config, n_outs):
            rows.append({"sparsity": sparsity, "weights": weights} | _point_row(point, weights))
        progress("curve", f"n_in {n_in}")
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
    note = f"one bit per kept weight: {1 - sparsity:.2f}"
    axes.text(1.5, 1 - sparsity, note, va="bottom", ha="right", fontsize=8)
    axes.set_xlabel("slice length, as expected kept bits per seed bit: n_out (1 - S) / n_in")
    axes.set_ylabel("value plane, bits per weight")
    axes.set_title(f"Block codec, i.i.d. mask, S = {sparsity}: seeds, n_patch fields and patches")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save_plot(figure, path)
    plt.close(figure)


def speed_rows(
    config: ValueConfig,
    sparsity: float,
    weights: int,
    repeats: int,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Coding speed, median and range over ``repeats`` runs, in million weights per second.

    ``encode`` is mask and codes to memory streams; ``decode`` is memory streams and mask to codes,
    on one thread.
    """
    mask, codes = iid(weights, sparsity, 1, SEED)
    times: dict[str, list[float]] = {"encode": [], "decode": []}
    for n in range(repeats + 1):
        start = time.perf_counter()
        data, _, layout = encode_value(mask, codes, 1, config, "row", threads)
        middle = time.perf_counter()
        decode_value(data, mask, 1, config, layout, "bench")
        end = time.perf_counter()
        if n:  # the first run compiles
            times["encode"].append(middle - start)
            times["decode"].append(end - middle)
        progress("run", str(n))
    threads = threads or block_codec.threads_default()
    return [
        {
            "what": what,
            "codec": config.codec,
            "sparsity": sparsity,
            "n_in": config.n_in,
            "n_out": config.n_out,
            "weights": weights,
            "threads": threads if what == "encode" else 1,
            "mweights_per_s": weights / 1e6 / statistics.median(seconds),
            "mweights_per_s_min": weights / 1e6 / max(seconds),
            "mweights_per_s_max": weights / 1e6 / min(seconds),
        }
        for what, seconds in times.items()
    ]


def speed_config(codec: str, sparsity: float, n_in: int | None = None) -> ValueConfig:
    """Return the decoder that ``bench speed`` uses."""
    mask, codes = iid(2_000_000, sparsity, 1, SEED)
    if codec == "window":
        if n_in is not None:
            return WindowConfig(n_in=n_in)
        return search_window([(mask, codes, 1)], WindowConfig())
    base = BlockConfig(n_in=n_in or BlockConfig.n_in, lanes=lanes_for(n_in or 20, 64))
    return search_block([(mask, codes, 1)], base).config
