# SPDX-License-Identifier: Apache-2.0
"""Roofline plot of ``bench bus``: weights per second against what the memory delivers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sim.plots import save_plot
from xorloom.sw.base.errors import ConfigError

__all__ = ["STYLES", "plot_roofline"]

STYLES = {
    "xorloom": ("#c0392b", "o", 8, "xorloom, trellis index"),
    "xorloom-entropy": ("#f39c12", "D", 11, "xorloom, entropy index"),
    "xorloom-bitmap": ("#b7950b", "v", 11, "xorloom, bitmap index"),
    "rice": ("#1e8449", "s", 6, "run lengths, Rice code"),
    "bitmask": ("#2980b9", "^", 8, "bitmask"),
    "csr": ("#8e44ad", "P", 8, "CSR, 16-bit indices"),
    "dense": ("#5d6d7e", "X", 8, "dense"),
}
"""Colour, marker, size and label of designs; where points coincide, the later is smaller."""
_NEAR = 1.12
"""Memories whose bandwidths differ by less share a label."""


def _labels(places: dict[str, float]) -> list[tuple[float, str]]:
    """Return bandwidths and labels of memories; near ones share a label."""
    found: list[tuple[float, list[str]]] = []
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        if found and place < found[-1][0] * _NEAR:
            found[-1][1].append(name)
        else:
            found.append((place, [name]))
    return [(place, "\n".join(names)) for place, names in found]


def _tick(value: float, _at: object = None) -> str:
    return f"{value:,.10g}"


def plot_roofline(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw rows of the first case and sparsity (PNG or SVG by the file's ending).

    A line is a design's stored bits per weight: what it could do if none of the memory's bandwidth
    were lost. Points are measured.

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
    first = rows[0]
    same = ("case", "sparsity")
    rows = [row for row in rows if all(row[key] == first[key] for key in same)]
    places = {row["memory"]: row["bus_mbytes_per_s"] for row in rows}
    low, high = min(places.values()) / 1.7, max(places.values()) * 1.7
    x = np.array([low, high])
    speeds = [row["mweights_per_s"] for row in rows]
    figure, axes = plt.subplots(figsize=(9, 6), layout="constrained")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(speeds) / 3, max(speeds) * 2)
    for name in sorted({row["design"] for row in rows}, key=list(STYLES).index):
        mine = [row for row in rows if row["design"] == name]
        colour, marker, size, title = STYLES[name]
        bits = mine[0]["bits_per_weight"]
        axes.plot(x, x * 8 / bits, color=colour, linewidth=1.2, alpha=0.55, zorder=2)
        axes.plot(
            [row["bus_mbytes_per_s"] for row in mine],
            [row["mweights_per_s"] for row in mine],
            marker,
            color=colour,
            markersize=size,
            markeredgecolor="white",
            markeredgewidth=0.7,
            linestyle="none",
            label=f"{title}: {bits:.2f} bits per weight",
            zorder=3,
        )
    for place, names in _labels(places):
        axes.axvline(place, color="black", linewidth=0.6, alpha=0.25, zorder=1)
        axes.text(
            place, min(speeds) / 2.8, names, fontsize=8, ha="center", va="bottom", zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
        )  # fmt: skip
    axes.set_xlabel(
        "bandwidth that the memory delivers over the bus, MB/s "
        f"({first['bus_bits']} bits at {first['clock_mhz']:g} MHz)"
    )
    axes.set_ylabel("decoded weights, million a second")
    axes.set_title(
        f"Weights per second on the same memory: {first['case']}, sparsity "
        f"{first['sparsity']:g}, 1 bit\nLines: bandwidth over stored bits per weight. "
        "Points: measured in simulation.",
        fontsize=11,
    )
    axes.xaxis.set_major_formatter(_tick)
    axes.yaxis.set_major_formatter(_tick)
    axes.grid(which="major", alpha=0.3)
    axes.legend(frameon=True, framealpha=1, edgecolor="none", loc="upper left", fontsize=9)
    save_plot(figure, path)
    plt.close(figure)
