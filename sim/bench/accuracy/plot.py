# SPDX-License-Identifier: Apache-2.0
"""Draws the accuracy laboratory: what is left of a network against stored bits."""

from collections import Counter
from collections.abc import Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any

from xorloom.sim.plots import legend_below, save_plot
from xorloom.sw.base.errors import ConfigError

__all__ = ["TITLES", "draw", "drawn", "y_title"]

TITLES = {
    "hashed": "hashed index",
    "hashed-2": "hashed index, 2 planes",
    "direct": "trained seeds",
    "direct-viterbi": "searched seeds, the rest trained",
    "trellis": "trellis index",
    "trellis-2": "trellis index, 2 planes",
    "entropy": "entropy index, largest weights",
    "paper": "low-rank index, block values",
    "n:m": "N:M",
    "dense": "whole bits for every weight",
}
"""Titles of the methods, in the order of the figure."""
_LOOKS = {
    "hashed": ("#c1579f", "P"),
    "hashed-2": ("#7b2f63", "P"),
    "direct": ("#084594", "o"),
    "direct-viterbi": ("#6baed6", "o"),
    "trellis": ("#e08a1e", "s"),
    "trellis-2": ("#8f5206", "s"),
    "entropy": ("#2f9e6e", "^"),
    "paper": ("#8459b8", "v"),
    "n:m": ("#8d97a3", "p"),
    "dense": ("#c8473d", "X"),
}
_COLUMNS = 2


def drawn(row: Mapping[str, Any], key: str) -> float:
    """Return what is drawn of a figure: of an accuracy in per cent, what is wrong."""
    value = float(row[key])
    return 100 - value if row["metric"] == "accuracy" else value


def _spread(row: Mapping[str, Any]) -> float:
    """Return a row's standard deviation; of a single run none is known, so no bar is drawn."""
    return nan if row["accuracy_std"] is None else float(row["accuracy_std"])


def y_title(metric: str) -> str:
    """Return the title of the axis of :func:`drawn`."""
    return "wrong, per cent" if metric == "accuracy" else metric.replace("_", " ")


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw a panel for every network on its data, a line for every method.

    Accuracy is drawn as what is wrong, whose logarithm tells methods apart. Rows of runs that were
    longer than most are left out, and networks of a single budget.

    Parameters
    ----------
    rows : sequence of mapping
        As ``bench accuracy`` makes them.
    path : Path
        PNG or SVG by its ending.

    Raises
    ------
    ConfigError
        If no network has rows of two budgets.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    cases = [
        case
        for case in dict.fromkeys((row["network"], row["data"]) for row in rows)
        if len({row["budget"] for row in rows if (row["network"], row["data"]) == case}) > 1
    ]
    if not cases:
        raise ConfigError("nothing to draw: every network has rows of one budget only")
    lines = -(-len(cases) // _COLUMNS)
    figure = Figure(figsize=(11, 0.9 + 4.2 * lines), layout="constrained")
    grid = figure.subplots(lines, min(_COLUMNS, len(cases)), squeeze=False)
    handles: dict[str, Any] = {}
    for axes in grid.flat[len(cases) :]:
        axes.set_axis_off()
    for axes, case in zip(grid.flat, cases, strict=False):
        own = [row for row in rows if (row["network"], row["data"]) == case]
        usual = Counter(row["epochs"] for row in own).most_common(1)[0][0]
        axes.axhline(drawn(own[0], "dense_accuracy"), color="black", linewidth=1, linestyle="--")
        for method, title in TITLES.items():
            line = sorted(
                (row["bits_per_weight"], drawn(row, "accuracy"), _spread(row))
                for row in own
                if (row["method"], row["epochs"]) == (method, usual)
            )
            if line:
                colour, mark = _LOOKS[method]
                bits, mean, spread = zip(*line, strict=True)
                handles[title] = axes.errorbar(
                    bits,
                    mean,
                    spread,
                    color=colour,
                    marker=mark,
                    linewidth=1.2,
                    markersize=5,
                    capsize=2,
                )
        axes.set(
            title=f"{case[0]}, {case[1]}",
            xlabel="bits per weight, everything counted",
            ylabel=y_title(own[0]["metric"]),
            xscale="log",
            yscale="log",
        )
        for side in (axes.xaxis, axes.yaxis):
            side.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: ""))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xticks([0.05, 0.1, 0.2, 0.5, 1.0])
        axes.grid(alpha=0.3)
    order = [title for title in TITLES.values() if title in handles]
    legend_below(figure, {title: handles[title] for title in order})
    save_plot(figure, path)
