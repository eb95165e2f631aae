# SPDX-License-Identifier: Apache-2.0
"""Draws a sweep: stored bits over area, by codec, with the front."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xorloom.sim.plots import save_plot

from .pareto import pareto

__all__ = ["draw"]

_LOOKS = {  # of (value codec, index codec): mark and colour
    ("window", "trellis"): ("o", "tab:blue"),
    ("window", "entropy"): ("s", "tab:orange"),
    ("window", "lowrank"): ("^", "tab:green"),
    ("window", "bitmap"): ("D", "tab:red"),
    ("window", "hashed"): ("v", "tab:brown"),
    ("window", "none"): ("h", "tab:gray"),
    ("block", "bitmap"): ("X", "tab:purple"),
    ("direct", "none"): ("*", "tab:cyan"),
}
_AREA, _BITS = "lut_per_weight", "bits_per_weight"


def draw(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw bits per weight over LUTs per weight per cycle, coloured by codec.

    The relative squared error is written beside each point: what is pruned counts. Two lines are
    fronts in these two objectives: of all decoders, and of those that keep any given mask.

    Parameters
    ----------
    rows : sequence of mapping
        Of :func:`xorloom.sim.bench.explore.sweep.sweep_rows`; those without LUTs are left out.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    shown = [row for row in rows if row[_AREA] is not None]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for (value, index), (mark, colour) in _LOOKS.items():
        some = [row for row in shown if (row["value"], row["index"]) == (value, index)]
        if some:
            axes.scatter(
                [row[_AREA] for row in some],
                [row[_BITS] for row in some],
                marker=mark,
                color=colour,
                s=[70 if row["pareto"] else 25 for row in some],
                edgecolors=["black" if row["pareto"] else "none" for row in some],
                label=f"{value}, {index} index",
                zorder=3,
            )
    for row in shown:
        where = (row[_AREA], row[_BITS])
        axes.annotate(f"{row['error']:.2f}", where, (5, 4), textcoords="offset points", fontsize=7)
    masked = [row for row in shown if row["kept"] >= 0.999 and row["index"] != "none"]
    for kept, style, label in ((masked, "--", "front, any mask kept"), (shown, "-", "front")):
        front = [row for row, on in zip(kept, pareto(kept, (_AREA, _BITS)), strict=True) if on]
        front.sort(key=lambda row: float(row[_AREA]))
        axes.step(
            [row[_AREA] for row in front],
            [row[_BITS] for row in front],
            style,
            where="post",
            color="gray",
            linewidth=1,
            label=label,
            zorder=2,
        )
    axes.set(
        xlabel="LUTs per weight per cycle",
        ylabel="bits per weight, everything counted",
        title=title,
        xscale="log",
        ylim=(0, None),
    )
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(ScalarFormatter())
    axes.tick_params(axis="x", which="both", labelsize=8)
    axes.grid(alpha=0.3, which="both")
    axes.legend(fontsize=8, title="numbers: error; edged: Pareto in all", title_fontsize=8)
    save_plot(figure, path, dpi=110)
