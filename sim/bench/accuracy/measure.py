# SPDX-License-Identifier: Apache-2.0
"""Rows of the accuracy laboratory: select on the validation part, train, export, measure."""

from __future__ import annotations

import copy
import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from xorloom.sw.base.errors import (
    CapacityError,
    ConfigError,
    DensityError,
    DivergedError,
    FormatError,
)
from xorloom.sw.index.choice import BudgetError
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import STREAM, read_container
from xorloom.sw.model.metrics import TensorBits
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.tensors.checkpoint import from_arrays
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.torch import export, load, load_frozen, prune
from xorloom.sw.torch.plan import LayerPlan
from xorloom.sw.torch.pruned import pruned
from xorloom.sw.torch.schedule import Schedule
from xorloom.sw.torch.train import Teacher

from .jobs import Job, dense_key, schedule_of
from .methods import METHODS, Method, block_bits, pattern_bits, plan_at
from .networks import NETWORKS, SENTENCES
from .tasks import Task
from .training import dense_state, train

__all__ = ["Candidate", "Subject", "candidates", "measure", "select", "subject"]

_ROUNDS, _STEP = 10, 0.99
_FULL = 0.995
"""Share of a budget that is as good as all of it."""
_EXACT = ("all", "n:m")
"""Masks whose plan is the largest within a budget: it is counted, not estimated."""
_TAPS = 4
"""Of networks whose seeds are searched."""


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


@dataclass(frozen=True)
class Candidate:
    """A plan that fits a budget, and a learning rate.

    Parameters
    ----------
    plan : LayerPlan
        Of all compressed weights.
    rate : float
    start : torch.nn.Module
        The dense network pruned by the plan; copied, never changed.
    """

    plan: LayerPlan
    rate: float
    start: Any


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
    if job.network == SENTENCES:
        return _sentences(job)
    on = subject(job.network, job.data, quick=job.quick)
    method = METHODS[job.method]
    try:
        choices = candidates(on, method, job.budget)
    except (ConfigError, DensityError) as error:
        return {"reason": str(error)}
    best, validation = select(on, method, choices)
    found, losses, totals = [], [], []
    bits: list[TensorBits] = []
    for seed in range(job.seeds):
        module = _trained(on, method, best, job.epochs, seed)
        logits = on.task.logits(module, "test")
        with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
            path = Path(folder) / "network.safetensors"
            bits, total = _written(on, method, best.plan, module, path)
            totals.append(total)
            loaded = on.task.logits(load(path, copy.deepcopy(on.module)), "test")
        if not torch.equal(logits, loaded):
            raise FormatError(
                f"{job.network}, {job.data}, {job.method} at {job.budget:g}: the file's network "
                "computes other logits than the trained one (a bug: please report it)"
            )
        figure = on.task.figure(logits, "test")
        found.append(figure)
        losses.append(on.task.figure(loaded, "test") - figure)
    weights = sum(map(math.prod, on.shapes))
    return {
        "network": job.network,
        "data": job.data,
        "method": job.method,
        "budget": job.budget,
        "density": sum(part.kept for part in bits) / weights,
        "index_bits": sum(part.index for part in bits) / weights,
        "planes": best.plan.planes,
        "scale": best.plan.scale,
        "bits_per_weight": statistics.fmean(totals) / weights,
        "metric": on.task.metric,
        "accuracy": statistics.fmean(found),
        "accuracy_std": statistics.stdev(found) if len(found) > 1 else None,
        "dense_accuracy": on.dense,
        "epochs": job.epochs,
        "seeds": job.seeds,
        "learning_rate": best.rate,
        "validation_accuracy": validation,
        "accuracy_loss_from_codec": max(losses, key=abs),
        "command": job.command,
    }


def _sentences(job: Job) -> dict[str, Any]:
    """Return the row of a sentence encoder; of several, that of the trained one."""
    from .sentences import minilm_sentences, sentence_rows

    given = minilm_sentences(quick=job.quick)
    schedule = schedule_of(job.network, quick=job.quick)
    try:
        rows = sentence_rows(
            job.budget, given, methods=[job.method], schedule=schedule, epochs=job.epochs
        )
    except (ConfigError, CapacityError) as error:
        return {"reason": str(error)}
    facts = {"budget": job.budget, "metric": "cosine", "command": job.command}
    return rows[-1] | facts


def candidates(on: Subject, method: Method, budget: float) -> list[Candidate]:
    """Return what a method may choose from at a budget, each with the pruned dense network.

    A plan whose file is larger than the budget gives way to one that is aimed lower, and one that
    leaves some of it to one that is aimed higher.

    Raises
    ------
    ConfigError, DensityError
        If the method has no plan within the budget; says why.
    """
    found: list[Candidate] = []
    error: ConfigError | DensityError | None = None
    plans = 0
    for share in method.shares:
        if plans == on.task.schedule.shares:
            break
        try:
            plan, start = _fitted(on, method, budget, share)
        except (ConfigError, DensityError) as caught:
            error = caught
            continue
        plans += 1
        if all(plan != candidate.plan for candidate in found):
            found += [Candidate(plan, rate, start) for rate in on.task.schedule.rates]
    if not found:
        assert error is not None
        raise error
    return found


def _fitted(
    on: Subject, method: Method, budget: float, share: float | None
) -> tuple[LayerPlan, Any]:
    aim, weights = budget, sum(map(math.prod, on.shapes))
    best: tuple[int, LayerPlan, Any] | None = None
    tried: set[LayerPlan] = set()
    bits = 0
    for _ in range(_ROUNDS):
        try:
            plan = plan_at(method, on.shapes, aim, share)
        except ConfigError:
            if best is None:
                raise
            break
        if plan in tried:  # densities come in steps
            if best is not None:
                break
            aim *= _STEP
            continue
        tried.add(plan)
        module = _coded(on, method, plan)
        with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
            _, bits = _written(on, method, plan, module, Path(folder) / "network.safetensors")
        fits = bits <= budget * weights or method.mask == "all"
        if fits and (best is None or bits > best[0]):
            best = bits, plan, module
        if fits and (bits >= _FULL * budget * weights or method.mask in _EXACT):
            break
        aim *= 0.998 * budget * weights / bits
    if best is None:
        raise BudgetError(budget, bits / weights)
    return best[1:]


def _coded(on: Subject, method: Method, plan: LayerPlan) -> Any:
    """Return the network with dense weights, under the plan's code."""
    module = copy.deepcopy(on.module)
    if method.coding != "frozen":
        prune(module, dict.fromkeys(on.task.weights, plan))
        return module
    assert plan.rate is not None
    config = direct_config(rate=plan.rate, planes=plan.planes, taps=_TAPS, network_seed=0)
    own = TensorPlan(
        quantizer=Quantizer("trellis", config.planes, plan.scale), config=config, search=False
    )
    model = from_arrays({name: value.numpy() for name, value in module.state_dict().items()})
    with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
        path = Path(folder) / "network.safetensors"
        compress_model(model, path, dict.fromkeys(on.task.weights, own))
        return load_frozen(path, module)


def select(on: Subject, method: Method, choices: Sequence[Candidate]) -> tuple[Candidate, float]:
    """Return the candidate that is best on the validation part after a short training, and how.

    Raises
    ------
    DivergedError
        If none can be trained; that of the last one.
    """
    best: tuple[float, Candidate] | None = None
    error: DivergedError | None = None
    for choice in choices:
        try:
            module = _trained(on, method, choice, on.task.schedule.candidate_epochs, seed=0)
        except DivergedError as caught:
            error = caught
            continue
        figure = on.task.figure(on.task.logits(module, "validation"), "validation")
        if best is None or (figure > best[0]) == on.task.higher_is_better:
            best = figure, choice
    if best is None:
        assert error is not None
        raise error
    return best[1], best[0]


def _trained(on: Subject, method: Method, choice: Candidate, epochs: int, seed: int) -> Any:
    """Return the network of a candidate after a training."""
    module, handle, teacher = copy.deepcopy(choice.start), None, None
    if method.schedule is not None:
        module = copy.deepcopy(on.module)
        plans = dict.fromkeys(on.task.weights, choice.plan)
        handle = prune(module, plans, schedule=Schedule(**method.schedule))
    if method.distilled:
        teacher = Teacher(on.module)
    train(on.task, module, epochs, choice.rate, seed, handle=handle, teacher=teacher)
    return module


def _written(
    on: Subject, method: Method, plan: LayerPlan, module: Any, path: Path
) -> tuple[list[TensorBits], int]:
    """Write a network; return the bits of its compressed weights in the file, and as counted.

    N:M is counted as hardware stores it. The file of the paper's masks holds values in the window
    codec; what the block codec takes for the same codes is counted in their place.
    """
    made = export(module, path)
    bits = [made.bits[name] for name in on.task.weights]
    if method.mask == "n:m":
        return bits, sum(pattern_bits(shape, plan) for shape in on.shapes)
    total = sum(part.total for part in bits)
    if method.paper:
        container = read_container(path)
        for weight in pruned(module):
            codes = weight.coded().quantized
            total += block_bits(codes.mask, codes.codes, plan.planes)
            total -= 8 * container.entry(weight.name + STREAM)[2]
    return bits, total
