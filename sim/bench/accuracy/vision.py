# SPDX-License-Identifier: Apache-2.0
"""Networks on MNIST and Fashion-MNIST: LeNet-300-100, LeNet-5, a small residual network."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from xorloom.sim import datasets

from .schedule import QUICK_STEPS, Schedule
from .tasks import Part, Task

__all__ = ["LeNet5", "LeNet300", "ResNet", "image_parts"]

VALIDATION = 5000
"""Training images that are kept apart to select on; no network is trained on them."""
_QUICK = {"train": 128 * QUICK_STEPS, "validation": 500, "test": 500}
_SPLIT_SEED = 0


def image_parts(data: str, *, quick: bool) -> dict[str, Part]:
    """Return (n, 1, 28, 28) float32 images, normalized, and their classes.

    The validation part is drawn from the training images with a fixed seed.
    """
    images = {"mnist": datasets.mnist, "fashion-mnist": datasets.fashion_mnist}[data]()
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(images.train))
    rows = {"train": order[VALIDATION:], "validation": order[:VALIDATION]}
    if quick:
        rows = {name: found[: _QUICK[name]] for name, found in rows.items()}
    sets = {name: (images.train[found], images.train_labels[found]) for name, found in rows.items()}
    test = _QUICK["test"] if quick else None
    shuffled = np.random.default_rng(_SPLIT_SEED).permutation(len(images.test))[:test]
    sets["test"] = images.test[shuffled], images.test_labels[shuffled]
    train = sets["train"][0].astype(np.float32)
    mean, spread = float(train.mean()), float(train.std())
    return {
        name: Part(
            torch.from_numpy((grey.astype(np.float32) - mean) / spread).unsqueeze(1),
            torch.from_numpy(labels.astype(np.int64)),
        )
        for name, (grey, labels) in sets.items()
    }


class LeNet300(Task):
    """LeNet-300-100: 784-300-100-10; all but the last layer's 1,000 weights are compressed."""

    weights = ("fc1.weight", "fc2.weight")

    def dense(self) -> Any:
        """Return the network."""
        layers = [("flat", nn.Flatten()), ("fc1", nn.Linear(784, 300)), ("relu1", nn.ReLU())]
        layers += [("fc2", nn.Linear(300, 100)), ("relu2", nn.ReLU()), ("fc3", nn.Linear(100, 10))]
        return _sequence(layers)


class LeNet5(Task):
    """LeNet-5 with 20 and 50 filters, 800-500-10; the first linear layer is compressed.

    The convolutions stay as trained: their outputs are computed once.
    """

    weights = ("fc1.weight",)

    def dense(self) -> Any:
        """Return the whole network: filters, and what follows."""
        filters = [("conv1", nn.Conv2d(1, 20, 5)), ("pool1", nn.MaxPool2d(2))]
        filters += [("conv2", nn.Conv2d(20, 50, 5)), ("pool2", nn.MaxPool2d(2))]
        return _sequence(
            [("filters", _sequence([*filters, ("flat", nn.Flatten())])), ("rest", self.module())]
        )

    def module(self) -> Any:
        """Return what follows the convolutions."""
        layers = [("fc1", nn.Linear(800, 500)), ("relu", nn.ReLU()), ("fc2", nn.Linear(500, 10))]
        return _sequence(layers)

    def fixed(self, dense: Any) -> tuple[Task, Any]:
        """Return the task on the outputs of the convolutions."""
        parts = {}
        for name in ("train", "validation", "test"):
            part = self.part(name)
            with torch.inference_mode():
                made = torch.cat([dense.filters(chunk) for chunk in part.inputs.split(1000)])
            parts[name] = Part(made.clone(), part.targets)
        return LeNet5(parts, self.schedule), dense.rest


class ResNet(Task):
    """Residual network of 0.15 M weights: a stride-2 stem, then 16, 32, 64 filters.

    The eight 3 x 3 convolutions of its four blocks are compressed; stem, shortcuts, norms and the
    last layer are not.
    """

    def __init__(self, parts: dict[str, Part], schedule: Schedule) -> None:
        parts = {
            name: Part(part.inputs.contiguous(memory_format=torch.channels_last), part.targets)
            for name, part in parts.items()
        }
        super().__init__(parts, schedule)
        blocks = [name for name, _ in self.dense().named_parameters() if name.startswith("block")]
        self.weights = tuple(name for name in blocks if ".conv1" in name or ".conv2" in name)

    def dense(self) -> Any:
        """Return the network."""
        layers = [
            ("stem", nn.Conv2d(1, 16, 3, 2, 1, bias=False)),
            ("norm", nn.BatchNorm2d(16)),
            ("relu", nn.ReLU()),
        ]
        widths = [(16, 16, 2), (16, 32, 2), (32, 64, 2), (64, 64, 1)]
        layers += [(f"block{at}", _Block(*width)) for at, width in enumerate(widths, 1)]
        layers += [("pool", nn.AdaptiveAvgPool2d(1)), ("flat", nn.Flatten())]
        return _sequence([*layers, ("fc", nn.Linear(64, 10))])


class _Block(nn.Module):
    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or width_in != width:
            self.shortcut = _sequence(
                [
                    ("conv", nn.Conv2d(width_in, width, 1, stride, bias=False)),
                    ("norm", nn.BatchNorm2d(width)),
                ]
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def _sequence(layers: list[tuple[str, Any]]) -> nn.Sequential:
    found = nn.Sequential()
    for name, layer in layers:
        found.add_module(name, layer)
    return found
