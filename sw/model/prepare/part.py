# SPDX-License-Identifier: Apache-2.0
"""Part: a tensor before it is encoded."""

from dataclasses import dataclass
from typing import Any

from xorloom.sw.index.plane import EncodedIndex
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.tensors.loss import Suggestion
from xorloom.sw.tensors.quantize import Quantized

__all__ = ["Part"]


@dataclass(frozen=True)
class Part:
    """Tensor before it is encoded.

    Parameters
    ----------
    quantized : Quantized
    error : float or None
        Relative squared error; ``None`` of the user's own codes, and of trained weights.
    better : Suggestion or None
        Quantizer of fewer planes that has less error.
    order : str
        Weight order, or ``auto``.
    origin : str
        Where the mask comes from: ``given`` by the user, a ``choice`` that the user brings, the
        tensor's ``own``, ``pruned`` by magnitude or ``chosen`` by the index; ``all``: every weight
        is kept.
    zeros : int
        Weights that are exactly zero although a chosen mask keeps them.
    slices_per_stream : int, optional
    chosen : EncodedIndex, optional
        Both only where the mask is a chosen one.
    index : IndexConfig, optional
        Index that stores the mask, where the one of the plan cannot.
    values : optional
        Streams of values that the codec chose, see
        :func:`xorloom.sw.value.plane.choose_value`.
    """

    quantized: Quantized
    error: float | None
    better: Suggestion | None
    order: str
    origin: str
    zeros: int = 0
    slices_per_stream: int | None = None
    chosen: EncodedIndex | None = None
    index: IndexConfig | None = None
    values: Any = None
