# SPDX-License-Identifier: Apache-2.0
"""Plots as files: PNG or SVG by the name's ending, whole or not at all."""

from pathlib import Path
from typing import TYPE_CHECKING

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.extras import require
from xorloom.sw.base.host import replaced

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["check_plot", "save_plot"]


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
