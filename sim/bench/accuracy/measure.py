# SPDX-License-Identifier: Apache-2.0
"""Rows of the accuracy laboratory: select on the validation part, train, export, measure."""

from __future__ import annotations

import copy
import logging
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from xorloom.sw.base.errors import ConfigError, DensityError, FormatError
from xorloom.sw.model.metrics import TensorBits
from xorloom.sw.torch import export, load, prune
from xorloom.sw.torch.plan import LayerPlan

from .jobs import Job, dense_key, schedule_of
from .methods import METHODS, Candidate, Method, block_bits, candidates, pattern_bits
from .networks import NETWORKS
from .tasks import Task
from .training import dense_state, train

__all__ = ["Subject", "measure", "select", "subject"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Subject:
    """What methods are measured on.

    Parameters
    ----------
    task : Task
        Of what is trained under a code.
    module : torch.nn.Module
        With dense weights; copied, never changed.
    dense : float
        Figure of the dense network on the test part.
    """

    task: Task
    module: Any
    dense: float

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the compressed weights."""
        state = self.module.state_dict()
        return [tuple(state[name].shape) for name in self.task.weights]


@lru_cache(maxsize=1)
def subject(network: str, data: str, *, quick: bool) -> Subject:
    """Return a network on a data set, its dense weights trained once and kept in the cache."""
    schedule = schedule_of(network, quick=quick)
    whole = NETWORKS[network].task(data, schedule, quick)
    module = whole.dense()
    module.load_state_dict(dense_state(whole, dense_key(network, data, quick=quick)))
    module.eval()
    figure = whole.figure(whole.logits(module, "test"), "test")
    task, fixed = whole.fixed(module)
    return Subject(task, fixed, figure)


def measure(job: Job) -> dict[str, Any]:
    """Return the row of a job, or ``{"reason": ...}`` where its method cannot reach the budget.

    Raises
    ------
    FormatError
        If a file does not give back exactly the network that was trained.
    """
    on = subject(job.network, job.data, quick=job.quick)
    method = METHODS[job.method]
    try:
        choices = candidates(method, on.shapes, job.budget)
        best, validation = select(on, choices[:1] if job.quick else choices)
    except (ConfigError, DensityError) as error:
        return {"reason": str(error)}
    pruned = _pruned(on, best.plan)
    found, losses, totals, last = [], [], [], []
    for seed in range(job.seeds):
        module = copy.deepcopy(pruned)
        train(on.task, module, job.epochs, best.rate, seed)
        logits = on.task.logits(module, "test")
        with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
            path = Path(folder) / "network.safetensors"
            bits = export(module, path).bits
            loaded = on.task.logits(load(path, copy.deepcopy(on.module)), "test")
        if not torch.equal(logits, loaded):
            raise FormatError(
                f"{job.network}, {job.data}, {job.method} at {job.budget:g}: the file's network "
                "computes other logits than the trained one (a bug: please report it)"
            )
        figure = on.task.figure(logits, "test")
        found.append(figure)
        losses.append(on.task.figure(loaded, "test") - figure)
        last = [bits[name] for name in on.task.weights]
        totals.append(_stored(method, best.plan, on, module, last))
    weights = sum(map(math.prod, on.shapes))
    return {
        "network": job.network,
        "data": job.data,
        "method": job.method,
        "budget": job.budget,
        "density": sum(part.kept for part in last) / weights,
        "index_bits": sum(part.index for part in last) / weights,
        "planes": best.plan.planes,
        "scale": best.plan.scale,
        "bits_per_weight": statistics.fmean(totals) / weights,
        "metric": on.task.metric,
        "accuracy": statistics.fmean(found),
        "accuracy_std": statistics.stdev(found) if len(found) > 1 else 0.0,
        "dense_accuracy": on.dense,
        "epochs": job.epochs,
        "seeds": job.seeds,
        "learning_rate": best.rate,
        "validation_accuracy": validation,
        "accuracy_loss_from_codec": max(losses, key=abs),
        "command": job.command,
    }


def select(on: Subject, choices: Sequence[Candidate]) -> tuple[Candidate, float]:
    """Return the candidate that is best on the validation part after a short training, and how.

    Raises
    ------
    ConfigError, DensityError
        If none can be trained; that of the last one.
    """
    best: tuple[float, Candidate] | None = None
    error: ConfigError | DensityError | None = None
    for choice in choices:
        try:
            module = _pruned(on, choice.plan)
            train(on.task, module, on.task.schedule.candidate_epochs, choice.rate, seed=0)
        except (ConfigError, DensityError) as found:
            error = found
            continue
        figure = on.task.figure(on.task.logits(module, "validation"), "validation")
        if best is None or (figure > best[0]) == on.task.higher_is_better:
            best = figure, choice
    if best is None:
        assert error is not None
        raise error
    return best[1], best[0]


def _pruned(on: Subject, plan: LayerPlan) -> Any:
    module = copy.deepcopy(on.module)
    prune(module, dict.fromkeys(on.task.weights, plan))
    return module


def _stored(
    method: Method, plan: LayerPlan, on: Subject, module: Any, bits: Sequence[TensorBits]
) -> int:
    """Return the bits of the compressed weights: of the file, or as a method's hardware has them.

    The file of the paper's masks holds values in the window codec; what the block codec takes for
    the same codes is counted in their place.
    """
    if method.mask == "n:m":
        return sum(pattern_bits(shape, plan) for shape in on.shapes)
    total = sum(part.total for part in bits)
    if method.paper:
        for name, part in zip(on.task.weights, bits, strict=True):
            coded = _coded(module, name)
            values = part.total - part.index - part.scales
            total += block_bits(coded.mask, coded.codes, plan.planes) - values
    return total
