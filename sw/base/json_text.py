# SPDX-License-Identifier: Apache-2.0
"""JSON text of files that strangers made: what two readers could read in two ways is refused."""

import json
from typing import Any

__all__ = ["read_json"]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object whose keys come once; keys and text are such that UTF-8 can hold them."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key {key!r} comes twice")
        for text in (key, value):
            if isinstance(text, str) and any("\ud800" <= char <= "\udfff" for char in text):
                raise ValueError(f"{text!r} is not Unicode text (it has a lone surrogate)")
        found[key] = value
    return found


def read_json(text: str | bytes) -> Any:
    """Parse JSON; a key that comes twice, or text that is not Unicode, is an error.

    Raises
    ------
    ValueError
        With what is wrong, also where the text is nested too deep.
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("nested too deep") from None
