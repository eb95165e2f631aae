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
            if isinstance(text, str):
                _check_unicode(text)
        found[key] = value
    return found


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not Unicode text (it has a lone surrogate)") from None


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def read_json(text: str | bytes) -> Any:
    """Parse JSON; keys that come twice, NaN, Infinity, and text that is not Unicode are errors.

    Parameters
    ----------
    text : str or bytes
        Bytes are UTF-8 without a byte order mark.

    Raises
    ------
    ValueError
        With what is wrong, also where the text is nested too deep.
    """
    if isinstance(text, bytes):
        text = text.decode()  # the parser would guess UTF-16 and UTF-32, and skip the mark
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
