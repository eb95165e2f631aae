# SPDX-License-Identifier: Apache-2.0
"""Roofline plot of ``bench bus``: weights a second against what the memory delivers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.errors import ConfigError

__all__ = ["plot_roofline"]

_STYLES = {
    "xorloom": ("#c0392b", "o"),
    "xorloom-entropy": ("#e67e22", "D"),
    "xorloom-bitmap": ("#f1c40f", "v"),
    "rice": ("#27ae60", "s"),
    "bitmask": ("#2980b9", "^"),
    "csr": ("#8e44ad", "P"),
    "dense": ("#7f8c8d", "X"),
}
"""Colour and marker."""


def plot_roofline(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw rows of the first case and sparsity (PNG or SVG by the file's ending).

    A line is a design's stored bits a weight: what it could do if not a bit of the memory's
    bandwidth were lost. Points are measured.

    Raises
    ------
    ConfigError
        If there are no rows.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    if not rows:
        raise ConfigError("nothing to draw: no rows")
    case, sparsity = rows[0]["case"], rows[0]["sparsity"]
    rows = [row for row in rows if (row["case"], row["sparsity"]) == (case, sparsity)]
    places = {row["memory"]: row["bus_mbytes_per_s"] for row in rows}
    low, high = min(places.values()) / 1.6, max(places.values()) * 1.6
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    x = np.array([low, high])
    designs = sorted({row["design"] for row in rows}, key=list(_STYLES).index)
    for design in designs:
        mine = [row for row in rows if row["design"] == design]
        colour, marker = _STYLES[design]
        bits = mine[0]["bits_per_weight"]
        axes.plot(x, x * 8 / bits, color=colour, linewidth=1, alpha=0.5)
        axes.plot(
            [row["bus_mbytes_per_s"] for row in mine],
            [row["mweights_per_s"] for row in mine],
            marker,
            color=colour,
            markersize=7,
            label=f"{design}: {bits:.2f} bits a weight",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    figure.savefig(path, dpi=120)
    plt.close(figure)
