# SPDX-License-Identifier: Apache-2.0
"""Index request: what a user asks of the index, made into a density and parameters."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.choice import OperatingPoint, index_config, operating_point
from xorloom.sw.index.density import is_met
from xorloom.sw.index.trellis import trellis_configs
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.spec.config import ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import TRELLIS_RATES, IndexConfig
from xorloom.sw.spec.weight_format import mask_lanes
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.prune import check_weights, scaled
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.search import window_for

from .estimate import tensor_bits
from .spec import DEFAULT_DENSITY

__all__ = ["Counts", "IndexRequest", "budget_cost", "sampled"]

_SAMPLE = 1 << 20
"""Weights of the whole model on which an operating point is chosen."""
_BUDGET_CODECS = ("trellis", "entropy", "bitmap")
"""Index codecs that a budget can choose from."""
_RATE = (0.95, 1.02)
"""Share of the index bits asked for that counts as met."""


class Counts(Protocol):
    """What is told of stored bits, see :class:`xorloom.sw.model.metrics.bits.TensorBits`."""

    @property
    def weights(self) -> int:
        """Number of weights."""

    @property
    def kept(self) -> int:
        """Number of kept weights."""

    @property
    def index(self) -> int:
        """Bits of the index."""

    @property
    def overhead(self) -> int:
        """Bits of headers, CRCs and padding."""

    @property
    def total(self) -> int:
        """All bits."""


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
    signs : bool
        A budget buys the least error of signs, not the most energy in the mask.
    """

    codec: str | None
    rate: float | None
    budget: float | None
    density: float | None
    sparsity: float | None
    window: int
    classes: int
    signs: bool = False

    def resolve(
        self,
        model: Mapping[str, ModelTensor],
        names: Sequence[str],
        value: ValueConfig,
        quantizer: Quantizer,
        *,
        search: bool = False,
    ) -> tuple[float, IndexConfig | None]:
        """Return density and index parameters, ``None`` for a bitmap that fits.

        Parameters
        ----------
        model : mapping of name to ModelTensor
        names : sequence of str
            Tensors that share the request; a budget is of all of them together.
        value : WindowConfig or BlockConfig
        quantizer : Quantizer
        search : bool
            Whether ``n_in`` will be chosen for the density.

        Raises
        ------
        ConfigError
            If options contradict each other, or nothing fits them: of a budget, a
            :class:`xorloom.sw.index.choice.BudgetError` that tells the least.
        """
        codec = self.codec
        if codec is not None and codec not in INDEX_CODECS:
            raise ConfigError(f"index must be one of {', '.join(INDEX_CODECS)}, not {codec!r}")
        density = self._density()
        if self.budget is not None:
            point = self._point(model, names, value, quantizer, search)
            return point.density, None if point.index.codec == "bitmap" else point.index
        if codec is None:
            codec = "bitmap" if self.rate is None else "trellis"
        if codec == "bitmap" and self.rate is None:
            return density, None
        importance = None
        if codec == "lowrank":  # its tile is searched
            largest = max(names, key=lambda name: model[name].size)
            tensor = model[largest]
            importance = np.abs(check_weights(tensor.weights(), tensor.label))
        config = index_config(
            codec,
            value,
            quantizer.planes,
            density=density,
            rate=self.rate,
            window=self.window,
            classes=self.classes,
            importance=importance,
        )
        return density if config.density is None else config.density, config

    def _point(
        self,
        model: Mapping[str, ModelTensor],
        names: Sequence[str],
        value: ValueConfig,
        quantizer: Quantizer,
        search: bool,
    ) -> OperatingPoint:
        """Choose density and index within the budget."""
        budget, planes = self.budget, quantizer.planes
        if self.rate is not None or self.density is not None or self.sparsity is not None:
            raise ConfigError(
                "bits per weight chooses density and index bits: give it alone, or give both of "
                "them"
            )
        if self.codec not in (None, *_BUDGET_CODECS):
            fix = f"give {self.codec} a density"
            if INDEX_CODECS[self.codec].takes_rate:
                fix += " and index bits"
            if INDEX_CODECS[self.codec].keeps_all:
                fix = f"{self.codec} keeps every weight"
            raise ConfigError(
                f"bits per weight goes with the trellis, entropy or bitmap index: {fix}"
            )
        if not isinstance(value, WindowConfig):
            raise ConfigError(
                "bits per weight goes with the window value codec: give the block codec a sparsity"
            )
        if budget is None or not 0 < budget < float("inf"):
            raise ConfigError(f"bits per weight must be positive, not {budget}")
        cost = budget_cost(model, names, value, quantizer, search=search)
        squares = np.square(sampled(model, names))
        return operating_point(
            squares,
            budget,
            lambda density: self._indexes(density, value, planes),
            cost,
            signs=self.signs,
        )

    def _indexes(self, density: float, value: ValueConfig, planes: int) -> list[IndexConfig]:
        """Return what may store a mask of a density, for a budget to choose from."""
        found: list[IndexConfig] = []
        n_out, bus_bits = mask_lanes(value, planes), value.bus_bits
        for codec in _BUDGET_CODECS if self.codec is None else (self.codec,):
            try:
                if codec == "trellis":
                    all_rates = trellis_configs(
                        n_out, bus_bits, density=density, window=self.window, classes=self.classes
                    )
                    least, most = TRELLIS_RATES
                    found += [c for c in all_rates if least <= c.rate <= most]
                else:
                    found.append(index_config(codec, value, planes, density=density))
            except ConfigError:  # no code of that density, or lanes that do not fit
                if self.codec is not None and codec != "trellis":
                    raise
        return found

    def misses(self, density: float, bits: Counts) -> list[str]:
        """Return what a tensor missed of what was asked for, a line each; nothing if all was met.

        Parameters
        ----------
        density : float
            What :meth:`resolve` returned.
        bits : Counts
            What was stored of the tensor.
        """
        lines = []
        asked = self._density()
        rounded = self.budget is None and not math.isclose(asked, density)
        given = self.density is not None or self.sparsity is not None
        found = bits.kept / max(1, bits.weights)
        if rounded:
            lines.append(f"density {found:.4g}, {asked:.4g} asked for: its steps are 1/256")
        elif given and not is_met(bits.kept, round(density * bits.weights)):
            lines.append(f"density {found:.4g}, {density:.4g} asked for")
        found = bits.index / max(1, bits.weights)
        framed = (bits.index + bits.overhead) / max(1, bits.weights)  # low-rank counts frames too
        if self.rate is not None and (
            framed < _RATE[0] * self.rate or found > _RATE[1] * self.rate
        ):
            lines.append(f"{found:.4g} index bits per weight, {self.rate:.4g} asked for")
        return lines

    def budget_miss(self, bits: Counts) -> str:
        """Return a line if the tensors together took more than the budget; empty if not.

        Parameters
        ----------
        bits : Counts
            Sum over all tensors that share the budget.
        """
        found = bits.total / max(1, bits.weights)
        if self.budget is None or found <= self.budget:
            return ""
        return f"{found:.4f} bits per weight, {self.budget:g} asked for"

    def _density(self) -> float:
        density = self._asked()
        if self.codec is None or not INDEX_CODECS[self.codec].keeps_all:
            return DEFAULT_DENSITY if density is None else density
        if density not in (None, 1):
            raise ConfigError(
                f"index {self.codec} keeps every weight: density must be 1, not {density:g} (the "
                "bitmap and entropy indexes store any mask)"
            )
        return 1.0

    def _asked(self) -> float | None:
        if self.density is not None:
            if not 0 < self.density <= 1:
                raise ConfigError(f"density must be in (0, 1], not {self.density}")
            return self.density
        return None if self.sparsity is None else 1 - self.sparsity


def budget_cost(
    model: Mapping[str, ModelTensor],
    names: Sequence[str],
    value: WindowConfig,
    quantizer: Quantizer,
    *,
    search: bool,
) -> Callable[[float, IndexConfig], float]:
    """Return what tells the bits per weight of tensors by density and index, all counted."""
    shapes = Counter(model[name].shape for name in names)
    weights = sum(math.prod(shape) * times for shape, times in shapes.items())
    scales = sum(quantizer.scale_bits(shape) * times for shape, times in shapes.items())

    def cost(density: float, index: IndexConfig) -> float:
        how = window_for(density, value) if search else value
        bits = float(scales)
        for shape, times in shapes.items():
            size = math.prod(shape)
            kept = round(size * density)
            bits += times * tensor_bits(size, kept, quantizer.planes, how, index) if size else 0
        return bits / max(1, weights)

    return cost


def sampled(model: Mapping[str, ModelTensor], names: Sequence[str]) -> np.ndarray:
    """Return weights from all over all tensors, each against its tensor's deviation.

    A tensor of a forecast has only some of its weights, which then stand for all.
    """
    total = sum(model[name].size for name in names)
    every = max(1, -(-total // _SAMPLE))
    rng = np.random.default_rng(0)
    parts = []
    for name in names:
        flat = check_weights(model[name].weights(), model[name].label).reshape(-1)
        size = model[name].size
        places = np.arange(0, size, every)
        places += rng.integers(0, every, places.size)  # even steps could fall in with rows
        places = np.minimum(places, size - 1)
        if flat.size < size:
            places = places * flat.size // size
        weights = flat[places].astype(np.float32)
        magnitudes = scaled(np.abs(weights))
        parts.append(np.copysign(magnitudes / (float(magnitudes.std()) or 1.0), weights))
    return np.concatenate(parts)
