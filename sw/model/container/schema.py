# SPDX-License-Identifier: Apache-2.0
"""Values of a JSON document whose type is checked before they are used."""

import math
from typing import Any

from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.tensors.safetensors_file import DIMENSIONS_MAX

__all__ = ["as_keys", "as_list", "as_object", "as_positive", "as_shape", "as_text"]


def as_object(what: str, value: Any) -> dict[str, Any]:
    """Return a value that is an object; ``what`` names it in the error."""
    if not isinstance(value, dict):
        raise ConfigError(f"{what} must be an object, not {type(value).__name__}")
    return value


def as_list(what: str, value: Any) -> list[Any]:
    """Return a value that is a list."""
    if not isinstance(value, list):
        raise ConfigError(f"{what} must be a list, not {type(value).__name__}")
    return value


def as_text(what: str, value: Any) -> str:
    """Return a value that is text."""
    if not isinstance(value, str):
        raise ConfigError(f"{what} must be text, not {value!r}")
    return value


def as_keys(what: str, value: Any, keys: set[str]) -> dict[str, Any]:
    """Return an object that has exactly these keys."""
    found = as_object(what, value)
    if set(found) != keys:
        odd = ", ".join(repr(key) for key in sorted(set(found) ^ keys)[:5])
        raise ConfigError(f"{what} has missing or unknown keys: {odd}")
    return found


def as_shape(what: str, value: Any, most: int) -> tuple[int, ...]:
    """Return the shape of an array: dimensions from 0 to ``most``."""
    shape = as_list(what, value)
    if len(shape) > DIMENSIONS_MAX:
        raise ConfigError(f"{what} must have at most {DIMENSIONS_MAX} dimensions, not {len(shape)}")
    return tuple(check_range(what, n, 0, most) for n in shape)


def as_positive(what: str, value: Any) -> float | None:
    """Return a number that is finite and not negative; null is ``None``."""
    if value is None:
        return None
    try:
        if type(value) in (int, float) and math.isfinite(value) and value >= 0:
            return float(value)
    except OverflowError:  # an integer beyond all floating-point numbers
        pass
    raise ConfigError(f"{what} must be null or a number that is not negative, not {value!r}")
