# SPDX-License-Identifier: Apache-2.0
"""Language model of characters: a two-layer LSTM on Moby-Dick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn
from xorloom.sim import datasets

from .schedule import Schedule
from .tasks import Part, Task

__all__ = ["Language", "text_parts"]

WIDTH, STATE, LENGTH = 128, 288, 64
"""Of an embedding, of a layer's state, of a sequence in training."""
_SHARES = (0.9, 0.95)
_MEASURED = 256
"""Characters that are measured at a stretch, from an empty state."""


def text_parts(*, quick: bool) -> tuple[dict[str, Part], int]:
    """Return the text's parts as character numbers, and the number of characters.

    The first 90 % are to train with, 5 % each to select on and to test. Training's inputs are one
    row; the others are rows of a fixed length. A target is the character that comes next.
    """
    text = datasets.moby_dick()
    alphabet = sorted(set(text))
    codes = np.zeros(0x110000, np.int64)
    codes[[ord(letter) for letter in alphabet]] = np.arange(len(alphabet))
    numbers = codes[np.frombuffer(text.encode("utf-32-le"), np.uint32)]
    first, second = (int(share * len(numbers)) for share in _SHARES)
    cut = {
        "train": numbers[:first],
        "validation": numbers[first:second],
        "test": numbers[second:],
    }
    if quick:
        cut = {name: found[:20_000] for name, found in cut.items()}
    parts = {"train": Part(torch.from_numpy(cut["train"][:-1]), torch.from_numpy(cut["train"][1:]))}
    for name in ("validation", "test"):
        rows = (len(cut[name]) - 1) // _MEASURED
        ends = torch.from_numpy(cut[name][: rows * _MEASURED + 1])
        parts[name] = Part(ends[:-1].view(rows, -1), ends[1:].view(rows, -1))
    return parts, len(alphabet)


class Language(Task):
    """Two-layer LSTM of 1.1 M weights; its four matrices are compressed.

    Embedding and output layer are not.
    """

    weights = tuple(f"lstm.weight_{part}_l{layer}" for layer in (0, 1) for part in ("ih", "hh"))
    metric = "bits_per_character"

    def __init__(self, parts: dict[str, Part], letters: int, schedule: Schedule) -> None:
        super().__init__(parts, schedule)
        self.letters = letters

    def dense(self) -> Any:
        """Return the network."""
        return _Network(self.letters)

    def batches(self, seed: int) -> Any:
        """Return batches of stretches that begin anywhere."""
        return _Stretches(self.part("train"), self.schedule, seed)


class _Stretches:
    def __init__(self, part: Part, schedule: Schedule, seed: int) -> None:
        self._part, self._schedule = part, schedule
        self._rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self._schedule.steps

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        inputs, targets = self._part.inputs, self._part.targets
        for _ in range(len(self)):
            starts = self._rng.integers(0, len(inputs) - LENGTH, self._schedule.batch)
            rows = torch.from_numpy(starts)[:, None] + torch.arange(LENGTH)
            yield inputs[rows], targets[rows]


class _Network(nn.Module):
    def __init__(self, letters: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(letters, WIDTH)
        self.lstm = _Lstm()
        self.output = nn.Linear(STATE, letters)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        return self.output(self.lstm(self.embedding(letters)))


class _Lstm(nn.Module):
    """Two layers of LSTM; unlike torch's own module it reads its weights at every call."""

    def __init__(self) -> None:
        super().__init__()
        for layer, width in enumerate((WIDTH, STATE)):
            for name, columns in (("ih", width), ("hh", STATE)):
                weight = torch.empty(4 * STATE, columns).uniform_(-1, 1) * STATE**-0.5
                self.register_parameter(f"weight_{name}_l{layer}", nn.Parameter(weight))
                bias = nn.Parameter(torch.zeros(4 * STATE))
                self.register_parameter(f"bias_{name}_l{layer}", bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        names = [
            f"{kind}_{part}_l{layer}"
            for layer in (0, 1)
            for kind in ("weight", "bias")
            for part in ("ih", "hh")
        ]
        state = x.new_zeros(2, len(x), STATE)
        weights = [getattr(self, name) for name in names]
        found: torch.Tensor = torch.lstm(
            x, (state, state), weights, True, 2, 0.0, self.training, False, True
        )[0]
        return found
