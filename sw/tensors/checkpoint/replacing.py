# SPDX-License-Identifier: Apache-2.0
"""What must be true before a tensor of a file is replaced."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.safetensors_file import dtype_name

from .model import listed

__all__ = ["check_known", "fitting"]


def check_known(name: str, known: Iterable[str], source: Path) -> None:
    """Check that a file has a tensor.

    Raises
    ------
    ConfigError
        If it has not.
    """
    if name not in known:
        raise ConfigError(
            f"{source}: has no tensor {name!r} (there is: {listed(known)}): give the model that "
            "was compressed"
        )


def fitting(array: np.ndarray, dtype: str, shape: tuple[int, ...], label: str) -> np.ndarray:
    """Return an array, row by row in memory, that stands where a tensor stood.

    Parameters
    ----------
    array : array
    dtype : str
    shape : tuple of int
        Of the tensor.
    label : str
        What errors call it.

    Raises
    ------
    ConfigError
        If it is of another dtype or shape.
    """
    own = dtype_name(array.dtype)
    if (own, array.shape) != (dtype, shape):
        raise ConfigError(
            f"{label} is {dtype} {shape}, not {own} {array.shape}: give the model that was "
            "compressed"
        )
    return np.asarray(array, order="C")
