# SPDX-License-Identifier: Apache-2.0
"""Index request: what a user asks of the index, made into a density and parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.choice import index_config, operating_point
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.layout import frame_bytes
from xorloom.sw.spec.weight_format import mask_lanes
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.window.codec import STREAM_BITS

__all__ = ["IndexRequest"]

_DENSITY = 0.1
_SAMPLE = 1 << 20
"""Weights of the whole model on which an operating point is chosen."""


@dataclass(frozen=True)
class IndexRequest:
    """Options of the index; ``None``: not given.

    Parameters
    ----------
    codec : str, optional
    rate : float, optional
        Index bits per weight.
    budget : float, optional
        Bits per weight, everything counted.
    density, sparsity : float, optional
        At most one of them.
    window, classes : int
        Of the trellis.
    """

    codec: str | None
    rate: float | None
    budget: float | None
    density: float | None
    sparsity: float | None
    window: int
    classes: int

    def resolve(
        self,
        model: Mapping[str, ModelTensor],
        names: Sequence[str],
        value: ValueConfig,
        quantizer: Quantizer,
    ) -> tuple[float, IndexConfig | None]:
        """Return density and index parameters, ``None`` for a bitmap that fits.

        Raises
        ------
        ConfigError
            If options contradict each other, or nothing fits them.
        """
        density, rate, codec = self._density(), self.rate, self.codec
        if codec is not None and codec not in INDEX_CODECS:
            raise ConfigError(f"index must be one of {', '.join(INDEX_CODECS)}, not {codec!r}")
        if self.budget is not None:
            if rate is not None or self.density is not None or self.sparsity is not None:
                raise ConfigError(
                    "bits per weight chooses density and index bits: give it alone, or give both "
                    "of them"
                )
            if codec == "lowrank":
                raise ConfigError(
                    "bits per weight goes with the trellis, entropy or bitmap index: give lowrank "
                    "a density and index bits"
                )
            planes = quantizer.planes
            spent = _fixed_bits(model, names, value, quantizer, self.classes)
            codecs = ("trellis", "entropy", "bitmap") if codec is None else (codec,)
            squares = np.square(_sample(model, names))
            point = operating_point(squares, self.budget - spent, planes, codecs)
            density, codec = point.density, point.codec
            rate = point.rate if codec == "trellis" else None
        if codec is None:
            codec = "bitmap" if rate is None else "trellis"
        if codec == "bitmap" and rate is None:
            return density, None
        largest = max(names, key=lambda name: model[name].size)
        config = index_config(
            codec,
            value,
            quantizer.planes,
            density=density,
            rate=rate,
            window=self.window,
            classes=self.classes,
            importance=np.abs(model[largest].weights()).astype(np.float32),
        )
        return density, config

    def _density(self) -> float:
        if self.density is not None:
            if not 0 < self.density <= 1:
                raise ConfigError(f"density must be in (0, 1], not {self.density}")
            return self.density
        return 1 - self.sparsity if self.sparsity is not None else _DENSITY


def _fixed_bits(
    model: Mapping[str, ModelTensor],
    names: Sequence[str],
    value: ValueConfig,
    quantizer: Quantizer,
    classes: int,
) -> float:
    """Return the bits per weight that scales, headers and CRCs take, rounded up.

    So do density classes of a stream's last period, which may be short: two bits per lane, in
    chunks of at most half a bit per lane.
    """
    edges = 8 * frame_bytes(value.bus_bytes)
    padding = value.bus_bits
    short = 5 * mask_lanes(value, quantizer.planes) // 2 if classes > 1 else 0
    total = 0
    for name in names:
        streams = 1 + model[name].size * quantizer.planes // (2 * STREAM_BITS)
        total += quantizer.scale_bits(model[name].shape)
        total += (2 * (edges + padding) + short) * streams
    return total / max(1, sum(model[name].size for name in names))


def _sample(model: Mapping[str, ModelTensor], names: Sequence[str]) -> np.ndarray:
    """Return evenly spread magnitudes of all tensors, each against its own deviation."""
    total = sum(model[name].size for name in names)
    every = -(-total // _SAMPLE)
    parts = []
    for name in names:
        weights = np.abs(model[name].weights()).reshape(-1)[::every].astype(np.float32)
        parts.append(weights / (float(weights.std()) or 1.0))
    return np.concatenate(parts)
