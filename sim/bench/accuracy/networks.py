# SPDX-License-Identifier: Apache-2.0
"""Networks of the accuracy laboratory by name, each with its data sets and budgets."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .schedule import Schedule

__all__ = ["BUDGETS", "NETWORKS", "SENTENCES", "Network"]

BUDGETS = (0.05, 0.10, 0.17, 0.26, 0.40, 0.55, 1.0)
"""Bits per weight in all."""
_LENET = (4e-3, 1e-2)


@dataclass(frozen=True)
class Network:
    """A network of the laboratory.

    Parameters
    ----------
    budgets : dict of str to tuple of float
        Bits per weight that are measured, by data set.
    schedule : Schedule
    source : str
        Module beside this one that makes its task.
    task : callable
        Makes its task: ``task(data, schedule, quick)``.
    methods : tuple of str
        Those that it is measured with; none: all.
    """

    budgets: dict[str, tuple[float, ...]]
    schedule: Schedule
    source: str
    task: Callable[[str, Schedule, bool], Any]
    methods: tuple[str, ...] = ()


def _lenet_300(data: str, schedule: Schedule, quick: bool) -> Any:
    from .vision import LeNet300, image_parts

    return LeNet300(image_parts(data, quick=quick), schedule)


def _lenet_5(data: str, schedule: Schedule, quick: bool) -> Any:
    from .vision import LeNet5, image_parts

    return LeNet5(image_parts(data, quick=quick), schedule)


def _resnet(data: str, schedule: Schedule, quick: bool) -> Any:
    from .vision import ResNet, image_parts

    return ResNet(image_parts(data, quick=quick), schedule)


def _language(data: str, schedule: Schedule, quick: bool) -> Any:
    from .language import Language, text_parts

    return Language(*text_parts(quick=quick), schedule)


def _no_task(data: str, schedule: Schedule, quick: bool) -> Any:
    raise AssertionError("sentences are measured by a module of their own")


SENTENCES = "minilm-l6"
"""The network that is trained on its own embeddings, in one run."""
# The seconds are of one core of the machine that docs/results.md names.
NETWORKS = {
    "lenet-300-100": Network(
        {"mnist": BUDGETS, "fashion-mnist": (0.10, 0.26, 0.55, 1.0)},
        Schedule(256, 215, 20, 2, 6, _LENET, 2, 1e-3, step_s=5e-3, dense_step_s=4e-3),
        "vision",
        _lenet_300,
    ),
    "lenet-5": Network(
        {"mnist": (0.10, 0.17, 0.26), "fashion-mnist": (0.10, 0.26)},
        Schedule(256, 215, 6, 2, 6, _LENET, 2, 1e-3, step_s=8e-3, dense_step_s=75e-3),
        "vision",
        _lenet_5,
    ),
    "resnet": Network(
        {"fashion-mnist": (0.26, 0.55)},
        Schedule(128, 430, 12, 1, 3, (5e-3, 1.2e-2), 1, 2e-3, step_s=25e-3, dense_step_s=25e-3),
        "vision",
        _resnet,
    ),
    "lstm": Network(
        {"moby-dick": (0.26, 0.55)},
        Schedule(32, 64, 60, 1, 4, (3e-3, 1e-2), 1, 2e-3, step_s=0.15, dense_step_s=0.13),
        "language",
        _language,
    ),
    SENTENCES: Network(
        {"moby-dick": (1.06, 2.06)},
        Schedule(16, 60, 0, 1, 7, (1e-3, 3e-3, 1e-2), 1, 0.0, step_s=0.49, dense_step_s=0.0),
        "sentences",
        _no_task,
        ("direct-viterbi", "dense", "trellis", "entropy"),
    ),
}
"""By name. An epoch of the language model is 64 steps, an eighth of its text; one of the
sentence encoder 60 steps of 16 sentences."""
