# SPDX-License-Identifier: Apache-2.0
"""Masked coding: pruned weights with binary-coded values, trained straight through."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.masks import Choice
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig, NoneConfig
from xorloom.sw.spec.weight_format import mask_lanes
from xorloom.sw.tensors.prune import check_weights
from xorloom.sw.tensors.quantize import Quantized, Quantizer, quantize
from xorloom.sw.torch.plan import LayerPlan

from .base import Coded, Coding, rounded
from .masks import make_mask

__all__ = ["MaskedCoding"]

_SCALE_RATE = 10
"""Learning rate of scales, relative to their size; see docs/decisions/training.md."""


class MaskedCoding(Coding):
    """Coding of a pruned weight: a mask, and binary codes with learned scales.

    A kept weight is ``sum_b scale[b] * sign[b]``: the signs are those of the latent weight, then of
    what the planes before leave of it. What is pruned is 0. Scales are learned.

    Parameters
    ----------
    plan : LayerPlan
    mask : bool array or Choice
    scales : (rows, planes) float16 or float32 array
        In the dtype in which they are stored.
    name : str
        Of the weight, for messages.

    Attributes
    ----------
    fade : float
        What pruned weights count in forward passes while a schedule lets them fade out; 0: nothing.
        Above 0 the weight is not what a file can hold.
    dense_gradient : bool
        Pruned latent weights get gradients too, so that they can come back.
    clip : float, optional
        Latent weights beyond so many times the sum of the scales get no gradient.
    updates : int
        Changes of the mask that a schedule has made.
    """

    def __init__(
        self,
        plan: LayerPlan,
        mask: np.ndarray | Choice,
        scales: np.ndarray,
        *,
        name: str = "weights",
    ) -> None:
        super().__init__()
        self.plan, self.name = plan, name
        self.fade, self.dense_gradient, self.updates = 0.0, False, 0
        self.clip: float | None = None
        self._stored = torch.float16 if scales.dtype == np.float16 else torch.float32
        self.scales = torch.nn.Parameter(torch.from_numpy(scales.astype(np.float32)))
        self.register_buffer("mask", torch.ones(()))
        self.set_mask(mask)

    @classmethod
    def of(
        cls,
        weight: torch.Tensor,
        plan: LayerPlan,
        *,
        name: str = "weights",
        importance: np.ndarray | None = None,
    ) -> MaskedCoding:
        """Make the coding of a weight: choose the mask, fit the scales."""
        dense = check_weights(_array(weight), name)
        mask = make_mask(dense, plan, importance, name=name)
        scales = _fitted(dense, mask if isinstance(mask, np.ndarray) else mask.mask, plan, name)
        return cls(plan, mask, scales, name=name)

    @property
    def value(self) -> ValueConfig:
        """The value decoder."""
        return WindowConfig() if self.plan.value == "window" else BlockConfig()

    def fit_scales(self, weights: np.ndarray) -> None:
        """Fit the scales to weights under the mask in force."""
        scales = _fitted(weights, self.mask.cpu().numpy(), self.plan, self.name)
        self._stored = torch.float16 if scales.dtype == np.float16 else torch.float32
        with torch.no_grad():
            self.scales.copy_(torch.from_numpy(scales.astype(np.float32)))

    @property
    def quantizer(self) -> Quantizer:
        """What codes and scales mean."""
        dtype = "float16" if self._stored == torch.float16 else "float32"
        return Quantizer(planes=self.plan.planes, scale=self.plan.scale, scale_dtype=dtype)

    def set_mask(self, mask: np.ndarray | Choice) -> None:
        """Take another mask; scales and latent weights stay."""
        self.choice = None if isinstance(mask, np.ndarray) else mask
        array = mask if isinstance(mask, np.ndarray) else mask.mask
        self.mask = torch.from_numpy(np.array(array, np.bool_))

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the decoded weight."""
        scales = rounded(self.scales, self._stored)
        found: torch.Tensor = _Decoded.apply(
            latent.to(torch.float32), scales, self.mask, self.clip, self.dense_gradient
        )
        if self.fade:
            found = found + self.fade * torch.where(self.mask, 0.0, latent.to(torch.float32))
        return found.to(latent.dtype)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the dense weight itself: latent weights are on its scale."""
        return weight.detach().clone()

    def coded(self, latent: torch.Tensor) -> Coded:
        """Return mask, codes and scales.

        Raises
        ------
        ConfigError
            If a schedule still lets pruned weights fade out.
        """
        if self.fade:
            raise ConfigError(
                f"{self.name}: pruned weights still count {self.fade:g}: bring the schedule to its "
                "end, handle.step(1), before the file is written"
            )
        with torch.no_grad():
            scales = rounded(self.scales, self._stored)
            codes = torch.zeros(latent.shape, dtype=torch.uint8, device=latent.device)
            for b, sign in enumerate(_signs(latent.to(torch.float32), scales)):
                codes |= (sign > 0).to(torch.uint8) << b
            codes = torch.where(self.mask, codes, 0)
        return Coded(
            Quantized(
                self.mask.cpu().numpy().copy(),
                codes.cpu().numpy(),
                scales.detach().to(self._stored).cpu().numpy(),
            ),
            self.quantizer,
            self.value,
            self.choice,
            self._index(),
        )

    def _index(self) -> IndexConfig | None:
        if self.plan.mask != "all" or self.plan.value == "block":
            return None
        lanes = mask_lanes(self.value, self.plan.planes)
        return NoneConfig(n_out=lanes, bus_bits=self.value.bus_bits)

    def training_parameters(self) -> list[dict[str, Any]]:
        """Return the scales: their steps are relative to their size."""
        size = float(self.scales.detach().abs().mean())
        return [{"params": [self.scales], "lr_factor": min(1.0, _SCALE_RATE * size) or 1.0}]

    def get_extra_state(self) -> dict[str, Any]:
        """Return what is in no tensor: the choice's seeds and layout, and the schedule's state."""
        state: dict[str, Any] = {
            "fade": self.fade,
            "dense_gradient": self.dense_gradient,
            "updates": self.updates,
            "stored": self.quantizer.scale_dtype,
        }
        if self.choice is not None:
            state |= {
                "seeds": torch.frombuffer(bytearray(self.choice.seeds), dtype=torch.uint8),
                "order": self.choice.order,
                "codec": self.choice.index.codec,
                "index": self.choice.index.to_dict(),
                "slices_per_stream": self.choice.slices_per_stream,
            }
        return state

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_extra_state` returned; the mask is loaded before.

        Raises
        ------
        ConfigError
            If it is of another kind of mask than the plan's.
        """
        if "fade" not in state:
            raise ConfigError(
                f"{self.name}: the state dict has seeds or scales alone, the plan says a mask, "
                f"{self.plan.mask} (prune with the plan that it was made with)"
            )
        self.fade, self.dense_gradient = state["fade"], state["dense_gradient"]
        self.updates, self._stored = state["updates"], getattr(torch, state["stored"])
        self.choice = None
        if "seeds" not in state:
            return
        if state["codec"] != self.plan.mask:
            raise ConfigError(
                f"{self.name}: the state dict has a mask of the {state['codec']} index, the plan "
                f"says {self.plan.mask} (prune with the plan that it was made with)"
            )
        self.choice = Choice(
            mask=self.mask.cpu().numpy().copy(),
            seeds=bytes(state["seeds"].cpu().numpy()),
            order=state["order"],
            index=INDEX_CODECS[state["codec"]].from_dict(state["index"]),
            slices_per_stream=state["slices_per_stream"],
        )


def _array(weight: torch.Tensor) -> np.ndarray:
    return np.asarray(weight.detach().to(torch.float32).cpu().numpy())


def _fitted(dense: np.ndarray, mask: np.ndarray, plan: LayerPlan, name: str) -> np.ndarray:
    """Return scales of least squared error, positive, the largest first."""
    method = "binary" if plan.planes == 1 else "alternating"
    how = Quantizer(method=method, planes=plan.planes, scale=plan.scale)
    scales = quantize(dense, mask, how, fixed_mask=True, name=name).scales
    return np.sort(np.abs(scales), axis=1)[:, ::-1].copy()


def _signs(latent: torch.Tensor, scales: torch.Tensor) -> list[torch.Tensor]:
    """Return the signs of every plane, 1 or -1; (rows, planes) scales."""
    found, rest, one = [], latent, torch.ones((), device=latent.device)
    for b in range(scales.shape[1]):
        found.append(torch.copysign(one, rest))
        if b + 1 < scales.shape[1]:
            rest = torch.addcmul(rest, found[-1], _spread(scales[:, b], latent), value=-1)
    return found


def _spread(scale: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    """Return the scales of rows, or of the tensor, so that they broadcast."""
    return scale.reshape(-1, *(1,) * (latent.ndim - 1)) if latent.ndim > 1 else scale


class _Decoded(torch.autograd.Function):
    """Decoded weights; their gradient goes to latent weights and scales.

    Masks and signs are factors: a product takes a fraction of the time of ``torch.where``.
    Straight-through estimator: Bengio et al., arXiv 1308.3432.
    """

    @staticmethod
    def forward(
        ctx: Any,
        latent: torch.Tensor,
        scales: torch.Tensor,
        mask: torch.Tensor,
        clip: float | None,
        dense: bool,
    ) -> torch.Tensor:
        signs = _signs(latent, scales)
        kept = mask.to(torch.float32)
        values = signs[0] * _spread(scales[:, 0], latent)
        for b, sign in enumerate(signs[1:], 1):  # plane by plane: the order is part of the format
            values += sign * _spread(scales[:, b], latent)
        passes = None
        if clip is not None:
            inside = latent.abs() <= clip * _spread(scales.abs().sum(dim=1), latent)
            passes = inside.to(torch.float32)
        if not dense:
            passes = kept if passes is None else passes * kept
        ctx.save_for_backward(kept, passes, *signs)
        ctx.rows, ctx.only_kept = scales.shape[0], passes is kept
        return values.mul_(kept).add_(0.0)  # a pruned weight is 0, not -0

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        kept, passes, *signs = ctx.saved_tensors
        of_latent = grad if passes is None else grad * passes
        of_values = of_latent if ctx.only_kept else grad * kept
        of_scales = [(of_values * sign).reshape(ctx.rows, -1).sum(dim=1) for sign in signs]
        return of_latent, torch.stack(of_scales, dim=1), None, None, None
