# SPDX-License-Identifier: Apache-2.0
"""Biases that take up the mean error of the outputs of a matrix whose values a codec chooses."""

from collections.abc import Mapping

from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.tensors.checkpoint import ModelTensor

__all__ = ["bias_of", "biases_of"]


def bias_of(
    model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan], name: str
) -> str | None:
    """Return the bias that goes with a matrix ``X.weight``: ``X.bias``, if that passes through.

    One that several names share is left alone.
    """
    stem, weight, rest = name.rpartition("weight")
    bias = f"{stem}bias"
    if not weight or rest or (stem and not stem.endswith(".")) or bias not in model:
        return None
    tensor = model[bias]
    is_free = bias not in plans and bias not in getattr(model, "ties", {}).values()
    fits = tensor.is_float and tensor.shape == model[name].shape[:1]
    return bias if is_free and fits else None


def biases_of(
    model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan], given: UserArrays
) -> dict[str, str]:
    """Return the matrix of every bias that takes up the mean of its outputs' error."""
    if given.calibration is None:
        return {}
    return {
        bias: name
        for name in given.searched(plans)
        if given.calibration[name].mean is not None
        if (bias := bias_of(model, plans, name)) is not None
    }
