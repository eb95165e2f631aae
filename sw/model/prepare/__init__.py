# SPDX-License-Identifier: Apache-2.0
"""Preparation: a tensor's mask and codes, made once, and put aside where they must wait."""

from .aside import PutAside
from .maker import part_maker, wanted_count
from .part import Part
from .values import bias_of, corrected

__all__ = ["Part", "PutAside", "bias_of", "corrected", "part_maker", "wanted_count"]
