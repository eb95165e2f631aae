# SPDX-License-Identifier: Apache-2.0
"""Preparation: a tensor's mask and codes, made once, and put aside where they must wait."""

from .aside import PutAside
from .blocks import BLOCK_WEIGHTS, CutModel, block_names, cut_model
from .maker import part_maker, wanted_count
from .part import Part
from .values import bias_of, corrected

__all__ = [
    "BLOCK_WEIGHTS",
    "CutModel",
    "Part",
    "PutAside",
    "bias_of",
    "block_names",
    "corrected",
    "cut_model",
    "part_maker",
    "wanted_count",
]
