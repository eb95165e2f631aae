# SPDX-License-Identifier: Apache-2.0
"""Draws a sweep: stored bits over area, by codec, with the front."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xorloom.sw.errors import ConfigError

from .pareto import pareto

__all__ = ["check_plot", "draw"]

_MARKS = {"trellis": "o", "entropy": "s", "lowrank": "^", "bitmap": "D"}
_AREA, _BITS = "lut_per_weight", "bits_per_weight"


def check_plot(path: Path) -> None:
    """Check the name of a picture.

    Raises
    ------
    ConfigError
        If it does not tell the format.
    """
    if path.suffix not in (".png", ".svg"):
        raise ConfigError(f"a plot's name ends in .png or .svg, not {path.name!r}")


def draw(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw bits a weight over LUTs for a weight a cycle; colour tells what the masks keep.

    The line is the front in these two, for each value of what is kept that matters: a front of
    decoders that keep everything, and one of all.

    Parameters
    ----------
    rows : sequence of mapping
        Of :func:`xorloom.sim.explore.sweep_rows`; those without LUTs are left out.
    """
    from matplotlib.figure import Figure

    shown = [row for row in rows if row[_AREA] is not None]
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    points = None
    for index in sorted({row["index"] for row in shown}):
        for value in ("window", "block"):
            some = [row for row in shown if (row["index"], row["value"]) == (index, value)]
            if not some:
                continue
            points = axes.scatter(
                [row[_AREA] for row in some],
                [row[_BITS] for row in some],
                c=[row["kept"] for row in some],
                vmin=min(0.5, *(row["kept"] for row in shown)),
                vmax=1.0,
                cmap="viridis",
                marker=_MARKS[index] if value == "window" else "X",
                s=[90 if row["pareto"] else 30 for row in some],
                edgecolors=["black" if row["pareto"] else "none" for row in some],
                label=f"{value}, {index}",
                zorder=3,
            )
    for least, style in ((0.999, "--"), (0.0, "-")):
        kept = [row for row in shown if row["kept"] >= least]
        front = [row for row, on in zip(kept, pareto(kept, (_AREA, _BITS)), strict=True) if on]
        front.sort(key=lambda row: float(row[_AREA]))
        axes.plot(
            [row[_AREA] for row in front],
            [row[_BITS] for row in front],
            style,
            color="gray",
            linewidth=1,
            label="front, all weights' masks kept" if least else "front",
            zorder=2,
        )
    axes.set(
        xlabel="LUTs for a weight a cycle",
        ylabel="bits a weight, everything counted",
        title=title,
        ylim=(0, None),
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, title="large, edged: Pareto in all objectives", title_fontsize=8)
    if points is not None:
        figure.colorbar(points, label="kept magnitude")
    partial = path.with_name("." + path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(partial, dpi=110, format=path.suffix[1:])
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
