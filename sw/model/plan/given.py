# SPDX-License-Identifier: Apache-2.0
"""Arrays that the user brings beside a model: masks, codes, saliencies."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.container import INDEX, MASK, SCALE, STREAM
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.rotation import columns_of

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
        What keeping each weight is worth, not negative, for an index that chooses the mask; with a
        codec that chooses the values, what its squared error counts.
    calibration : Calibration, optional
        Moments of the inputs of all matrices whose codec chooses the values.
    """

    masks: Mapping[str, np.ndarray] = field(default_factory=dict)
    codes: Mapping[str, np.ndarray] = field(default_factory=dict)
    saliency: Mapping[str, np.ndarray] = field(default_factory=dict)
    calibration: Calibration | None = None

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
            _check_stores("codes", name, plans[name])
            _check_shape("codes", name, given, model[name])
        for name, mask in self.masks.items():
            if name not in plans:
                raise ConfigError(f"mask {name!r} belongs to no tensor that is compressed")
            _check_stores("a mask", name, plans[name])
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
            if plans[name].config.chooses_values:
                self._check_importance(name, plans[name])
            elif not plans[name].chooses:
                raise ConfigError(
                    f"a saliency needs an index that chooses the mask, trellis or lowrank: "
                    f"{name!r} has none"
                )
            _check_shape("saliency", name, given, model[name])
        self._check_calibration(model, plans)

    def _check_importance(self, name: str, plan: TensorPlan) -> None:
        if self.calibration is not None or plan.rotation is not None:
            other = "a rotation" if self.calibration is None else "a calibration"
            raise ConfigError(
                f"saliency of {name!r} does not go with {other}: it is of single weights (leave "
                "one of them out)"
            )

    def _check_calibration(
        self, model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan]
    ) -> None:
        if self.calibration is None:
            return
        chosen = [name for name, plan in plans.items() if plan.config.chooses_values]
        if not chosen:
            raise ConfigError(
                f"{self.calibration.where}: a calibration goes with --value direct, and no tensor "
                "has it"
            )
        for name in chosen:
            shape = model[name].shape
            if len(shape) < 2:
                raise ConfigError(
                    f"{self.calibration.where}: {name}: a calibration is of matrices, not of shape "
                    f"{shape} (leave the tensor out)"
                )
            self.calibration.of(name, columns_of(shape))
            if plans[name].order not in ("auto", "column"):
                raise ConfigError(
                    f"{name!r}: with a calibration, columns are chosen in turn: order must be "
                    f"column, not {plans[name].order}"
                )

    def unused(self, plans: Mapping[str, TensorPlan]) -> list[str]:
        """Return the tensors of the calibration that have no use for it."""
        chosen = {name for name, plan in plans.items() if plan.config.chooses_values}
        return [name for name in self.calibration or () if name not in chosen]


def _check_stores(what: str, name: str, plan: TensorPlan) -> None:
    if plan.config.chooses_values:
        raise ConfigError(
            f"{what} of {name!r}: the {plan.config.codec} value codec keeps every weight and "
            "chooses the codes itself: use --value window"
        )


def _check_shape(what: str, name: str, array: np.ndarray, tensor: ModelTensor) -> None:
    if array.shape != tensor.shape:
        raise ConfigError(
            f"{what} of {name!r} are {array.shape}, must be {tensor.shape} like the tensor"
        )
