# SPDX-License-Identifier: Apache-2.0
"""Files of the user's own masks, codes and saliencies, as ``compress`` takes them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from xorloom.sw.index.masks import Choice

__all__ = ["as_bytes", "read_arrays", "read_masks"]


def read_masks(masks: Path | None, choices: Path | None) -> "dict[str, np.ndarray | Choice]":
    """Read the user's masks and choices."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.index.masks import load_choices

    plain = read_arrays(masks, "mask")
    chosen = {} if choices is None else load_choices(choices)
    if both := sorted(set(plain) & set(chosen)):
        raise ConfigError(f"{both[0]!r} has a mask in {masks} and in {choices}: leave one out")
    return {**plain, **chosen}


def read_arrays(path: Path | None, what: str, kinds: str = "bui") -> "dict[str, np.ndarray]":
    """Read a file of the user's own masks, codes or saliencies."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.model.plan.source import open_plain

    if path is None:
        return {}
    arrays = {}
    for name, tensor in open_plain(path).items():
        arrays[name] = tensor.load()
        fits = not tensor.foreign and arrays[name].dtype.kind in kinds
        if not (tensor.is_float if kinds == "f" else fits):
            found = tensor.dtype if tensor.foreign else arrays[name].dtype
            wanted = "floating point" if kinds == "f" else "bool or integer"
            raise ConfigError(f"{path}: {what} of {name!r} is {found}, not {wanted}")
    return arrays


def as_bytes(codes: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
    """Return codes of any integer type as int8 or uint8; refuse those that need more bits."""
    import numpy as np
    from xorloom.sw.base.errors import ConfigError

    found = {}
    for name, array in codes.items():
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        if low < -128 or high > (127 if low < 0 else 255):
            raise ConfigError(
                f"codes of {name!r} must be between 0 and 255, or between -128 and 127, not "
                f"{low} to {high}"
            )
        signed = low < 0 or array.dtype == np.int8
        found[name] = array.astype(np.int8 if signed else np.uint8, copy=False)
    return found
