# SPDX-License-Identifier: Apache-2.0
"""Sources of the rate benchmark: weights, and the least error that their density allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from xorloom.sim.bench.index import matrices
from xorloom.sim.datasets import SEED, minilm
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.rotation import rotate

from .bound import Curve, gaussian_curve, measured_curve
from .points import SOURCE_TITLES

__all__ = ["QUICK_WEIGHTS", "SOURCES", "WEIGHTS", "Source", "check_sources", "source"]

SOURCES = tuple(SOURCE_TITLES)
WEIGHTS = 1 << 22
QUICK_WEIGHTS = 1 << 18
"""Weights of a made source."""
_COLUMNS = 1024
_QUANTILES = 1 << 20
_QUICK_MATRICES = "encoder.layer.2.attention"
"""Names of MiniLM's matrices that stand for all in a quick run begin so."""


@dataclass(frozen=True)
class Source:
    """Source of weights.

    Parameters
    ----------
    name : str
    tensors : mapping of name to float32 array
    scale : str
        What shares a scale: ``tensor`` where weights are alike, else ``row``.
    """

    name: str
    tensors: Mapping[str, np.ndarray]
    scale: str

    @property
    def weights(self) -> int:
        """Number of weights."""
        return sum(tensor.size for tensor in self.tensors.values())

    def curve(self) -> Curve:
        """Return the rate-distortion function of its density.

        Matrices are put together, each with its own variance as the unit.
        """
        if self.name == "gaussian":
            return gaussian_curve()
        if self.name == "laplacian":
            return measured_curve(_laplacian_quantiles())
        units = [tensor.reshape(-1) / tensor.std() for tensor in self.tensors.values()]
        return measured_curve(np.concatenate(units))


def _laplacian_quantiles() -> np.ndarray:
    """Return places that are equally likely under the Laplacian density of variance 1."""
    place = (np.arange(_QUANTILES) + 0.5) / _QUANTILES - 0.5
    return -np.sign(place) * np.log1p(-2 * np.abs(place)) / np.sqrt(2)


def check_sources(names: Sequence[str]) -> None:
    """Check names of sources.

    Raises
    ------
    ConfigError
        If one is unknown.
    """
    for name in names:
        if name not in SOURCES:
            raise ConfigError(f"source must be one of {', '.join(SOURCES)}, not {name!r}")


@lru_cache(maxsize=1)
def source(name: str, weights: int, quick: bool) -> Source:
    """Return a source; ``weights``, in whole rows, where it is made."""
    if name.startswith("minilm"):
        found = matrices(minilm())
        if quick:
            found = {key: w for key, w in found.items() if key.startswith(_QUICK_MATRICES)}
        if name == "minilm-rotated":
            found = {key: rotate(w, 0, name=key) for key, w in found.items()}
        return Source(name, found, "row")
    rng = np.random.default_rng(SEED)
    shape = -(-weights // _COLUMNS), _COLUMNS
    if name == "gaussian":
        made = rng.standard_normal(shape, np.float32)
    else:
        made = rng.laplace(0, np.sqrt(0.5), shape).astype(np.float32)
    return Source(name, {name: made}, "tensor")
