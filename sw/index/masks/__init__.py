# SPDX-License-Identifier: Apache-2.0
"""Choices of masks: a mask with the index streams that hold it, from one call, and files of them.

A mask of an index that chooses it cannot be stored from the mask alone. So the two stay together:
a network is trained under the mask, and the same streams go into its file.
"""

from .choice import Choice, check_choice
from .choose import choose_mask, chosen_with, importance_of
from .file import check_file, load_choices, save_choices

__all__ = [
    "Choice",
    "check_choice",
    "check_file",
    "choose_mask",
    "chosen_with",
    "importance_of",
    "load_choices",
    "save_choices",
]
