# SPDX-License-Identifier: Apache-2.0
"""Sequential calibration: moments of matrices group after group, through what is compressed."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.moments import Moments, MomentsBuilder

from .file import Calibration

__all__ = ["Add", "Forward", "Replace", "collect"]

Add = Callable[..., None]
"""``add(name, inputs, originals=None)``: inputs of a matrix, (tokens, columns), and maybe those
that it has in the original model."""
Forward = Callable[[Sequence[str], Add], None]
"""``forward(names, add)``: run the model as it now is, and add the inputs of the named matrices."""
Replace = Callable[[str, Moments], None]
"""``replace(name, moments)``: compress a matrix, and put what comes back, and the bias that goes
with it, into the model."""


def collect(
    groups: Sequence[Sequence[str]], columns: Mapping[str, int], forward: Forward, replace: Replace
) -> Calibration:
    """Return the moments of all matrices.

    Of every group, moments are collected first; then its matrices are replaced, so that the groups
    after it see the inputs that they will have.

    Parameters
    ----------
    groups : sequence of sequences of str
        Names of matrices, in the order in which the model uses them; those of a group do not see
        each other's outputs.
    columns : mapping
        From name to columns.
    forward, replace : callable
        The model.

    Raises
    ------
    ConfigError
        If a name comes twice, no inputs reached a matrix, or inputs cannot be used; the message
        names the matrix.
    """
    names = [name for group in groups for name in group]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"{twice}: stands in the groups twice (leave one out)")
    found: dict[str, Moments] = {}
    for group in groups:
        builders = {name: MomentsBuilder(columns[name]) for name in group}

        def add(
            name: str,
            inputs: np.ndarray,
            originals: np.ndarray | None = None,
            builders: dict[str, MomentsBuilder] = builders,
        ) -> None:
            try:
                builders[name].add(inputs, originals)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from error

        forward(group, add)
        for name in group:
            try:
                found[name] = builders[name].moments()
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from error
        for name in group:
            replace(name, found[name])
    return Calibration(found)
