# SPDX-License-Identifier: Apache-2.0
"""Values that a codec chooses itself: rotated, calibrated, and the biases that make up for them."""

from collections.abc import Mapping

import numpy as np
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.loss import relative_error
from xorloom.sw.tensors.quantize import Quantized, dequantize
from xorloom.sw.tensors.rotation import columns_of
from xorloom.sw.value.direct.compensate import corrected_bias
from xorloom.sw.value.plane import choose_value

from .part import Part

__all__ = ["bias_of", "biases_of", "corrected", "valued"]


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


def corrected(
    model: Mapping[str, ModelTensor],
    name: str,
    bias: str,
    quantized: Quantized,
    plan: TensorPlan,
    calibration: Calibration,
) -> np.ndarray:
    """Return the bias of a matrix, changed to take up the mean of the outputs' error."""
    weights = model[name].weights()
    rows = (weights.shape[0], columns_of(weights.shape))
    values = dequantize(quantized, plan.quantizer)
    return corrected_bias(
        model[bias].load(),
        weights.reshape(rows),
        values.reshape(rows),
        calibration.of(name, rows[1]),
    )


def valued(
    tensor: ModelTensor,
    weights: np.ndarray,
    plan: TensorPlan,
    given: UserArrays,
    *,
    zeros: int,
    has_bias: bool,
    threads: int | None = None,
) -> Part:
    """Let the codec choose all values of a tensor, rotated if the plan says so.

    Parameters
    ----------
    tensor : ModelTensor
    weights : float array of its shape
    plan : TensorPlan
    given : UserArrays
    zeros : int
        Those that are a mask of the tensor's own, which is lost.
    has_bias : bool
        Whether a bias takes up the error of the inputs' mean.
    threads : int, optional
        All available cores by default; the result is the same.
    """
    notes = []
    if zeros:
        notes.append(
            f"its {zeros:,} zeros may come back as small weights: the {plan.config.codec} value "
            "codec keeps no mask (--value window does)"
        )
    moments = None
    if given.calibration is not None:
        moments = given.calibration.of(tensor.name, columns_of(weights.shape))
    choice = choose_value(
        weights,
        plan.config,
        plan.quantizer,
        plan.order,
        importance=given.saliency.get(tensor.name),
        moments=moments,
        has_bias=has_bias,
        rotation=plan.rotation,
        threads=threads,
        name=tensor.label,
    )
    quantized = Quantized(
        np.ones(weights.shape, np.bool_),
        choice.codes,
        choice.scales,
        notes=(*notes, *choice.notes),
        levels=choice.streams.levels,
        rotation=plan.rotation,
    )
    error = relative_error(weights, quantized, plan.quantizer, dtype=tensor.dtype)
    return Part(quantized, error, None, plan.order, "all", values=choice.streams)
