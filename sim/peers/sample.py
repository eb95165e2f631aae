# SPDX-License-Identifier: Apache-2.0
"""Samples: tensors in the forms that codecs take, what a codec stores, and the clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.index.rate_distortion import binary_entropy, code_entropy
from xorloom.sw.tensors.prune import prune_tensor
from xorloom.sw.tensors.quantize import Quantizer, quantize

__all__ = ["PLANES_MAX", "Clock", "Sample", "Stored", "check_planes", "levels", "values_of"]

PLANES_MAX = 7


def check_planes(planes: int) -> int:
    """Check and return a number of planes.

    Raises
    ------
    ConfigError
        If signed levels and the zero of pruned weights do not fit int8, which peers take.
    """
    if not 1 <= planes <= PLANES_MAX:
        raise ConfigError(
            f"planes must be between 1 and {PLANES_MAX}, not {planes}: peers take int8, and the "
            "256 levels of 8 bits leave no zero for pruned weights"
        )
    return planes


def values_of(mask: np.ndarray, codes: np.ndarray, planes: int) -> np.ndarray:
    """Return the int8 values of uniform codes: ``+-1`` to ``+-2**(planes - 1)``, 0 where pruned.

    The sign is the code's top bit, see :mod:`xorloom.sw.tensors.quantize`.
    """
    signs = (codes >> np.uint8(planes - 1)).view(np.int8)
    signs += signs
    signs -= np.int8(1)
    signs *= mask.view(np.int8)
    if planes > 1:
        magnitudes = codes & np.uint8((1 << (planes - 1)) - 1)
        magnitudes += np.uint8(1)
        signs *= magnitudes.view(np.int8)
    return signs


def levels(planes: int) -> np.ndarray:
    """Return the int8 level of every code."""
    codes = np.arange(1 << planes, dtype=np.uint8)
    return values_of(np.ones(codes.size, np.bool_), codes, planes)


@dataclass(frozen=True)
class Sample:
    """Tensor, pruned by magnitude and quantized, in all forms that codecs take.

    Parameters
    ----------
    weights : (rows, columns) float32
    mask : bool array of that shape
    codes : uint8 array of that shape
        Uniform codes, 0 where pruned.
    values : int8 array of that shape
        What they mean, see :func:`values_of`.
    sparsity : float
    quantizer : Quantizer
    """

    weights: np.ndarray
    mask: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    sparsity: float
    quantizer: Quantizer

    @classmethod
    def of(cls, weights: np.ndarray, sparsity: float, planes: int, scale: str) -> "Sample":
        """Prune and quantize a tensor."""
        quantizer = Quantizer("uniform", check_planes(planes), scale)
        made = quantize(weights, prune_tensor(weights, sparsity), quantizer)
        values = values_of(made.mask, made.codes, planes)
        return cls(weights, made.mask, made.codes, values, sparsity, quantizer)

    @property
    def planes(self) -> int:
        """Bits of a kept weight."""
        return self.quantizer.planes

    @property
    def entropy_bits(self) -> float:
        """Zero-order entropy of mask and codes, in bits."""
        kept = int(np.count_nonzero(self.mask))
        mask = self.mask.size * binary_entropy(kept / self.mask.size)
        return mask + kept * code_entropy(self.codes, self.mask)


@dataclass(frozen=True)
class Stored:
    """What a codec made of a sample.

    Parameters
    ----------
    bits : int
        All that a decoder needs, but for shape, number of planes and scales, which all have.
    decode : callable
        Makes the int8 values of what is stored, in any array or list.
    values : int8 array
        What these must be.
    mask : bool array
        Weights that are kept.
    decode_planes : callable, optional
        Makes packed mask and planes of it, see :func:`xorloom.sw.model.codec.decode_planes`.
    """

    bits: int
    decode: Callable[[], Any]
    values: np.ndarray
    mask: np.ndarray
    decode_planes: Callable[[], tuple[np.ndarray, np.ndarray]] | None = None


class Clock:
    """Clock of CPU time; it runs inside ``with``, and adds up."""

    def __init__(self) -> None:
        self.seconds = self._start = 0.0

    def __enter__(self) -> None:
        self._start = time.process_time()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.seconds += time.process_time() - self._start
