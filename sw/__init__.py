# SPDX-License-Identifier: Apache-2.0
"""Encoder, stream format, container, golden model and metrics.

``load``, ``save`` and ``open_file`` are :mod:`xorloom.sw.model.files`: compressed files as those
use them who work with safetensors.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .model.files import load, open_file, save

__all__ = ["load", "open_file", "save"]


def __getattr__(name: str) -> Any:
    """Import on demand: the packages below this one are imported without their neighbours."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .model import files

    return getattr(files, name)
