# SPDX-License-Identifier: Apache-2.0
"""Arrays that the user brings beside a model: masks, codes, saliencies."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.container import INDEX, MASK, SCALE, STREAM
from xorloom.sw.tensors.checkpoint import ModelTensor

from .spec import TensorPlan

__all__ = ["UserArrays"]


@dataclass(frozen=True)
class UserArrays:
    """Arrays that the user brings, by tensor name.

    Parameters
    ----------
    masks : mapping of name to array
        Non-zero where a weight is kept, instead of pruning.
    codes : mapping of name to uint8 or int8 array
        Codes below ``2**planes``, instead of quantizing; stored as they are, without scales. Need
        a mask.
    saliency : mapping of name to array
        What keeping each weight is worth, not negative, for an index that chooses the mask.
    """

    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    codes: Mapping[str, np.ndarray] = field(default_factory=dict)
    saliency: Mapping[str, np.ndarray] = field(default_factory=dict)

    def check(self, model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan]) -> None:
        """Check all arrays against the tensors that are compressed, before anything is computed.

        Raises
        ------
        ConfigError
            If an array does not fit, or a tensor of the model has a name that is needed.
        """
        for name in plans:
            suffixes = (
                (STREAM, INDEX, SCALE, MASK) if name in self.codes else (STREAM, INDEX, SCALE)
            )
            for taken in (name + suffix for suffix in suffixes):
                if taken in model:
                    raise ConfigError(
                        f"tensor {taken!r} is in the way of what {name!r} becomes: rename it"
                    )
        for name, given in self.codes.items():
            if name not in plans or name not in self.masks:
                raise ConfigError(
                    f"codes of {name!r} need a compressed tensor and a mask of that name"
                )
            _check_shape("codes", name, given, model[name])
        for name, mask in self.masks.items():
            if name not in plans:
                raise ConfigError(f"mask {name!r} belongs to no tensor that is compressed")
            index = plans[name].index
            if plans[name].chooses and index is not None:
                raise ConfigError(
                    f"the {index.codec} index chooses the mask and cannot keep that of {name!r} "
                    "exactly: use the bitmap or entropy index"
                )
            if mask.shape != model[name].shape:
                raise ConfigError(
                    f"mask of {name!r} is {mask.shape}, must be {model[name].shape} like the tensor"
                )
        for name, given in self.saliency.items():
            if name not in plans:
                raise ConfigError(f"saliency {name!r} belongs to no tensor that is compressed")
            if not plans[name].chooses:
                raise ConfigError(
                    f"a saliency needs an index that chooses the mask, trellis or lowrank: "
                    f"{name!r} has none"
                )
            _check_shape("saliency", name, given, model[name])


def _check_shape(what: str, name: str, array: np.ndarray, tensor: ModelTensor) -> None:
    if array.shape != tensor.shape:
        raise ConfigError(
            f"{what} of {name!r} are {array.shape}, must be {tensor.shape} like the tensor"
        )
