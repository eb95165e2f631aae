# SPDX-License-Identifier: Apache-2.0
"""Calibration of a torch model: forward passes, group after group, through what is compressed."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.extras import require
from xorloom.sw.model.calibration import collect as engine
from xorloom.sw.model.calibration.file import Calibration, save
from xorloom.sw.tensors.moments import Moments, MomentsBuilder
from xorloom.sw.value.direct.compensate import corrected_bias

from .modules import Weights, inputs_of, matrices

__all__ = ["Plan", "collect"]

Plan = Callable[[str, np.ndarray, Moments, bool], np.ndarray]
"""``plan(name, weights, moments, has_bias)``: what a matrix comes back as, (rows, columns) float32
both, after it was compressed with these moments."""

_log = logging.getLogger(__name__)


class _EnoughError(Exception):
    """All matrices of a group have had their inputs: the rest of a forward pass is not needed."""


def collect(
    module: Any,
    batches: Iterable[Any],
    plan: Plan,
    path: Path | None = None,
    *,
    names: Sequence[str] | None = None,
    groups: Sequence[Sequence[str]] | None = None,
) -> Calibration:
    """Return the moments of the inputs of a model's matrices.

    Matrices are taken in the order in which the first batch reaches them; those that it reaches one
    after another with the same input make a group. Of each group moments are collected by forward
    passes through the original model and through the compressed one, which end where the group is;
    then its matrices are compressed. The module is left as it was.

    Parameters
    ----------
    module : torch.nn.Module
    batches : iterable
        Arguments of the module: a mapping of keywords, a tuple or list of positions, or one.
    plan : Plan
        How a matrix is compressed.
    path : Path, optional
        File of calibrations to write.
    names : sequence of str, optional
        Weights to calibrate, such as ``encoder.0.weight``; without, those of every ``Linear`` and
        ``Conv2d``. What the first batch does not reach is left out, and told.
    groups : sequence of sequences of str, optional
        Names in groups, in the order of use, in place of what was seen; takes fewer passes.

    Raises
    ------
    ToolError
        If torch is not installed.
    ConfigError
        If there is no batch, a name is not that of a matrix, or inputs cannot be used.
    """
    require("torch")
    import torch

    runs = list(batches)
    if not runs:
        raise ConfigError("batches is empty: calibration needs at least one (use typical inputs)")
    modules, notes = matrices(module)
    wanted = [name for group in groups for name in group] if groups is not None else names
    for name in modules if wanted is None else wanted:
        if name not in modules:
            raise ConfigError(
                f"{name}: no Linear or Conv2d of the module has it (names are those of the state "
                "dict, such as encoder.0.weight)"
            )
    if wanted is not None:
        modules = {name: modules[name] for name in dict.fromkeys(wanted)}
    for note in notes if wanted is None else ():
        _log.warning(f"xorloom: {note}")
    weights = Weights(modules)
    with _evaluating(module), torch.no_grad():
        seen, calls = _order(module, modules, runs[0])
        missed = [name for name in modules if not calls[name]]
        if missed:
            _log.warning(
                f"xorloom: not calibrated, as the first batch does not reach them: "
                f"{', '.join(missed)}"
            )
        found = groups if groups is not None else seen
        order = [part for group in found if (part := [name for name in group if calls[name]])]
        try:
            calibration = engine.collect(
                _steps(module, modules, runs, order, calls, weights),
                lambda name, moments: _replace(weights, name, moments, plan),
            )
        finally:
            weights.use_original()
    if path is not None:
        save(path, calibration)
    return calibration


@contextmanager
def _evaluating(module: Any) -> Iterator[None]:
    """Leave the training mode, of every part by itself, until the block ends."""
    training = [part for part in module.modules() if part.training]
    module.eval()
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _run(module: Any, batch: Any) -> None:
    if isinstance(batch, Mapping):
        module(**batch)
    elif isinstance(batch, tuple | list):
        module(*batch)
    else:
        module(batch)


@contextmanager
def _watched(modules: dict[str, Any], see: Callable[[str, Any], None]) -> Iterator[None]:
    """Call ``see(name, argument)`` whenever one of the modules is called."""

    def hook(name: str) -> Callable[[Any, Any, Any], None]:
        def called(_part: Any, arguments: Any, keywords: Any) -> None:
            see(name, arguments[0] if arguments else keywords["input"])

        return called

    handles = [
        part.register_forward_pre_hook(hook(name), with_kwargs=True)
        for name, part in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _order(
    module: Any, modules: dict[str, Any], batch: Any
) -> tuple[list[list[str]], Counter[str]]:
    """Return the names in the order of their first use, in groups, and how often each is used."""
    groups: list[list[str]] = []
    calls: Counter[str] = Counter()
    last: list[Any] = [None]

    def see(name: str, argument: Any) -> None:
        calls[name] += 1
        if calls[name] == 1:
            if last[0] is not argument:
                groups.append([])
            groups[-1].append(name)
            last[0] = argument

    with _watched(modules, see):
        _run(module, batch)
    return groups, calls


def _steps(
    module: Any,
    modules: dict[str, Any],
    batches: list[Any],
    groups: Sequence[Sequence[str]],
    calls: Counter[str],
    weights: Weights,
) -> Iterator[dict[str, MomentsBuilder]]:
    """Yield the sums of every group, over all batches."""
    for group in groups:
        parts = {name: modules[name] for name in group}
        builders: dict[str, MomentsBuilder] = {}
        for batch in batches:
            weights.use_original()
            originals = _inputs(module, parts, batch, calls)
            weights.use_replaced()
            own = _inputs(module, parts, batch, calls)
            for name, x, z in _paired(own, originals):
                builder = builders.setdefault(name, MomentsBuilder(x.shape[1]))
                try:
                    builder.add(x, z)
                except ConfigError as error:
                    raise ConfigError(f"{name}: {error}") from error
        yield builders


def _inputs(
    module: Any, parts: dict[str, Any], batch: Any, calls: Counter[str]
) -> dict[str, list[np.ndarray]]:
    """Return the inputs of a group's modules in a forward pass that ends where they had them."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in parts}

    def see(name: str, argument: Any) -> None:
        found[name].append(inputs_of(parts[name], argument))
        if all(len(found[other]) >= calls[other] for other in parts):
            raise _EnoughError

    with _watched(parts, see), suppress(_EnoughError):
        _run(module, batch)
    return found


def _paired(
    own: dict[str, list[np.ndarray]], originals: dict[str, list[np.ndarray]]
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, inputs and original inputs of every call.

    Raises
    ------
    ConfigError
        If the two passes did not call a module equally often.
    """
    for name, calls in own.items():
        if len(calls) != len(originals[name]):
            raise ConfigError(
                f"{name}: called {len(originals[name])} times by the original model, {len(calls)} "
                "times by the compressed one (leave it out)"
            )
        for x, z in zip(calls, originals[name], strict=True):
            yield name, x, z


def _replace(weights: Weights, name: str, moments: Moments, plan: Plan) -> None:
    """Compress a matrix, and put it back with the bias that goes with it."""
    array, bias = weights.arrays(name)
    flat = array.reshape(len(array), -1)
    values = plan(name, flat, moments, bias is not None)
    if values.shape != flat.shape:
        raise ConfigError(f"{name}: plan returned shape {values.shape}, must be {flat.shape}")
    if bias is not None:
        bias = corrected_bias(bias, flat, values, moments)
    weights.replace(name, values.reshape(array.shape).astype(np.float32, copy=False), bias)
