# SPDX-License-Identifier: Apache-2.0
"""One call: a module to a budget of bits, trained under its masks, and written."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError
from xorloom.sw.base.outputs import check_outputs
from xorloom.sw.index.choice import BudgetError
from xorloom.sw.model.container import read_container
from xorloom.sw.model.metrics import TensorBits
from xorloom.sw.model.plan.trained import trained_split
from xorloom.sw.model.verify import plain_weights
from xorloom.sw.tensors.checkpoint.model import from_arrays
from xorloom.sw.tensors.quantize import dequantize

from .budget import plan_for
from .coding import Coded, Coding
from .files import export, write
from .plan import PLANES_MAX, LayerPlan, Plans, Weight, resolve
from .pruned import pruned
from .pruning import Handle, install, make_codings
from .schedule import Schedule, dense_coding

__all__ = ["Compressed", "Train", "compress"]

Train = Callable[[Any, Handle], object]
"""``train(module, handle)``: trains the pruned module in place. With a schedule it calls
``handle.step(progress)`` before every step, with a progress from 0 to 1."""

_log = logging.getLogger(__name__)
_ROOM = 0.998
"""Share of the budget that is planned for: other codes take a little more or less."""
_TRIES = 4
_USED = 0.9
"""Share of the budget below which a line says that it is not used up."""


@dataclass(frozen=True)
class Compressed:
    """What a module became.

    Parameters
    ----------
    module : torch.nn.Module
        Its weights are what the file decodes to.
    handle : Handle
    bits : dict of name to TensorBits
        What each weight takes.
    difference : float
        Largest difference between decoded and trained weights; it is 0.
    """

    module: Any
    handle: Handle
    bits: Mapping[str, TensorBits]
    difference: float

    @property
    def bits_per_weight(self) -> float:
        """Bits per weight of all compressed weights, everything counted."""
        return _per_weight(self.bits)

    def to_dict(self) -> dict[str, Any]:
        """Return the report, for JSON."""
        return {
            "bits_per_weight": self.bits_per_weight,
            "difference": self.difference,
            "tensors": {name: bits.to_dict() for name, bits in self.bits.items()},
        }


def compress(
    module: Any,
    bits_per_weight: float = 0.26,
    train: Train | None = None,
    *,
    path: Path | None = None,
    method: str | None = None,
    weights: Sequence[str] | None = None,
    importance: Mapping[str, np.ndarray] | None = None,
    schedule: Schedule | None = None,
    **split: Any,
) -> Compressed:
    """Compress a module to a budget: plan, prune, train, write.

    Parameters
    ----------
    module : torch.nn.Module
        Trained already; it is changed in place, and left in evaluation mode.
    bits_per_weight : float
        Of all weights that are compressed, together, everything counted.
    train : callable, optional
        See :data:`Train`; without, the module stays as pruning leaves it, which at such budgets
        rarely works.
    path : Path, optional
        File to write.
    method : str, optional
        As in :func:`xorloom.sw.torch.budget.plan_for`; by default what did best in the accuracy
        laboratory, with its planes: see :func:`xorloom.sw.model.plan.trained.trained_split`.
    weights : sequence of str, optional
        Names or patterns of the weights to compress; by default all that one plan is for, see
        :func:`xorloom.sw.torch.plan.resolve`. What is left alone is told.
    importance : mapping of name to array, optional
        What keeping each weight is worth.
    schedule : Schedule, optional
    **split
        Fields of :class:`xorloom.sw.torch.plan.LayerPlan`, such as ``planes``.

    Returns
    -------
    Compressed

    Raises
    ------
    BudgetError
        If the budget is below what scales and headers take.
    ConfigError
        If an argument does not fit, or a weight is pruned already.
    CapacityError
        If the trained weights take more than the budget after all.
    OSError
        If the file cannot be written; that is looked at before the work.
    """
    if not 0 < bits_per_weight < math.inf:
        raise ConfigError(f"bits per weight must be positive, not {bits_per_weight}")
    if isinstance(weights, str):
        raise ConfigError(f"weights must be a sequence of names or patterns: [{weights!r}]")
    if path is not None:
        check_outputs([Path(path)])
    there = pruned(module)
    if there:
        raise ConfigError(
            f"{there[0].name} is pruned already, and the budget would not count it (bake(module) "
            "makes it a plain weight)"
        )
    wanted: Plans = LayerPlan() if weights is None else dict.fromkeys(weights, LayerPlan())
    chosen = [weight for weight, _ in resolve(module, wanted)]
    _tell_rest(module, chosen)
    shapes = [tuple(weight.parameter.shape) for weight in chosen]
    if method is None:
        usual = trained_split(bits_per_weight)
        method = "all" if usual.codec == "none" else usual.codec
        split = {"planes": min(usual.planes, PLANES_MAX)} | split
    budget = bits_per_weight * _ROOM
    for _ in range(_TRIES):
        try:
            plan = plan_for(shapes, budget, method, **split)
        except BudgetError as error:
            plan = plan_for(shapes, error.least, method, **split)
            found = max(error.least, _coded(chosen, plan, importance)[1])
            raise BudgetError(bits_per_weight, found / _ROOM**2) from None
        codings, found = _coded(chosen, plan, importance)
        if found <= bits_per_weight * _ROOM:
            break
        budget *= bits_per_weight * _ROOM / found * _ROOM
    else:
        raise BudgetError(bits_per_weight, found)
    _log.info(f"xorloom: {plan} takes {found:.4f} bits per weight of {bits_per_weight:g}")
    if found < _USED * bits_per_weight:
        _log.warning(
            f"xorloom: method {method} uses {found:.4f} of {bits_per_weight:g} bits per weight "
            "(another method, or more planes, may use more)"
        )
    if schedule is not None and schedule.ramp:
        codings = [dense_coding(weight.parameter, plan, weight.name) for weight in chosen]
    for weight, coding in zip(chosen, codings, strict=True):
        install(weight, coding)
    handle = Handle(module, {weight.name: plan for weight in chosen}, schedule)
    if train is not None:
        train(module, handle)
    handle.step(1.0)
    module.eval()
    with TemporaryDirectory() as folder:
        place = Path(folder) / "model.safetensors" if path is None else Path(path)
        bits = export(module, place).bits
        difference = _difference(module, place)
    result = Compressed(module, handle, bits, difference)
    if result.bits_per_weight > bits_per_weight:
        raise CapacityError(
            f"the trained weights take {result.bits_per_weight:.4f} bits per weight, more than "
            f"{bits_per_weight:g}: ask for {bits_per_weight * 0.99:.4f}"
        )
    return result


def _coded(
    chosen: Sequence[Weight], plan: LayerPlan, importance: Mapping[str, np.ndarray] | None
) -> tuple[list[Coding], float]:
    """Return the codings of weights by a plan, and the bits per weight that they take in a file."""
    codings = make_codings([(weight, plan) for weight in chosen], importance or {})
    parts = {
        weight.name: coding.coded(coding.right_inverse(weight.parameter))
        for weight, coding in zip(chosen, codings, strict=True)
    }
    return codings, _per_weight(_measured(parts))


def _per_weight(bits: Mapping[str, TensorBits]) -> float:
    return sum(b.total for b in bits.values()) / max(1, sum(b.weights for b in bits.values()))


def _tell_rest(module: Any, chosen: Sequence[Weight]) -> None:
    done = {id(weight.parameter) for weight in chosen}
    rest = [name for name, p in module.named_parameters() if id(p) not in done and p.ndim > 1]
    if rest:
        _log.info(f"xorloom: left as they are: {', '.join(rest)}")


def _measured(coded: Mapping[str, Coded]) -> dict[str, TensorBits]:
    """Return what weights take in a file."""
    arrays = {name: dequantize(part.quantized, part.quantizer) for name, part in coded.items()}
    with TemporaryDirectory() as folder:
        return write(from_arrays(arrays), coded, Path(folder) / "model.safetensors").bits


def _difference(module: Any, path: Path) -> float:
    """Return the largest difference between weights of a file and those of the module."""
    container, found = read_container(path), 0.0
    for weight in pruned(module):
        name = next(name for name in weight.names if name in container.tensors)
        own = weight.decoded().double().cpu().numpy()
        apart = np.abs(plain_weights(container, name).astype(np.float64) - own).max(initial=0.0)
        found = math.inf if math.isnan(apart) else max(found, float(apart))
    return found
