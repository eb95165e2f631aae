# SPDX-License-Identifier: Apache-2.0
"""Sequential calibration: moments of matrices group after group, through what is compressed."""

from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.moments import Moments, MomentsBuilder

from .file import Calibration

__all__ = ["Replace", "Walk", "along", "collect"]

Replace = Callable[[str, Moments], None]
"""``replace(name, moments)``: compress a matrix, and put what comes back, and the bias that goes
with it, into the model."""
Walk = Iterable[tuple[Iterable[str], np.ndarray]]
"""A forward pass that stops before every group of matrices: their names, and the inputs that they
share, (tokens, columns). It goes on with the weights that the model then has."""


def collect(steps: Iterable[Mapping[str, MomentsBuilder]], replace: Replace) -> Calibration:
    """Return the moments of all matrices.

    The matrices of a step are replaced before the next step is asked for, so that it sees the
    inputs that its matrices will have.

    Parameters
    ----------
    steps : iterable of mappings from name to MomentsBuilder
        Matrices in the order in which the model uses them, with the sums over their inputs; those
        of a step do not see each other's outputs. Matrices of the same inputs can share sums.
    replace : callable

    Raises
    ------
    ConfigError
        If a name comes twice, or no inputs reached a matrix; the message names it.
    """
    found: dict[str, Moments] = {}
    for builders in steps:
        made: dict[int, Moments] = {}
        for name, builder in builders.items():
            if name in found:
                raise ConfigError(f"{name}: comes twice (leave one out)")
            try:
                found[name] = made.get(id(builder)) or builder.moments()
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from error
            made[id(builder)] = found[name]
        for name in builders:
            replace(name, found[name])
    return Calibration(found)


def along(walk: Walk, original: Walk | None = None) -> Iterator[dict[str, MomentsBuilder]]:
    """Yield the steps of a forward pass, for :func:`collect`.

    Parameters
    ----------
    walk : Walk
        Through the model whose matrices are replaced.
    original : Walk, optional
        The same through the original model, which stays as it is.

    Raises
    ------
    ConfigError
        If inputs cannot be used, or the walks differ; the message names the matrices.
    """
    others = iter(original) if original is not None else None
    for names, inputs in walk:
        group = list(names)
        own = None
        if others is not None:
            same, own = next(others, ((), None))
            if list(same) != group:
                raise ConfigError(
                    f"{', '.join(group)}: the original model has {', '.join(same) or 'nothing'} in "
                    "this place (take the model that is compressed)"
                )
        builder = MomentsBuilder(inputs.shape[-1])
        try:
            builder.add(inputs, own)
        except ConfigError as error:
            raise ConfigError(f"{', '.join(group)}: {error}") from error
        yield dict.fromkeys(group, builder)
