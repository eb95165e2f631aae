# SPDX-License-Identifier: Apache-2.0
"""Plots as files: PNG or SVG by the name's ending, whole or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.extras import require
from xorloom.sw.base.host import replaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_plot", "legend_below", "save_plot"]


def check_plot(path: Path | None) -> None:
    """Check that a plot of this name can be drawn, before the work that ends in it.

    Raises
    ------
    ConfigError
        If the name does not tell the format.
    ToolError
        If Matplotlib is not installed.
    """
    if path is None:
        return
    if path.suffix not in (".png", ".svg"):
        raise ConfigError(f"a plot's name ends in .png or .svg, not {path.name!r}")
    require("matplotlib")


def legend_below(figure: "Figure", handles: Mapping[str, Any]) -> None:
    """Put one legend of all panels below them, in the order of the titles.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Of constrained layout.
    handles : mapping of str to artist
        By title.
    """
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )


def save_plot(figure: "Figure", path: Path, *, dpi: int = 120) -> None:
    """Write a figure in the format of the name; its folder is made if it is missing.

    Raises
    ------
    OSError
        If it cannot be written; an old file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:])
