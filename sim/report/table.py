# SPDX-License-Identifier: Apache-2.0
"""Tables of the report: rows of results that have no figure of their own."""

from typing import Any

from .figure import Figure, Table, number
from .input import Piece

__all__ = ["cell", "table_figure"]


def cell(value: Any) -> str:
    """Return any JSON value as a text."""
    if isinstance(value, bool | int | float) or value is None:
        return number(value)
    if isinstance(value, list):
        return " ".join(cell(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(item)}" for key, item in value.items())
    return str(value)


def table_figure(piece: Piece, key: str) -> Figure:
    """List the rows of a result that has no figure of its own."""
    columns = tuple(
        k for k in dict.fromkeys(k for row in piece.rows for k in row) if k != "command"
    )
    rows = tuple(tuple(cell(row.get(column, "")) for column in columns) for row in piece.rows)
    return Figure(
        key,
        piece.command.removeprefix("xorloom "),
        "The command's result as it is.",
        (piece.command,),
        Table(columns, rows),
    )
