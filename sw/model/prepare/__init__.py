# SPDX-License-Identifier: Apache-2.0
"""Preparation: what every tensor or row block keeps, and where what is made of it waits."""

from .aside import PackedPart, PutAside
from .biases import bias_of, biases_of
from .blocks import BLOCK_WEIGHTS, CutModel, block_shapes, block_sizes, cut_model
from .decoders import decoders_of
from .maker import global_cuts, naming_errors, part_of
from .part import Part
from .unit import Unit, units_of
from .unit_store import UnitStore, unit_key
from .values import corrected

__all__ = [
    "BLOCK_WEIGHTS",
    "CutModel",
    "PackedPart",
    "Part",
    "PutAside",
    "Unit",
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
    "part_of",
    "unit_key",
    "units_of",
]
