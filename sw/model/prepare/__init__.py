# SPDX-License-Identifier: Apache-2.0
"""Preparation: what every tensor or row block keeps, and where what is made of it waits."""

from .aside import PutAside
from .blocks import BLOCK_WEIGHTS, CutModel, block_shapes, block_sizes, cut_model
from .decoders import decoders_of
from .maker import global_cuts, naming_errors, part_maker, wanted_count
from .part import Part
from .unit_store import UnitStore, unit_key
from .values import bias_of, biases_of, corrected

__all__ = [
    "BLOCK_WEIGHTS",
    "CutModel",
    "Part",
    "PutAside",
    "UnitStore",
    "bias_of",
    "biases_of",
    "block_shapes",
    "block_sizes",
    "corrected",
    "cut_model",
    "decoders_of",
    "global_cuts",
    "naming_errors",
    "part_maker",
    "unit_key",
    "wanted_count",
]
