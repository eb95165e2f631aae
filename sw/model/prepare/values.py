# SPDX-License-Identifier: Apache-2.0
"""Values that a codec chooses itself: rotated, calibrated, and biases that make up for them."""

import numpy as np
from xorloom.sw.tensors.loss import relative_error
from xorloom.sw.tensors.quantize import Quantized, dequantize
from xorloom.sw.tensors.rotation import columns_of
from xorloom.sw.value.direct.compensate import corrected_bias
from xorloom.sw.value.plane import choose_value

from .part import Part
from .unit import Unit

__all__ = ["corrected", "valued"]


def corrected(unit: Unit, quantized: Quantized) -> np.ndarray:
    """Return the bias of a unit, changed to take up the mean of the outputs' error."""
    assert unit.bias is not None
    assert unit.given.calibration is not None
    weights = unit.tensor.weights()
    rows = (weights.shape[0], columns_of(weights.shape))
    values = dequantize(quantized, unit.plan.quantizer)
    return corrected_bias(
        unit.bias.load(),
        weights.reshape(rows),
        values.reshape(rows),
        unit.given.calibration.of(unit.name, rows[1]),
    )


def valued(unit: Unit, weights: np.ndarray, *, zeros: int, threads: int | None = None) -> Part:
    """Let the codec choose all values of a tensor, rotated if the plan says so.

    Parameters
    ----------
    unit : Unit
    weights : float array of its tensor's shape
    zeros : int
        Those that are a mask of the tensor's own, which is lost.
    threads : int, optional
        All available cores by default; the result is the same.
    """
    tensor, plan, given = unit.tensor, unit.plan, unit.given
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
        has_bias=unit.has_bias,
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
