# SPDX-License-Identifier: Apache-2.0
"""Packed tensors: mask and codes as bits, and the signed values and weights that they stand for."""

import math
from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.bits.spread import signed_values, unpack_planes
from xorloom.sw.tensors.quantize import Quantizer, check_scales
from xorloom.sw.tensors.rotation import unrotate

__all__ = ["PackedTensor"]

_LARGEST = np.finfo(np.float32).max


@dataclass(frozen=True, eq=False)
class PackedTensor:
    """Packed tensor, or a part of one: mask, planes and scales, for kernels of one's own.

    Weight ``i`` in row-major order is bit ``i & 7`` of byte ``i >> 3``, as
    ``numpy.unpackbits(row, bitorder="little")`` has it. Rows are filled up to whole 64-bit words
    with zeros, so they may be viewed as little-endian uint64.

    Parameters
    ----------
    name : str
        Of the tensor, for messages.
    shape : tuple of int
    mask : (8 * ceil(weights / 64),) uint8
        1 where the weight is kept.
    planes : (planes, 8 * ceil(weights / 64)) uint8
        Bit b of every code; 0 where pruned.
    scales : (rows, terms) float16 or float32
        (0, 0) with codes that the user brought.
    quantizer : Quantizer, optional
        What codes mean, see :mod:`xorloom.sw.tensors.quantize`; none: codes that the user brought.
    levels : (2**planes,) int8, optional
        What codes mean, with the method ``trellis``.
    rotation : int, optional
        Seed of the rotation that the weights had before they were quantized.
    first : int
        Number, row-major, of the part's first weight in the whole tensor.
    """

    name: str
    shape: tuple[int, ...]
    mask: np.ndarray
    planes: np.ndarray
    scales: np.ndarray
    quantizer: Quantizer | None
    levels: np.ndarray | None = None
    rotation: int | None = None
    first: int = 0

    def codes(self) -> np.ndarray:
        """Return the codes, uint8 of ``shape``, 0 where pruned."""
        return unpack_planes(self.planes.view("<u8"), math.prod(self.shape)).reshape(self.shape)

    def int8(self) -> np.ndarray:
        """Return signed values, int8 of shape ``(terms, *shape)``, 0 where pruned.

        A weight is ``sum(values[t] * scales[row, t])``, its ``row`` being that of
        :meth:`xorloom.sw.tensors.quantize.Quantizer.rows_of`, before a rotation is undone. One
        term: -1 and 1 with 1 plane; the levels of several uniform or trellis planes. Binary coding
        with several planes has a term for each, of -1 and 1.

        Raises
        ------
        ConfigError
            If the codes are the user's own, or are uniform codes of 8 planes, whose levels go from
            -128 to 128.
        """
        quantizer = self._quantizer()
        if quantizer.method == "uniform" and quantizer.planes > 7:
            raise ConfigError(
                f"{self.name}: uniform codes of 8 planes do not fit int8, as levels go from -128 "
                "to 128: use its codes, or its weights"
            )
        return self._values(quantizer)

    def _values(self, quantizer: Quantizer) -> np.ndarray:
        """Return signed values, of uniform codes of 8 planes as int16."""
        if quantizer.method == "trellis":
            assert self.levels is not None
            return self.levels[self.codes()][np.newaxis]
        if quantizer.method == "uniform" and quantizer.planes > 7:
            codes = self.codes().astype(np.int16)
            levels = np.where(codes >> 7, (codes & 127) + 1, -(codes & 127) - 1)
            return (levels * self._kept().reshape(self.shape))[np.newaxis]
        count = math.prod(self.shape)
        mask, planes = self.mask.view("<u8"), self.planes.view("<u8")
        terms = planes[np.newaxis] if quantizer.terms == 1 else planes[:, np.newaxis]
        values = [signed_values(mask, term, count) for term in terms]
        found = values[0][np.newaxis] if len(values) == 1 else np.stack(values)
        return found.reshape(len(values), *self.shape)

    def _kept(self) -> np.ndarray:
        """Return the mask unpacked, (weights,) uint8."""
        return unpack_planes(self.mask.view("<u8")[np.newaxis], math.prod(self.shape))

    def weights(self) -> np.ndarray:
        """Return the weights, float32 of ``shape``.

        They are bit for bit those of :func:`xorloom.sw.tensors.quantize.dequantize`.

        Raises
        ------
        ConfigError
            If the codes are the user's own, or the scales do not fit the shape or are not finite.
        """
        quantizer = self._quantizer()
        check_scales(self.scales, self.shape, quantizer, self.name)
        scales = self.scales.astype(np.float32)
        with np.errstate(over="ignore"):
            terms = [
                self._scaled(values, scales[:, t])
                for t, values in enumerate(self._values(quantizer))
            ]
        found = terms[0]
        if quantizer.method in ("uniform", "trellis"):
            if np.signbit(scales).any():  # pruned weights are 0, not -0
                found.reshape(-1)[self._kept() == 0] = 0
        else:
            found += np.float32(0)
            with np.errstate(over="ignore"):
                for term in terms[1:]:
                    found += term
        np.clip(found, -_LARGEST, _LARGEST, out=found)
        found = found.reshape(self.shape)
        return found if self.rotation is None else unrotate(found, self.rotation, name=self.name)

    def _quantizer(self) -> Quantizer:
        if self.quantizer is None:
            raise ConfigError(f"{self.name} holds your own codes, which are no weights: use codes")
        return self.quantizer

    def _scaled(self, values: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """Return values times the scale of each."""
        quantizer, size = self._quantizer(), values.size
        if scales.size == 1:
            return values.reshape(-1) * scales[0]
        if quantizer.scale == "group":
            return values.reshape(-1) * np.repeat(scales, quantizer.group)[:size]
        if not size:
            return values.astype(np.float32)
        after = math.prod(self.shape[quantizer.axis_of(self.shape) + 1 :])
        return values.reshape(-1, scales.size, after) * scales[:, np.newaxis]
