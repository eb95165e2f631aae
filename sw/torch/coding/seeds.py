# SPDX-License-Identifier: Apache-2.0
"""Seed coding: weights that are products of trained signs, the seeds of the direct codec."""

from __future__ import annotations

import logging
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.orders import slice_count
from xorloom.sw.tensors.prune import check_weights
from xorloom.sw.tensors.quantize import Quantized, Quantizer, stored_scales
from xorloom.sw.torch.budget import value_config
from xorloom.sw.value.direct.codec import decode
from xorloom.sw.value.direct.stream import DirectStreams, SeedString, slices_per_stream

from .base import Coded, Coding, rounded
from .products import SeedNetwork, meant, seed_count

if TYPE_CHECKING:
    from xorloom.sw.torch.plan import LayerPlan
    from xorloom.sw.value.direct.codec import DirectChoice

__all__ = ["LEVELS", "SeedCoding"]

LEVELS = {
    1: (127, -127),
    2: (127, 42, -42, -127),
    3: (127, 91, 54, 18, -18, -54, -91, -127),
}
"""What codes mean, by planes: evenly spaced."""
_log = logging.getLogger(__name__)
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
    start : (seeds,) float32 array
        Latent seeds to begin with.
    levels : (2**planes,) int8 array
        What codes mean.
    order : str
        Weight order.
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
        start: np.ndarray,
        levels: np.ndarray,
        *,
        order: str = _ORDER,
        name: str = "weights",
    ) -> None:
        super().__init__()
        self.config, self.quantizer, self.name = config, quantizer, name
        self.slope = _SLOPE
        self._start = torch.from_numpy(start)
        self._dtype = torch.float16 if scales.dtype == np.float16 else torch.float32
        self.scales = torch.nn.Parameter(torch.from_numpy(scales.astype(np.float32)))
        self.register_buffer("levels", torch.from_numpy(levels.astype(np.int8)))
        self._network = SeedNetwork(shape, config, order)

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
        config = value_config(plan)
        assert isinstance(config, DirectConfig)
        dense = check_weights(weight.detach().to(torch.float32).cpu().numpy(), name)
        quantizer = Quantizer("trellis", plan.planes, plan.scale)
        levels = np.array(LEVELS[plan.planes], np.int8)
        scales = _fitted(dense, quantizer, levels, name)
        rng = np.random.default_rng(zlib.crc32(f"{plan.seed},{name}".encode()))
        start = rng.standard_normal(seed_count(dense.size, config), np.float32)
        return cls(dense.shape, config, quantizer, scales, start * _SPREAD, levels, name=name)

    @classmethod
    def from_choice(
        cls,
        choice: DirectChoice,
        config: DirectConfig,
        quantizer: Quantizer,
        *,
        name: str = "weights",
    ) -> SeedCoding:
        """Make the coding that begins as what a search chose, and trains on from there.

        Parameters
        ----------
        choice : DirectChoice
            See :func:`xorloom.sw.value.direct.choose.choose`; of one stream.
        config : DirectConfig
        quantizer : Quantizer
            As it was chosen with; its scales are of the tensor or of rows of axis 0.
        name : str

        Raises
        ------
        ConfigError
            If it has more than one stream, or other scales.
        """
        shape, streams = choice.codes.shape, choice.streams
        if len(streams.streams) != 1:
            raise ConfigError(
                f"{name}: {len(streams.streams)} streams of seeds, but one is trained (choose them "
                "with the default slices_per_stream)"
            )
        if quantizer.scale == "group" or quantizer.axis_of(shape) != 0:
            raise ConfigError(f"{name}: scales must be of the tensor, or of rows of axis 0")
        bits = np.unpackbits(streams.streams[0].seeds.view(np.uint8), bitorder="little")
        signs = 1 - 2 * bits[: seed_count(choice.codes.size, config)].astype(np.float32)
        start, levels, order = signs * np.float32(_SPREAD), streams.levels, streams.order
        return cls(shape, config, quantizer, choice.scales, start, levels, order=order, name=name)

    def forward(self, latent: torch.Tensor) -> torch.Tensor:
        """Return the decoded weight, in its own shape.

        Parameters
        ----------
        latent : (seeds,) tensor
        """
        signs = _SoftSign.apply(latent.to(torch.float32), self.slope)
        values = meant(self.levels.tolist(), self._network.products(signs))
        found: torch.Tensor = self._network.in_shape(values)
        scales = rounded(self.scales, self._dtype).reshape(-1, *(1,) * (found.ndim - 1))
        return (found * scales).to(latent.dtype)

    def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the latent seeds to begin with; they do not depend on the weight."""
        return self._start.to(weight, copy=True)

    def coded(self, latent: torch.Tensor) -> Coded:
        """Return seeds, and the codes that they decode to."""
        config, net = self.config, self._network
        negative = latent.detach().to(torch.float32).cpu().numpy() < 0
        slices = slice_count(net.weights, config.lanes)
        seeds = np.zeros(-(-slices * config.n_in // 64) + 2, np.uint64)
        packed = np.packbits(negative, bitorder="little")
        seeds.view(np.uint8)[: packed.size] = packed
        string = SeedString(seeds, net.weights * config.planes)
        levels = self.levels.cpu().numpy().copy()
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

    def get_extra_state(self) -> dict[str, Any]:
        """Return what is in no tensor: network, weight order, dtype of the stored scales."""
        own = f"{self.config.identity}, order {self._network.order}"
        return {"network": own, "stored": str(self._dtype).removeprefix("torch.")}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`get_extra_state` returned.

        Raises
        ------
        ConfigError
            If the latent seeds are those of another network.
        """
        own, found = self.get_extra_state()["network"], state.get("network", "of a mask")
        if found != own:
            raise ConfigError(
                f"{self.name}: the state dict is of the network {found}, not {own} "
                "(prune with the plan that it was made with)"
            )
        self._dtype = getattr(torch, state["stored"])


def _fitted(dense: np.ndarray, quantizer: Quantizer, levels: np.ndarray, name: str) -> np.ndarray:
    """Return scales with which random codes are as large as the dense weights."""
    rows = quantizer.scale_shape(dense.shape)[0]
    flat = dense.reshape(rows, -1).astype(np.float64)
    unit = np.sqrt(np.mean(np.square(levels, dtype=np.float64)))
    spread = np.sqrt(np.mean(flat**2, axis=1, keepdims=True)) / unit
    scales, _, notes = stored_scales(spread, np.abs(flat).max(axis=1), quantizer)
    for note in notes:
        _log.warning(f"xorloom: {name}: {note}")
    return scales


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
