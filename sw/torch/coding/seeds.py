# SPDX-License-Identifier: Apache-2.0
"""Seed coding: weights that are products of trained signs, the seeds of the direct codec."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.direct_training import training_config
from xorloom.sw.tensors.orders import slice_count
from xorloom.sw.tensors.prune import check_weights
from xorloom.sw.tensors.quantize import Quantized, Quantizer, stored_scales
from xorloom.sw.value.direct.codec import decode
from xorloom.sw.value.direct.stream import DirectStreams, SeedString, slices_per_stream

from .base import Coded, Coding, rounded
from .products import SeedNetwork, meant

if TYPE_CHECKING:
    from xorloom.sw.spec.direct import DirectConfig
    from xorloom.sw.torch.plan import LayerPlan

__all__ = ["LEVELS", "SeedCoding"]

LEVELS = {
    1: (127, -127),
    2: (127, 42, -42, -127),
    3: (127, 91, 54, 18, -18, -54, -91, -127),
}
"""What codes mean, by planes: evenly spaced."""
_ORDER = "row"
_SPREAD = 0.02
"""Standard deviation of the latent seeds to begin with: 5 steps of a learning rate of 4e-3."""
_SLOPE = 25.0


class SeedCoding(Coding):
    """Coding of a weight whose seeds are trained: nothing is pruned, and nothing is searched.

    A seed bit is the sign of a latent seed: 0 is plus. A code bit is the XOR of the window bits
    that the network connects to it, so its sign is the product of their signs; a weight is the
    level of its code times a scale. Gradients reach a latent seed ``x`` through every weight that
    it has a part in, as if its sign were ``tanh(slope * x)``, and all other signs as they are.

    Source: FleXOR, Lee et al., NeurIPS 2020 (arXiv 2009.04126): trained seeds, and the derivative.
    The network is the direct codec's (``FORMAT.md``, "Direct codec").

    Parameters
    ----------
    shape : tuple of int
        Of the weight.
    config : DirectConfig
    quantizer : Quantizer
        Method ``trellis``, with scales of the tensor or of rows.
    scales : (rows, 1) float16 or float32 array
        In the dtype in which they are stored.
    seed : int
        Of the latent seeds to begin with.
    name : str
        Of the weight, for messages.

    Attributes
    ----------
    slope : float
        Of the soft sign.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        config: DirectConfig,
        quantizer: Quantizer,
        scales: np.ndarray,
        *,
        seed: int = 0,
        name: str = "weights",
    ) -> None:
        super().__init__()
        self.config, self.quantizer, self.name = config, quantizer, name
        self.slope = _SLOPE
        self._seed = seed
        self._dtype = torch.float16 if scales.dtype == np.float16 else torch.float32
        self.scales = torch.nn.Parameter(torch.from_numpy(scales.astype(np.float32)))
        self._network = SeedNetwork(shape, config, _ORDER)

    @classmethod
    def of(
        cls,
        weight: torch.Tensor,
        plan: LayerPlan,
        *,
        name: str = "weights",
        importance: np.ndarray | None = None,
    ) -> SeedCoding:
        """Make the coding of a weight: its network by the plan, its scales by the dense weight.

        Raises
        ------
        ConfigError
            If the plan does not fit, or there is an importance: nothing is chosen by it.
        """
        if importance is not None:
            raise ConfigError(
                f"{name}: an importance goes with a mask, but trained seeds prune nothing (leave "
                "it out)"
            )
        if plan.rate is None:
            raise ConfigError(f"{name}: value direct needs a rate, such as Fraction(1, 10)")
        config = training_config(
            plan.rate, planes=plan.planes, window=plan.window, taps=plan.taps, seed=plan.seed
        )
        dense = check_weights(weight.detach().to(torch.float32).cpu().numpy(), name)
        quantizer = Quantizer("trellis", plan.planes, plan.scale)
        scales = _fitted(dense, quantizer)
        seed = zlib.crc32(f"{plan.seed},{name}".encode())
        return cls(dense.shape, config, quantizer, scales, seed=seed, name=name)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the decoded weight, in its own shape.

        Parameters
        ----------
        latent : (seeds,) tensor
        """
        signs = _SoftSign.apply(latent.to(torch.float32), self.slope)
        values = meant(LEVELS[self.config.planes], self._network.products(signs))
        scales = rounded(self.scales, self._dtype)
        found: torch.Tensor = self._network.in_shape(values)
        if scales.shape[0] > 1:
            scales = scales.reshape(-1, *(1,) * (found.ndim - 1))
        return (found * scales.reshape(scales.shape if scales.numel() > 1 else ())).to(latent.dtype)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return latent seeds to begin with; they do not depend on the weight."""
        rng = np.random.default_rng(self._seed)
        start = rng.standard_normal(self._network.seeds, np.float32) * np.float32(_SPREAD)
        return torch.from_numpy(start).to(weight)

    def coded(self, latent: torch.Tensor) -> Coded:
        """Return seeds, and the codes that they decode to."""
        config, net = self.config, self._network
        negative = latent.detach().to(torch.float32).cpu().numpy() < 0
        slices = slice_count(net.weights, config.lanes)
        seeds = np.zeros(-(-slices * config.n_in // 64) + 2, np.uint64)
        packed = np.packbits(negative, bitorder="little")
        seeds.view(np.uint8)[: packed.size] = packed
        string = SeedString(seeds, net.weights * config.planes)
        levels = np.array(LEVELS[config.planes], np.int8)
        size = slices_per_stream(net.weights, config)
        streams = DirectStreams(net.order, size, levels, (string,))
        scales = self.scales.detach().to(self._dtype).cpu().numpy()
        mask = np.ones(net.shape, np.bool_)
        codes = decode(streams, net.shape, config)
        quantized = Quantized(mask, codes, scales, levels=levels)
        return Coded(quantized, self.quantizer, config, seeds=streams)

    def training_parameters(self) -> list[dict[str, Any]]:
        """Return the scales: their steps are relative to their size."""
        size = float(self.scales.detach().abs().mean())
        return [{"params": [self.scales], "lr_factor": min(1.0, size) or 1.0}]


def _fitted(dense: np.ndarray, quantizer: Quantizer) -> np.ndarray:
    """Return scales with which random codes are as large as the dense weights."""
    rows = quantizer.scale_shape(dense.shape)[0]
    flat = dense.reshape(rows, -1).astype(np.float64)
    unit = np.sqrt(np.mean(np.square(LEVELS[quantizer.planes])))
    spread = np.sqrt(np.mean(flat**2, axis=1, keepdims=True)) / unit
    return stored_scales(spread, np.abs(flat).max(axis=1), quantizer)[0]


class _SoftSign(torch.autograd.Function):
    """Sign, plus for 0; backward that of a hyperbolic tangent."""

    @staticmethod
    def forward(ctx: Any, latent: torch.Tensor, slope: float) -> torch.Tensor:
        ctx.save_for_backward(latent)
        ctx.slope = slope
        return torch.where(latent < 0, -1.0, 1.0)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (latent,) = ctx.saved_tensors
        soft = torch.tanh(latent * ctx.slope)
        return grad * ctx.slope * (1 - soft * soft), None
