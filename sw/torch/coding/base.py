# SPDX-License-Identifier: Apache-2.0
"""Coding: what stands between the latent weights that a trainer moves and the weights of a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    import numpy as np
    from xorloom.sw.index.masks import Choice
    from xorloom.sw.spec.config import ValueConfig
    from xorloom.sw.spec.index_config import IndexConfig
    from xorloom.sw.tensors.quantize import Quantized, Quantizer
    from xorloom.sw.torch.plan import LayerPlan
    from xorloom.sw.value.direct.stream import DirectStreams

__all__ = ["Coded", "Coding", "rounded"]


@dataclass(frozen=True)
class Coded:
    """What goes into the file for one weight; NumPy arrays only.

    Parameters
    ----------
    quantized : Quantized
        Mask, codes and scales; the scales have the dtype that is stored.
    quantizer : Quantizer
    value : ValueConfig
        Parameters of the value codec.
    choice : Choice, optional
        A mask that an index codec chose, with the streams that decode to it.
    index : IndexConfig, optional
        Index that stores a given mask; ``None``: entropy, or a bitmap where that does not fit.
    seeds : DirectStreams, optional
        Levels and seeds, of the direct codec.
    """

    quantized: Quantized
    quantizer: Quantizer
    value: ValueConfig
    choice: Choice | None = None
    index: IndexConfig | None = None
    seeds: DirectStreams | None = None


class Coding(torch.nn.Module):
    """Parametrization of a weight: latent weights in, the weights that the file decodes to out.

    Registered by :func:`xorloom.sw.torch.pruning.prune` with ``torch.nn.utils.parametrize``.
    Whatever :meth:`forward` returns is exactly what comes back from the file, in training as well:
    scales are rounded as they are stored, and planes are summed in the order of
    :func:`xorloom.sw.tensors.quantize.dequantize`. Gradients pass straight through.
    """

    @classmethod
    def of(
        cls,
        weight: torch.Tensor,
        plan: LayerPlan,
        *,
        name: str = "weights",
        importance: np.ndarray | None = None,
    ) -> Coding:
        """Make the coding of a weight by its plan.

        Parameters
        ----------
        weight : torch.Tensor
            The dense weight: masks are chosen and scales fitted by it.
        plan : LayerPlan
        name : str
            Of the weight, for messages.
        importance : array of the weight's shape, not negative, optional
            What keeping each weight is worth; magnitudes by default.

        Raises
        ------
        ConfigError
            If the plan does not fit the weight.
        """
        raise NotImplementedError

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the decoded weight, of the latent's shape and dtype."""
        raise NotImplementedError

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return latent weights for a dense weight."""
        raise NotImplementedError

    def coded(self, latent: torch.Tensor) -> Coded:
        """Return what goes into the file."""
        raise NotImplementedError

    def training_parameters(self) -> list[dict[str, Any]]:
        """Return groups for an optimizer of parameters that need another learning rate.

        Each has ``params`` and ``lr_factor``, which the learning rate is multiplied with.
        """
        return []


class _Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return scales.to(dtype).to(torch.float32)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad, None


def rounded(scales: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return scales as a file holds them, float32; gradients pass straight through.

    Parameters
    ----------
    scales : float32 tensor
    dtype : torch.dtype
        ``float16`` or ``float32``.
    """
    found: torch.Tensor = _Rounded.apply(scales, dtype)
    return found
