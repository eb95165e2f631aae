# SPDX-License-Identifier: Apache-2.0
"""Moments of a matrix's inputs: what calibration knows of them, and how they are summed up."""

from dataclasses import dataclass

import numpy as np
from xorloom.sw.base.errors import ConfigError

__all__ = ["Moments", "MomentsBuilder"]

_ASYMMETRY = 1e-3
"""Most by which a second moment may differ from its transpose, of its largest entry."""
_ABOVE = 1e-3
"""Share by which a moment may be above the most that others allow: they are rounded."""
_LARGEST = {1: 1e15, 2: 1e30}
"""Largest numbers of means and of second moments: no inputs are that large."""
_CHUNK = 1024
"""Inputs whose products are summed in single precision; sums of chunks are double precision."""


@dataclass(frozen=True)
class Moments:
    """Moments of the inputs ``x`` of one matrix, of ``n`` features.

    Parameters
    ----------
    second : (n, n) float32 or float64
        ``E[x x']``.
    mean : (n,) float32 or float64, optional
        ``E[x]``; without it biases are left as they are.
    samples : int
        Inputs that were averaged; 0 if not known.
    cross : (n, n) float32 or float64, optional
        ``E[z x']``, where ``z`` are the inputs that the matrix had in the original model.
    original_mean : (n,) float32 or float64, optional
        ``E[z]``; goes with ``cross``.

    Raises
    ------
    ConfigError
        If a shape does not fit, a number is not finite, or ``second`` cannot be a second moment.
        The message names the key of the file of calibrations.
    """

    second: np.ndarray
    mean: np.ndarray | None = None
    samples: int = 0
    cross: np.ndarray | None = None
    original_mean: np.ndarray | None = None

    def __post_init__(self) -> None:
        second = self.second
        if second.ndim != 2 or second.shape[0] != second.shape[1]:
            raise ConfigError(f"second moment has shape {second.shape}, must be a square matrix")
        fields: tuple[tuple[str, np.ndarray | None, int], ...] = (
            ("second moment", second, 2),
            ("mean", self.mean, 1),
            ("cross", self.cross, 2),
            ("original_mean", self.original_mean, 1),
        )
        for what, array, dimensions in fields:
            if array is None:
                continue
            shape = second.shape[:dimensions]
            if array.dtype not in (np.float32, np.float64):
                raise ConfigError(f"{what} is {array.dtype}, must be float32 or float64")
            if array.shape != shape:
                raise ConfigError(f"{what} has shape {array.shape}, must be {shape}")
            if (at := _first(~np.isfinite(array))) is not None:
                raise ConfigError(
                    f"{what} at {at} is {array[at]}, must be finite (collect it again)"
                )
            if (at := _first(np.abs(array) > _LARGEST[dimensions])) is not None:
                raise ConfigError(
                    f"{what} at {at} is {array[at]:g}, must be at most {_LARGEST[dimensions]:g} "
                    "(collect it again)"
                )
        if (self.cross is None) != (self.original_mean is None):
            raise ConfigError("cross and original_mean go together: one of them is missing")
        largest = float(np.abs(second).max(initial=0))
        if 0 < largest < 1 / _LARGEST[2]:
            raise ConfigError(
                f"second moment is at most {largest:g}: it must be 0 or reach {1 / _LARGEST[2]:g} "
                "(scale it up)"
            )
        if not np.allclose(second, second.T, rtol=0, atol=_ASYMMETRY * largest):
            raise ConfigError(
                "second moment is not symmetric (it must be the mean of x x' over all inputs x)"
            )
        if (second.diagonal() < 0).any():
            i = int(np.argmax(second.diagonal() < 0))
            raise ConfigError(
                f"second moment at ({i}, {i}) is {second[i, i]}, must not be negative"
            )
        roots = np.sqrt(second.diagonal().astype(np.float64)) * (1 + _ABOVE)
        near = _ASYMMETRY * largest
        if (at := _first(np.abs(second) > np.outer(roots, roots) + near)) is not None:
            raise ConfigError(
                f"second moment at {at} is {second[at]:g}, more than its diagonal allows (it must "
                "be the mean of x x' over all inputs x)"
            )
        if self.mean is None:
            return
        if (at := _first(np.abs(self.mean) > roots + near**0.5)) is not None:
            raise ConfigError(
                f"mean at {at} is {self.mean[at]:g}, more than the second moment allows (collect "
                "both again, from the same inputs)"
            )

    @property
    def columns(self) -> int:
        """Features of an input."""
        return self.second.shape[0]

    def check_columns(self, columns: int) -> None:
        """Check that a matrix has as many columns as inputs have features.

        Raises
        ------
        ConfigError
            If it has not.
        """
        if columns != self.columns:
            raise ConfigError(
                f"calibration is of {self.columns} columns, the tensor has {columns} (collect it "
                "from the model that is compressed)"
            )


def _first(wrong: np.ndarray) -> tuple[int, ...] | None:
    """Return where the first ``True`` of an array stands; ``None`` if there is none."""
    if not wrong.any():
        return None
    return tuple(int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))


class MomentsBuilder:
    """Sums over inputs, from which moments are made.

    Parameters
    ----------
    columns : int
        Features of an input.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._samples = 0
        self._second = np.zeros((columns, columns))
        self._sum = np.zeros(columns)
        self._cross: np.ndarray | None = None
        self._original = np.zeros(columns)

    @property
    def columns(self) -> int:
        """Features of an input."""
        return self._columns

    def add(self, inputs: np.ndarray, originals: np.ndarray | None = None) -> None:
        """Add inputs.

        Parameters
        ----------
        inputs : (tokens, columns) float array
        originals : (tokens, columns) float array, optional
            The same tokens' inputs in the original model: with every call or with none.

        Raises
        ------
        ConfigError
            If a shape does not fit, a number is not finite, or originals come only now and then.
        """
        x = self._checked(inputs, "inputs")
        z = None if originals is None else self._checked(originals, "original inputs")
        if z is not None and len(z) != len(x):
            raise ConfigError(f"{len(z)} original inputs for {len(x)} inputs: they must be as many")
        if self._samples and (z is None) != (self._cross is None):
            raise ConfigError("original inputs must come with every call, or with none")
        if z is not None and self._cross is None:
            self._cross = np.zeros((self._columns, self._columns))
        for at in range(0, len(x), _CHUNK):
            part = x[at : at + _CHUNK]
            self._second += part.T @ part
            if z is not None:
                self._cross += z[at : at + _CHUNK].T @ part
        self._sum += x.sum(axis=0, dtype=np.float64)
        if z is not None:
            self._original += z.sum(axis=0, dtype=np.float64)
        self._samples += len(x)

    def _checked(self, inputs: np.ndarray, what: str) -> np.ndarray:
        if inputs.ndim != 2 or inputs.shape[1] != self._columns:
            raise ConfigError(
                f"{what} have shape {inputs.shape}, must be (tokens, {self._columns})"
            )
        single = inputs.astype(np.float32, copy=False)
        if not np.isfinite(single).all():
            raise ConfigError(f"{what} are not finite (leave out the batch, or mend the model)")
        return single

    def moments(self) -> Moments:
        """Return the moments so far, in float32, as a file of calibrations holds them.

        Raises
        ------
        ConfigError
            If no inputs were added.
        """
        if not self._samples:
            raise ConfigError("no inputs reached the matrix (run forward passes that use it)")
        n = float(self._samples)
        with_cross = self._cross is not None
        return Moments(
            (self._second / n).astype(np.float32),
            (self._sum / n).astype(np.float32),
            self._samples,
            (self._cross / n).astype(np.float32) if self._cross is not None else None,
            (self._original / n).astype(np.float32) if with_cross else None,
        )
