# SPDX-License-Identifier: Apache-2.0
"""Jobs of the accuracy laboratory: one method at one budget on one network and data set."""

import ast
import hashlib
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import xorloom.sw.torch
from xorloom.sw.base.cache import digest
from xorloom.sw.base.errors import ConfigError

from .methods import METHODS
from .networks import NETWORKS, SENTENCES
from .schedule import Schedule

__all__ = ["Job", "dense_key", "jobs", "schedule_of"]

_CHOICE_S = 12.0
"""What planning, choosing masks, exports and checks take of a job, in seconds."""
_HERE = Path(__file__).parent
_TORCH = Path(xorloom.sw.torch.__file__).parent
_FITTING = ("TensorBatches", "optimizer_groups", "fit")
_COMMON = ("tasks", "training", "measure", "methods")
_CODINGS = {
    "masked": ("base", "masked", "masks", "products"),
    "seeds": ("base", "seeds"),
    "frozen": ("base", "frozen"),
}
"""Modules of ``xorloom.sw.torch.coding`` by coding."""
_HEALING = (
    *sorted((_TORCH / "healing").glob("*.py")),
    *sorted((_TORCH.parent / "model" / "calibration").glob("*.py")),
    *sorted((_HERE.parents[1] / "embeddings").glob("*.py")),
    _HERE.parent / "embeddings" / "methods.py",
)
"""What the sentence encoder is calibrated and healed with."""
_CHOOSERS = {
    "magnitude": ("index/entropy",),
    "trellis": ("index/masks", "index/trellis"),
    "lowrank": ("index/masks", "index/lowrank"),
    "hashed": ("index/masks", "index/hashed"),
    "direct": ("value/direct",),
}
"""Folders of ``xorloom.sw`` by mask: what chooses and stores it."""


@dataclass(frozen=True)
class Job:
    """A row to be made.

    Parameters
    ----------
    network, data, method : str
    budget : float
        Bits per weight.
    epochs : int
        Of each final run.
    seeds : int
        Final runs.
    quick : bool
        A few steps on a few inputs.
    """

    network: str
    data: str
    method: str
    budget: float
    epochs: int
    seeds: int
    quick: bool = False

    @property
    def key(self) -> str:
        """Hash of the job and of the code that makes its row."""
        method = METHODS[self.method]
        files = [_HERE / f"{name}.py" for name in (*_COMMON, NETWORKS[self.network].source)]
        files += [_TORCH / name for name in ("plan/__init__.py", "budget/__init__.py")]
        files.append(_TORCH / "pruning.py")
        files += [_TORCH / "schedule.py"] if method.schedule is not None else []
        names = (*_FITTING, "Teacher") if method.distilled else _FITTING
        fitting = _meaning(_TORCH / "train.py", names)
        files += [_TORCH / "coding" / f"{name}.py" for name in _CODINGS[method.coding]]
        for folder in _CHOOSERS.get(method.mask, ()):
            files += sorted((_TORCH.parent / folder).glob("*.py"))
        if self.network == SENTENCES:
            files += [_TORCH / "coding" / "frozen.py", *_HEALING]
        schedule = schedule_of(self.network, quick=self.quick).meaning
        parts = [repr(method), schedule, fitting, *map(_meaning, files)]
        return digest(repr(sorted(asdict(self).items())), *parts)

    @property
    def command(self) -> str:
        """Command that makes its row."""
        words = ["xorloom", "bench", "accuracy", "--network", self.network, "--data", self.data]
        words += ["--method", self.method, "--budget", f"{self.budget:g}"]
        words += ["--epochs", str(self.epochs), "--seeds", str(self.seeds)]
        return shlex.join([*words, *(["--quick"] if self.quick else [])])

    @property
    def seconds(self) -> float:
        """Time that it takes of one core."""
        method = METHODS[self.method]
        schedule = schedule_of(self.network, quick=self.quick)
        number = len(schedule.rates) * len(method.shares[: schedule.shares])
        epochs = number * schedule.candidate_epochs + self.seeds * self.epochs
        return epochs * schedule.steps * schedule.step_s + (2 if self.quick else _CHOICE_S)


def schedule_of(network: str, *, quick: bool) -> Schedule:
    """Return how a network is trained."""
    schedule = NETWORKS[network].schedule
    return schedule.quick if quick else schedule


def dense_key(network: str, data: str, *, quick: bool) -> str:
    """Return what the dense network of a task depends on."""
    files = [_HERE / f"{name}.py" for name in ("tasks", "training", NETWORKS[network].source)]
    schedule = schedule_of(network, quick=quick)
    fitting = _meaning(_TORCH / "train.py", _FITTING)
    return digest(network, data, quick, schedule.dense_meaning, *map(_meaning, files), fitting)


def jobs(
    networks: Sequence[str] = (),
    data: Sequence[str] = (),
    methods: Sequence[str] = (),
    budgets: Sequence[float] = (),
    *,
    epochs: str = "1x",
    seeds: int = 3,
    quick: bool = False,
) -> list[Job]:
    """Return the jobs that are asked for; what is left out stands for all.

    Parameters
    ----------
    networks, data, methods : sequence of str
    budgets : sequence of float
        Any; by default those of the network's table.
    epochs : str
        Of each final run; ``3x``: three times the schedule's.
    seeds : int
        Final runs of a job.
    quick : bool
        A few steps on a few inputs, one run.

    Raises
    ------
    ConfigError
        If a name is unknown, nothing is left, or epochs are no number.
    """
    _known("network", networks, NETWORKS)
    _known("method", methods, METHODS)
    _known("data", data, {name: 0 for found in NETWORKS.values() for name in found.budgets})
    made = []
    for network in networks or NETWORKS:
        length = _epochs(epochs, schedule_of(network, quick=quick).final_epochs)
        own = NETWORKS[network].methods
        usual = own or tuple(method for method in METHODS if METHODS[method].usual)
        for name, all_budgets in NETWORKS[network].budgets.items():
            if data and name not in data:
                continue
            for budget in budgets or all_budgets:
                for method in methods or usual:
                    if (not own or method in own) and (method != "dense" or budget >= 1):
                        count = 1 if quick or network == SENTENCES else seeds
                        made.append(Job(network, name, method, budget, length, count, quick))
    if not made:
        raise ConfigError("nothing to measure: no network is measured so")
    return made


def _known(what: str, given: Sequence[str], known: dict[str, Any]) -> None:
    for name in given:
        if name not in known:
            raise ConfigError(f"{what} must be one of {', '.join(known)}, not {name!r}")


def _epochs(text: str, usual: int) -> int:
    number, times = text.removesuffix("x"), text.endswith("x")
    if not number.isdecimal() or not 1 <= int(number) <= 1000:
        raise ConfigError(f"epochs must be a number such as 12, or 3x, not {text!r}")
    return int(number) * (usual if times else 1)


@lru_cache(maxsize=64)
def _meaning(path: Path, names: tuple[str, ...] = ()) -> str:
    """Return a hash of what a source file, or some of it, does: comments and docstrings aside."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if names:
        tree.body = [part for part in tree.body if getattr(part, "name", "") in names]
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [  # type: ignore[attr-defined]
                part
                for part in body
                if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
            ]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()
