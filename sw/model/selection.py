# SPDX-License-Identifier: Apache-2.0
"""Selection: which tensors are compressed, and what the user brings for them."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.checkpoint import ModelTensor

from .container import INDEX, MASK, SCALE, STREAM
from .spec import CompressSpec

__all__ = ["UserArrays", "select"]


def select(model: Mapping[str, ModelTensor], include: Sequence[str], min_size: int) -> list[str]:
    """Return the names of the tensors to compress, in file order.

    Raises
    ------
    ConfigError
        If a pattern matches nothing, or names a tensor that cannot be quantized.
    """
    qualified = {
        name
        for name, t in model.items()
        if t.is_float and len(t.shape) >= 2 and t.size >= max(1, min_size)
    }
    names: set[str] = set()
    for pattern in include:
        if pattern in model:
            if not model[pattern].is_float:
                raise ConfigError(
                    f"tensor {pattern!r} is {model[pattern].dtype}, not floating point"
                )
            if not model[pattern].size:
                raise ConfigError(f"tensor {pattern!r} of shape {model[pattern].shape} is empty")
            names.add(pattern)
            continue
        found = {name for name in qualified if fnmatch.fnmatchcase(name, pattern)}
        if not found:
            known = ", ".join(sorted(qualified)[:3])
            raise ConfigError(f"no matrix matches {pattern!r} (the model has: {known} ...)")
        names |= found
    if not include:
        names = qualified
    if not names:
        raise ConfigError(f"no tensor has two dimensions and {min_size} elements (lower min_size)")
    return [name for name in model if name in names]


@dataclass(frozen=True)
class UserArrays:
    """Arrays that the user brings, by tensor name.

    Parameters
    ----------
    masks : mapping of name to array
        Non-zero where a weight is kept, instead of pruning.
    codes : mapping of name to uint8 array
        Codes below ``2**planes``, instead of quantizing; stored as they are, without scales. Need
        a mask.
    saliency : mapping of name to array
        What keeping each weight is worth, not negative, for an index that chooses the mask.
    """

    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    codes: Mapping[str, np.ndarray] = field(default_factory=dict)
    saliency: Mapping[str, np.ndarray] = field(default_factory=dict)

    def check(
        self, model: Mapping[str, ModelTensor], names: Sequence[str], spec: CompressSpec
    ) -> None:
        """Check all arrays against the tensors that are compressed, before anything is computed.

        Raises
        ------
        ConfigError
            If an array does not fit, or a tensor of the model has a name that is needed.
        """
        for name in names:
            suffixes = (
                (STREAM, INDEX, SCALE, MASK) if name in self.codes else (STREAM, INDEX, SCALE)
            )
            for taken in (name + suffix for suffix in suffixes):
                if taken in model:
                    raise ConfigError(
                        f"tensor {taken!r} is in the way of what {name!r} becomes: rename it"
                    )
        for name, given in self.codes.items():
            if name not in names or name not in self.masks:
                raise ConfigError(
                    f"codes of {name!r} need a compressed tensor and a mask of that name"
                )
            _check_shape("codes", name, given, model[name])
        if self.masks and spec.chooses and spec.index is not None:
            raise ConfigError(
                f"the {spec.index.codec} index chooses the mask and cannot keep that of "
                f"{next(iter(self.masks))!r} exactly: use the bitmap or entropy index"
            )
        unknown = sorted(set(self.masks) - set(names))
        if unknown:
            raise ConfigError(f"mask {unknown[0]!r} belongs to no tensor that is compressed")
        for name, mask in self.masks.items():
            if mask.shape != model[name].shape:
                raise ConfigError(
                    f"mask of {name!r} is {mask.shape}, must be {model[name].shape} like the tensor"
                )
        for name, given in self.saliency.items():
            if not spec.chooses:
                raise ConfigError(
                    "a saliency needs an index that chooses the mask: trellis or lowrank"
                )
            if name not in names:
                raise ConfigError(f"saliency {name!r} belongs to no tensor that is compressed")
            _check_shape("saliency", name, given, model[name])


def _check_shape(what: str, name: str, array: np.ndarray, tensor: ModelTensor) -> None:
    if array.shape != tensor.shape:
        raise ConfigError(
            f"{what} of {name!r} are {array.shape}, must be {tensor.shape} like the tensor"
        )
