# SPDX-License-Identifier: Apache-2.0
"""Distillation with frozen codes: scales, biases and norms learn to make up for compression."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import torch
from xorloom.sw.base.errors import ConfigError, DivergedError, check_range
from xorloom.sw.torch.coding.base import Coding
from xorloom.sw.torch.pruned import pruned

from .freezing import freeze

__all__ = ["Healed", "Loss", "distance", "distil", "heal"]

Loss = Callable[[Any, Any], torch.Tensor]
"""``loss(outputs, wanted)``: what the module gave, and what the teacher gave for the same batch."""

_BETAS = (0.9, 0.95)
"""Of Adam: the second moment is that of the last 20 steps, as there are few hundreds in all."""
_WARM_UP = 10
"""Steps in which the learning rate rises."""
_TOLD = 100
"""Steps between two lines of the log."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Healed:
    """What training did.

    Parameters
    ----------
    losses : tuple of float
        Loss of every step, before it.
    seconds : float
        Wall time.
    """

    losses: tuple[float, ...]
    seconds: float

    @property
    def steps(self) -> int:
        """Steps that were made."""
        return len(self.losses)


def heal(
    module: Any,
    teacher: Any,
    batches: Iterable[Any],
    *,
    steps: int | None = None,
    seconds: float | None = None,
    rate: float = 3e-3,
    scale_rate: float = 5e-3,
    loss: Loss | None = None,
) -> Healed:
    """Train scales, biases and norms of a compressed module towards its teacher's outputs.

    Codes, masks, levels, seeds and all other parameters of two dimensions or more stay as they are,
    and so does what has no gradients. Adam; the learning rate rises in a few steps and falls along
    a cosine. Works in place: codings that still choose are frozen for good, at what they have
    chosen.

    Parameters
    ----------
    module : torch.nn.Module
        Pruned, or frozen at what a file holds, see :func:`xorloom.sw.torch.pruning.prune` and
        :func:`xorloom.sw.torch.healing.freezing.load_frozen`.
    teacher : torch.nn.Module
        The original; left as it was.
    batches : iterable
        Arguments of both: a mapping of keywords, a tuple or list of positions, or one. They
        are gone through again and again until the steps are made.
    steps : int, optional
        As many as there are batches by default.
    seconds : float, optional
        Wall time after which no other step begins; the learning rate falls with the larger of the
        two shares, time and steps.
    rate : float
        Largest learning rate of biases and norms.
    scale_rate : float
        The same of the scales, as a share of their mean in each weight.
    loss : Loss, optional
        :func:`distance` by default.

    Raises
    ------
    ConfigError
        If there is no batch, nothing of the module is compressed, or a rate is not positive.
    DivergedError
        If a loss is not finite; the module is then as the last step left it.
    """
    runs = _checked(batches, rate=rate, scale_rate=scale_rate)
    groups = _scale_groups(freeze(module).values(), scale_rate)
    rest = _others(module, groups)
    groups.append({"params": [p for p in rest if p.ndim <= 1], "lr": rate})
    return _train(module, teacher, runs, groups, steps, seconds, loss or distance)


def distil(
    module: Any,
    teacher: Any,
    batches: Iterable[Any],
    *,
    steps: int | None = None,
    seconds: float | None = None,
    rate: float = 1e-3,
    scale_rate: float = 1e-3,
    latent_rate: float = 1e-4,
    loss: Loss | None = None,
) -> Healed:
    """Train a pruned module, latent weights and all, towards its teacher's outputs.

    Like :func:`heal`, and unlike :func:`xorloom.sw.torch.train.fit`, it needs no targets.

    Parameters
    ----------
    latent_rate : float
        Largest learning rate of the parameters of two dimensions or more that have gradients.
    module, teacher, batches, steps, seconds, rate, scale_rate, loss
        As of :func:`heal`.

    Raises
    ------
    ConfigError, DivergedError
        As of :func:`heal`.
    """
    runs = _checked(batches, rate=rate, scale_rate=scale_rate, latent_rate=latent_rate)
    there = pruned(module)
    if not there:
        raise ConfigError(f"nothing of {type(module).__name__} is pruned: call prune before")
    groups = _scale_groups([weight.coding for weight in there], scale_rate)
    rest = _others(module, groups)
    groups += [
        {"params": [p for p in rest if p.ndim <= 1], "lr": rate},
        {"params": [p for p in rest if p.ndim > 1], "lr": latent_rate},
    ]
    return _train(module, teacher, runs, groups, steps, seconds, loss or distance)


def _checked(batches: Iterable[Any], **rates: float) -> list[Any]:
    """Return the batches, after a look at all that can be wrong before a module is touched."""
    runs = list(batches)
    if not runs:
        raise ConfigError("batches is empty: training needs at least one (use typical inputs)")
    for name, number in rates.items():
        if not 0 < number < math.inf:
            raise ConfigError(f"{name} must be positive, not {number}")
    return runs


def _others(module: Any, groups: list[dict[str, Any]]) -> list[Any]:
    """Return the parameters that have gradients and are in no group."""
    taken = {id(p) for group in groups for p in group["params"]}
    return [p for p in module.parameters() if p.requires_grad and id(p) not in taken]


def _scale_groups(codings: Iterable[Coding], scale_rate: float) -> list[dict[str, Any]]:
    """Return the optimizer's groups of scales, their steps relative to their size."""
    return [
        {"params": group["params"], "lr": scale_rate * group["lr_factor"]}
        for coding in codings
        for group in coding.training_parameters()
    ]


def distance(outputs: Any, wanted: Any) -> torch.Tensor:
    """Return how far outputs are from the wanted ones, relative to their size.

    Of a tensor it is the squared error over the sum of squares; for embeddings of length 1 that is
    twice one minus the cosine. Of several, in a tuple, list or mapping, the last counts as much as
    the mean of the others: so let a module return its hidden states, and last its result.
    """
    pairs = list(zip(_tensors(outputs), _tensors(wanted), strict=True))
    if not pairs:
        raise ConfigError(
            f"outputs are no tensors of floats, but {type(outputs).__name__} (give a loss of your "
            "own)"
        )
    parts = [((a - b) ** 2).sum() / (b**2).sum().clamp(min=1e-30) for a, b in pairs]
    total = parts[-1]
    if len(parts) > 1:
        total = total + torch.stack(parts[:-1]).mean()
    return total


def _tensors(outputs: Any) -> list[torch.Tensor]:
    if isinstance(outputs, torch.Tensor):
        return [outputs] if outputs.is_floating_point() else []
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, tuple | list):
        return [tensor for part in outputs for tensor in _tensors(part)]
    return []


@contextmanager
def _only(module: Any, groups: list[dict[str, Any]]) -> Iterator[None]:
    """Let only parameters of the groups have gradients, and everything be in evaluation mode."""
    chosen = {id(p) for group in groups for p in group["params"]}
    before = [(p, p.requires_grad) for p in module.parameters()]
    training = [part for part in module.modules() if part.training]
    for p, _ in before:
        p.requires_grad_(id(p) in chosen)
    module.eval()
    try:
        yield
    finally:
        for p, had in before:
            p.requires_grad_(had)
            p.grad = None
        for part in training:
            part.training = True


def _train(
    module: Any,
    teacher: Any,
    runs: list[Any],
    groups: list[dict[str, Any]],
    steps: int | None,
    seconds: float | None,
    loss: Loss,
) -> Healed:
    """Make the steps."""
    if seconds is not None and not seconds > 0:
        raise ConfigError(f"seconds must be positive, not {seconds}")
    count = check_range("steps", len(runs) if steps is None else steps, 1, 1 << 31)
    groups = [group for group in groups if group["params"]]
    source = cycle(runs)
    optimizer = torch.optim.Adam(groups, betas=_BETAS)
    tops = [group["lr"] for group in groups]
    begin, losses = time.monotonic(), []
    was_training = [part for part in teacher.modules() if part.training]
    teacher.eval()
    try:
        with _only(module, groups):
            for step in range(count):
                share = step / count
                if seconds is not None:
                    share = max(share, (time.monotonic() - begin) / seconds)
                if share >= 1:
                    break
                factor = min(1.0, (step + 1) / _WARM_UP) * (1 + math.cos(math.pi * share)) / 2
                for group, top in zip(optimizer.param_groups, tops, strict=True):
                    group["lr"] = top * factor
                losses.append(_step(module, teacher, next(source), optimizer, loss, step))
                if (step + 1) % _TOLD == 0:
                    mean = sum(losses[-_TOLD:]) / _TOLD
                    _log.info(f"xorloom: distilling: {step + 1} of {count} steps, loss {mean:.4f}")
    finally:
        for part in was_training:
            part.training = True
    return Healed(tuple(losses), time.monotonic() - begin)


def _step(module: Any, teacher: Any, batch: Any, optimizer: Any, loss: Loss, step: int) -> float:
    """Make a step, and return the loss before it."""
    with torch.no_grad():
        wanted = _run(teacher, batch)
    found = loss(_run(module, batch), wanted)
    number = float(found.detach())
    if not math.isfinite(number):
        raise DivergedError(
            f"loss of step {step} is {number}: lower rate and scale_rate, and look at the batch "
            "(its inputs or the teacher's outputs may not be finite)"
        )
    optimizer.zero_grad(set_to_none=True)
    found.backward()
    optimizer.step()
    return number


def _run(module: Any, batch: Any) -> Any:
    """Return a module's outputs for a batch: keywords, positions, or one argument."""
    if isinstance(batch, Mapping):
        return module(**batch)
    return module(*batch) if isinstance(batch, tuple | list) else module(batch)
