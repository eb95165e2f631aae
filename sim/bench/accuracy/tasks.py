# SPDX-License-Identifier: Apache-2.0
"""Tasks: a network, its data in three parts, and how both are trained and measured."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from xorloom.sw.torch.train import TensorBatches

from .schedule import Schedule

__all__ = ["CHUNK", "Part", "Task"]

CHUNK = 1000
"""Inputs that are measured at once: the same for every module, so that logits can be compared."""


@dataclass(frozen=True)
class Part:
    """Part of a data set.

    Parameters
    ----------
    inputs, targets : torch.Tensor
        Of the same length.
    """

    inputs: torch.Tensor
    targets: torch.Tensor


class Task:
    """A network on a data set.

    Parameters
    ----------
    parts : mapping of str to Part
        ``train``, ``validation``, ``test``.
    schedule : Schedule

    Attributes
    ----------
    weights : tuple of str
        Names of the weights that are compressed; all others stay as they are.
    metric : str
        ``accuracy`` in per cent, or ``bits_per_character``.
    """

    weights: tuple[str, ...] = ()
    metric = "accuracy"

    def __init__(self, parts: dict[str, Part], schedule: Schedule) -> None:
        self._parts, self.schedule = parts, schedule

    @property
    def higher_is_better(self) -> bool:
        """Whether a higher figure is a better one."""
        return self.metric == "accuracy"

    def part(self, name: str) -> Part:
        """Return a part of the data."""
        return self._parts[name]

    def dense(self) -> Any:
        """Return the whole network, untrained."""
        raise NotImplementedError

    def fixed(self, dense: Any) -> tuple[Task, Any]:
        """Return the task of what is trained under a code, and its network with dense weights.

        They are the task itself and the whole network, unless a part of it stays as it is.
        """
        return self, dense

    def module(self) -> Any:
        """Return the network of :meth:`fixed`, untrained."""
        return self.dense()

    def batches(self, seed: int) -> Any:
        """Return the batches of an epoch, pairs of inputs and targets, in another order each time.

        Parameters
        ----------
        seed : int
            Of the orders.
        """
        part = self.part("train")
        return TensorBatches(part.inputs, part.targets, self.schedule.batch, seed)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy, in nats."""
        return torch.nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())

    def logits(self, module: Any, part: str) -> torch.Tensor:
        """Return what a network makes of a part of the data, in evaluation mode."""
        module.eval()
        with torch.inference_mode():
            chunks = self.part(part).inputs.split(CHUNK)
            return torch.cat([module(chunk) for chunk in chunks])

    def figure(self, logits: torch.Tensor, part: str) -> float:
        """Return the metric of logits: correct in per cent, or bits per character."""
        targets = self.part(part).targets
        if self.metric == "accuracy":
            return 100 * float((logits.argmax(-1) == targets).double().mean())
        return float(self.loss(logits, targets)) / math.log(2)
