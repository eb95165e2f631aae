# SPDX-License-Identifier: Apache-2.0
"""Loss: what pruning and quantizing take away, beside the dense bound and fewer planes."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from xorloom.sw.bits.jit import njit

from .quantize import Quantized, Quantizer, dequantize, quantize
from .safetensors_file import rounded_to

__all__ = [
    "Suggestion",
    "gaussian_error",
    "relative_error",
    "share_of_dense_bound",
    "worse_than",
]

_CHUNK = 1 << 20
_SAMPLE = 1 << 12
"""Kept weights on which quantizers are compared."""
_SAMPLE_ROWS = 16
"""Rows of scales that they come from, at least."""


def relative_error(
    weights: np.ndarray, quantized: Quantized, quantizer: Quantizer, *, dtype: str = "F32"
) -> float:
    """Return the squared error of decoded weights, by the sum of squares of the given ones.

    Parameters
    ----------
    weights : float array
        As given: what is pruned is lost, and counts.
    quantized : Quantized
    quantizer : Quantizer
    dtype : str
        What weights come back in, by its name in safetensors: float8 rounds by up to an eighth.

    Returns
    -------
    float, 0 for weights that are all zero.
    """
    decoded = dequantize(quantized, quantizer).reshape(-1)
    given = weights.reshape(-1)
    exact = np.float32 if given.itemsize <= 4 else np.float64
    lost = total = 0.0
    for part in _chunks(given.size):
        found = decoded[part] if dtype == "F32" else _rounded(decoded[part], dtype)
        energy, missed = _energies(np.ascontiguousarray(given[part], exact), found)
        total += energy
        lost += missed
    return lost / total if total else 0.0


def _rounded(weights: np.ndarray, dtype: str) -> np.ndarray:
    return rounded_to(weights, dtype).astype(np.float32)


@njit(nogil=True, cache=True)
def _energies(given: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Return the squares' sums of given weights and of what is lost, in double precision.

    Eight sums each: one alone waits for every addition. In an order of our own, as ``np.dot``
    depends on the number of cores.
    """
    energy, missed = np.zeros(8), np.zeros(8)
    whole = given.size // 8 * 8
    for at in range(0, whole, 8):
        for lane in range(8):
            wanted = np.float64(given[at + lane])
            rest = wanted - np.float64(found[at + lane])
            energy[lane] += wanted * wanted
            missed[lane] += rest * rest
    for at in range(whole, given.size):
        wanted = np.float64(given[at])
        rest = wanted - np.float64(found[at])
        energy[at - whole] += wanted * wanted
        missed[at - whole] += rest * rest
    return energy.sum(), missed.sum()


def gaussian_error(rate: float) -> float:
    """Return the least squared error of dense Gaussian weights at ``rate`` bits per weight.

    Relative to their variance: ``D(R) = 2**(-2 R)``, the rate-distortion function.

    Source: Cover and Thomas, Elements of Information Theory, chapter 10.
    """
    return 2.0 ** (-2 * rate)


def share_of_dense_bound(error: float, bits_per_weight: float) -> float:
    """Return the energy that stored weights caught, by the most that dense Gaussian ones allow.

    ``(1 - error) / (1 - D(R))``. No code of independent Gaussian weights exceeds 1. Weights of
    another density can: few large ones hold more of the energy, and a scale per row more still.

    Parameters
    ----------
    error : float
        Relative squared error, see :func:`relative_error`.
    bits_per_weight : float
        All stored bits: scales, headers and padding as well.

    Returns
    -------
    float, 0 where nothing is stored.
    """
    most = -math.expm1(-2 * math.log(2) * bits_per_weight)  # 1 - D(R), exact for few bits
    return (1 - error) / most if most > 0 else 0.0


def _chunks(size: int) -> Iterator[slice]:
    for start in range(0, size, _CHUNK):
        yield slice(start, start + _CHUNK)


@dataclass(frozen=True)
class Suggestion:
    """A quantizer of fewer planes that gives less error; as text, the line that says so.

    Parameters
    ----------
    used, better : Quantizer
    used_error, better_error : float
        Relative squared errors on one sample of the tensor, see :func:`relative_error`.
    """

    used: Quantizer
    better: Quantizer
    used_error: float
    better_error: float

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> "Suggestion":
        """Return the one that ``dataclasses.asdict`` was given."""
        quantizers = {key: Quantizer(**facts[key]) for key in ("used", "better")}
        return cls(**{**facts, **quantizers})

    def __str__(self) -> str:
        return (
            f"{_words(self.used)} has error {self.used_error:.4g}; "
            f"{_words(self.better)} has {self.better_error:.4g}"
        )


def _words(quantizer: Quantizer) -> str:
    return f"{quantizer.method} with {quantizer.planes} plane" + "s" * (quantizer.planes > 1)


def worse_than(weights: np.ndarray, mask: np.ndarray, quantizer: Quantizer) -> Suggestion | None:
    """Return the quantizer of fewest planes that is better than one with more, if there is any.

    Errors are compared on some weights of some rows of scales. Only another method can be better:
    with more planes, ``uniform`` and ``binary`` have all the levels that they had, and
    ``alternating`` next to always less error.

    Parameters
    ----------
    weights : float array of any shape
    mask : bool array of the same shape
    quantizer : Quantizer

    Raises
    ------
    ConfigError
        As :func:`xorloom.sw.tensors.quantize.quantize` does.
    """
    if quantizer.planes == 1 or not mask.any():
        return None
    weights, mask, of_sample = _sample(weights, mask, quantizer)

    def error(method: str, planes: int) -> float:
        how = replace(of_sample, method=method, planes=planes)
        return relative_error(weights, quantize(weights, mask, how), how)

    used_error = error(quantizer.method, quantizer.planes)
    found = []
    for method in {"alternating", "uniform"} - {quantizer.method}:
        most = quantizer.planes - 1
        if error(method, most) < used_error:  # else fewer are worse still
            errors = ((planes, error(method, planes)) for planes in range(1, most + 1))
            planes, less = next((p, e) for p, e in errors if e < used_error)
            found.append((planes, less, method))
    if not found:
        return None
    planes, less, method = min(found)
    better = replace(quantizer, method=method, planes=planes)
    return Suggestion(quantizer, better, used_error, less)


def _sample(
    weights: np.ndarray, mask: np.ndarray, quantizer: Quantizer
) -> tuple[np.ndarray, np.ndarray, Quantizer]:
    """Return weights and mask of some rows of scales, as two dimensions, and their quantizer.

    Long rows are thinned out as well, so that there are several of them.
    """
    rows = quantizer.scale_shape(weights.shape)[0]
    if rows == 1:
        arrays = [array.reshape(1, -1) for array in (weights, mask)]
    elif quantizer.scale == "row":
        axis = quantizer.axis_of(weights.shape)
        arrays = [np.moveaxis(array, axis, 0) for array in (weights, mask)]
    else:
        whole = weights.size // quantizer.group * quantizer.group
        arrays = [
            array.reshape(-1)[:whole].reshape(-1, quantizer.group) for array in (weights, mask)
        ]
    excess = max(1, int(np.count_nonzero(mask)) // _SAMPLE)
    every = min(excess, max(1, len(arrays[0]) // _SAMPLE_ROWS))
    chosen = _spread(len(arrays[0]), every)
    arrays = [array[chosen].reshape(chosen.size, -1) for array in arrays]
    places = _spread(arrays[0].shape[1], excess // every)
    return arrays[0][:, places], arrays[1][:, places], replace(quantizer, scale="row", axis=0)


def _spread(count: int, every: int) -> np.ndarray:
    """Return one of each ``every`` numbers below ``count``.

    At random, as weights may have a period.
    """
    starts = np.arange(0, count, every)
    return starts + np.random.default_rng(0).integers(0, np.minimum(every, count - starts))
