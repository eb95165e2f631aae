# SPDX-License-Identifier: Apache-2.0
"""Files of arrays that go into ``compress`` beside the model, and the choices that come out."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from xorloom.sw.index.masks import Choice
    from xorloom.sw.model.plan.spec import TensorPlan

__all__ = ["as_bytes", "check_chosen", "read_arrays", "read_masks", "write_choices"]


def read_masks(masks: Path | None, choices: Path | None) -> "dict[str, np.ndarray | Choice]":
    """Read the user's masks and choices."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.index.masks import load_choices

    plain = read_arrays(masks, "mask")
    chosen = {} if choices is None else load_choices(choices)
    if both := sorted(set(plain) & set(chosen)):
        raise ConfigError(f"{both[0]!r} has a mask in {masks} and in {choices}: leave one out")
    return {**plain, **chosen}


def check_chosen(path: Path, plans: "Mapping[str, TensorPlan]") -> None:
    """Check that choices can be written: before the work, of which nothing should be lost."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.index.masks import check_file

    check_file(path, plans)
    if not any(plan.chooses for plan in plans.values()):
        raise ConfigError(
            f"{path}: there are no choices to write, as no tensor's index chooses its mask (give "
            "index bits, --index lowrank or --index hashed)"
        )


def write_choices(output: Path, path: Path, plans: "Mapping[str, TensorPlan]") -> str:
    """Write the choices of the compressed model; return what to tell of it."""
    from xorloom.sw.index.masks import save_choices
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.plan.choices import choices_of
    from xorloom.sw.tensors.checkpoint.model import listed

    found = choices_of(read_container(output, sys.maxsize))
    missing = [name for name, plan in plans.items() if plan.chooses and name not in found]
    without = f"; not of {listed(missing, 3)}, whose masks no choosing index holds"
    if not found:
        return f"{path} is not written: {without.removeprefix('; ')}"
    save_choices(path, found)
    return f"{path}: choices of {listed(list(found), 3)}{without if missing else ''}"


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
