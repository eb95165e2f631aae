# SPDX-License-Identifier: Apache-2.0
"""Frozen coding: mask, codes, levels and seeds stay as they are, the scales are trained."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.quantize import Quantized, check_scales, dequantize
from xorloom.sw.tensors.rotation import block, columns_of

from .base import Coded, Coding, rounded

__all__ = ["FrozenCoding"]


class FrozenCoding(Coding):
    """Coding of a weight whose codes are chosen: only its scales still move.

    It takes what any coding or file has; the weight that it is registered on is not looked at, and
    stays beside as the latent weight, which gets no gradient. So there is no ``of``: make it from
    :class:`xorloom.sw.torch.coding.base.Coded`.

    Parameters
    ----------
    coded : Coded
    name : str
        Of the weight, for messages.

    Raises
    ------
    ConfigError
        If the scales do not fit the weight, or are those of groups or of another axis than 0.

    Attributes
    ----------
    scales : (rows, terms) float32 parameter
        Rounded in every forward pass as they are stored.
    """

    def __init__(self, coded: Coded, *, name: str = "weights") -> None:
        super().__init__()
        quantized, quantizer = coded.quantized, coded.quantizer
        shape = quantized.mask.shape
        if quantizer.scale == "group" or (quantizer.scale == "row" and quantizer.axis_of(shape)):
            raise ConfigError(
                f"{name}: scales that are trained must be those of rows of axis 0 or of the "
                f"tensor, not scale {quantizer.scale} of axis {quantizer.axis} (leave the weight "
                "out, or compress it with scale row)"
            )
        check_scales(quantized.scales, shape, quantizer, name)
        self.name = name
        self._coded = coded
        half = quantized.scales.dtype == np.float16
        self._stored = torch.float16 if half else torch.float32
        self.scales = torch.nn.Parameter(torch.from_numpy(quantized.scales.astype(np.float32)))
        self._factor = 1.0
        if quantized.rotation is not None:
            self._factor = 1.0 / math.sqrt(block(columns_of(shape)))
        units = np.stack([self._unit(term) for term in range(quantizer.terms)])
        self.register_buffer("units", torch.from_numpy(units), persistent=False)

    def _unit(self, term: int) -> np.ndarray:
        """Return what a scale of 1 means, divided by the rotation's factor: whole numbers."""
        quantized, quantizer = self._coded.quantized, self._coded.quantizer
        scales = np.zeros_like(quantized.scales, np.float32)
        scales[:, term] = 1
        unit = dequantize(replace(quantized, scales=scales), quantizer, name=self.name)
        return np.rint(unit / np.float32(self._factor))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the decoded weight."""
        scales = rounded(self.scales, self._stored)
        found: torch.Tensor = _Decoded.apply(scales, self.units, self._factor, self._exactly)
        return found.reshape(latent.shape).to(latent.dtype)

    def _exactly(self, scales: torch.Tensor) -> torch.Tensor | None:
        """Return weights of a rotation with float32 scales, whose products are rounded before it.

        Those of float16 scales and 8-bit levels are exact, so :class:`_Decoded` needs no rotation.
        """
        quantized = self._coded.quantized
        if quantized.rotation is None or self._stored == torch.float16:
            return None
        own = replace(quantized, scales=scales.cpu().numpy())
        return torch.from_numpy(dequantize(own, self._coded.quantizer, name=self.name)).to(scales)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the weight itself: it has no part in what is decoded."""
        return weight.detach()

    def coded(self, latent: torch.Tensor) -> Coded:
        """Return what goes into the file: all as it was, with the scales of now.

        Raises
        ------
        ConfigError
            If a scale is beyond what is stored.
        """
        with torch.no_grad():
            scales = self.scales.to(self._stored).cpu().numpy()
        if not np.isfinite(scales).all():
            raise ConfigError(
                f"{self.name}: a scale is beyond {scales.dtype} (train with a lower learning rate)"
            )
        quantized: Quantized = replace(self._coded.quantized, scales=scales)
        return replace(self._coded, quantized=quantized)

    def training_parameters(self) -> list[dict[str, Any]]:
        """Return the scales: their steps are relative to their size."""
        size = float(self.scales.detach().abs().mean())
        return [{"params": [self.scales], "lr_factor": size or 1.0}]


class _Decoded(torch.autograd.Function):
    """Weights of scales, term after term in the order of ``dequantize``, and the scales' gradient.

    Products with a rotation's whole numbers are exact in double precision, and rounded once.
    """

    @staticmethod
    def forward(
        ctx: Any, scales: torch.Tensor, units: torch.Tensor, factor: float, exactly: Any
    ) -> torch.Tensor:
        ctx.save_for_backward(units)
        ctx.rows, ctx.factor = len(scales), factor
        found: torch.Tensor | None = exactly(scales)
        if found is not None:
            return found
        flat = units.reshape(len(units), max(len(scales), 1), -1)
        if factor != 1.0:
            turned = (flat[0].to(torch.float64) * scales.to(torch.float64)).mul_(factor)
            return turned.to(torch.float32)
        found = flat[0] * scales[:, :1]
        for term in range(1, len(units)):
            found += flat[term] * scales[:, term : term + 1]
        return found

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        (units,) = ctx.saved_tensors
        flat = units.reshape(len(units), ctx.rows, -1)
        own = grad.reshape(ctx.rows, -1)
        sums = torch.stack([(own * unit).sum(dim=1) for unit in flat], dim=1)
        return sums * ctx.factor, None, None, None
