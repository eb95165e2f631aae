# SPDX-License-Identifier: Apache-2.0
"""Choices, codes and seeds such as training gives: no search would find them again."""

import numpy as np
from xorloom.sw.index.masks import choose_mask
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.tensors.quantize import Quantized, Quantizer
from xorloom.sw.value.direct.choose import choose

from tests.helpers.models import WINDOW

__all__ = ["CODECS", "DIRECT", "LEVELS", "PLAN", "SHAPE", "chosen", "quantized", "seeds_of"]

DIRECT = DirectConfig(n_in=8, n_out=12, planes=3, window=6, taps=3, bus_bits=32)
SHAPE = (48, 64)
PLAN = TensorPlan(config=WINDOW, search=False)
LEVELS = Quantizer("trellis", 3)
CODECS = ("trellis", "lowrank", "hashed")
_CHOICES = {}


def chosen(weights, codec="trellis", **options):
    """Choose a small mask; the same one is chosen once."""
    key = weights.tobytes(), codec, tuple(options.items())
    if key not in _CHOICES:
        options = {"density": 0.2, "window": 8} | options
        _CHOICES[key] = choose_mask(weights, codec=codec, value=WINDOW, **options)
    return _CHOICES[key]


def quantized(mask, quantizer, rng, dtype=np.float16):
    """Codes and scales that no quantizer of ours would choose."""
    codes = rng.integers(0, 1 << quantizer.planes, mask.shape).astype(np.uint8) * mask
    scales = rng.standard_normal(quantizer.scale_shape(mask.shape)).astype(dtype)
    return Quantized(mask, codes, scales)


def seeds_of(weights, rotation=None, **options):
    """Seeds and weights such as training could give: not those of a search for these weights."""
    found = choose(weights[::-1] * 0.7 + 0.1, DIRECT, LEVELS, **options)
    scales = (found.scales * np.float16(1.25)).astype(found.scales.dtype)
    mask = np.ones(weights.shape, np.bool_)
    ours = Quantized(mask, found.codes, scales, levels=found.streams.levels, rotation=rotation)
    return found.streams, ours
