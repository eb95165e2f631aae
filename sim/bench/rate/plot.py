# SPDX-License-Identifier: Apache-2.0
"""Draws the rate benchmark: error against stored bits, and energy where there are few."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xorloom.sim.plots import legend_below, save_plot

from .points import SOURCE_TITLES, TITLES

__all__ = ["draw"]

_LOOKS = {
    "direct-8": ("#9ecae1", "o", "-"),
    "direct-10": ("#4292c6", "o", "-"),
    "direct-14": ("#084594", "o", "-"),
    "trellis": ("#e08a1e", "s", "-"),
    "entropy": ("#2f9e6e", "^", "-"),
    "lowrank": ("#8459b8", "v", "-"),
    "bitmap": ("#8c564b", "D", "-"),
    "hashed": ("#c1579f", "P", "-"),
    "binary": ("#c8473d", "X", "--"),
    "uniform": ("#e7969c", "X", "--"),
    "lloyd-max": ("#5f6b7a", "*", "--"),
    "n:m": ("#bcbd22", "p", ""),
}
_FEW = 1.1
"""Bits per weight up to which energy is drawn."""


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw two panels for every source: error over all rates, energy over the low ones.

    Parameters
    ----------
    rows : sequence of mapping
        Of :func:`xorloom.sim.bench.rate.measure.rate_rows`.
    path : Path
        PNG or SVG by its ending.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    sources = list(dict.fromkeys(row["source"] for row in rows))
    figure = Figure(figsize=(11, 0.7 + 4.3 * len(sources)), layout="constrained")
    grid = figure.subplots(len(sources), 2, squeeze=False, width_ratios=(1.25, 1))
    for (left, right), source in zip(grid, sources, strict=True):
        for axes, key, most in ((left, "error", 4.4), (right, "energy", _FEW)):
            for codec in ("bound", *TITLES):
                line = sorted(
                    (row["rate_bits"], row[key])
                    for row in rows
                    if (row["source"], row["codec"]) == (source, codec) and row["rate_bits"] < most
                )
                if codec == "bound":
                    axes.plot(*zip(*line, strict=True), color="black", label="bound")
                elif line:
                    colour, mark, style = _LOOKS[codec]
                    axes.plot(
                        *zip(*line, strict=True),
                        color=colour,
                        marker=mark,
                        linestyle=style or "none",
                        linewidth=1.3,
                        markersize=5,
                        label=TITLES[codec],
                    )
            axes.grid(alpha=0.3, which="both")
            axes.set_xlabel("bits per weight, everything counted")
        left.set(
            title=SOURCE_TITLES[source],
            ylabel="squared error / variance",
            yscale="log",
            xlim=(0, 4.4),
        )
        left.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        right.set(title="few bits", ylabel="energy kept", xlim=(0, _FEW), ylim=(0, None))
    handles: dict[str, Any] = {}
    for axes in grid.flat:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(name, handle)
    order = [name for name in ("bound", *TITLES.values()) if name in handles]
    legend_below(figure, {name: handles[name] for name in order})
    save_plot(figure, path)
