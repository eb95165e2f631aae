# SPDX-License-Identifier: Apache-2.0
"""Training of the accuracy laboratory: the same for every method, and for the dense network."""

from __future__ import annotations

import io
import logging
import math
import zipfile
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from xorloom.sw.base.cache import cache_folder, digest
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.host import write_whole
from xorloom.sw.torch.coding import Coding

from .tasks import Task

__all__ = ["dense_state", "train"]

_log = logging.getLogger(__name__)


def train(task: Task, module: Any, epochs: int, rate: float, seed: int) -> None:
    """Train a network: Adam with a cosine from ``rate`` to 0.

    Parameters
    ----------
    task : Task
    module : torch.nn.Module
        Pruned or not; trained in place.
    epochs : int
    rate : float
        Learning rate; scales get theirs by their codings' factors.
    seed : int
        Of the order of the batches.

    Raises
    ------
    ConfigError
        If the loss is no finite number any more.
    """
    rng = np.random.default_rng(seed)
    groups = [
        {"params": group["params"], "lr": rate * group["lr_factor"]}
        for coding in module.modules()
        if isinstance(coding, Coding)
        for group in coding.training_parameters()
    ]
    own = {id(parameter) for group in groups for parameter in group["params"]}
    rest = [parameter for parameter in module.parameters() if id(parameter) not in own]
    optimizer = torch.optim.Adam([{"params": rest, "lr": rate}, *groups], fused=True)
    total = epochs * task.schedule.steps
    decay = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: (1 + math.cos(math.pi * min(1.0, step / total))) / 2
    )
    module.train()
    for epoch in range(epochs):
        for inputs, targets in task.batches(rng):
            optimizer.zero_grad(set_to_none=True)
            loss = task.loss(module, inputs, targets)
            loss.backward()
            optimizer.step()
            decay.step()
        if not math.isfinite(float(loss.detach())):
            raise ConfigError(
                f"the loss is {float(loss.detach())} in epoch {epoch + 1} at learning rate {rate} "
                "(take a lower one)"
            )


def dense_state(task: Task, key: str) -> dict[str, torch.Tensor]:
    """Return the state dict of the dense network, trained once and kept in the cache.

    Parameters
    ----------
    task : Task
    key : str
        Names network, data and the code that trains it.
    """
    path = cache_folder() / "accuracy" / f"dense-{digest(key)}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        state = _read(path)
        if state is None:
            torch.manual_seed(0)
            module = task.dense()
            train(task, module, task.schedule.dense_epochs, task.schedule.dense_rate, seed=0)
            state = dict(module.state_dict())
            data = io.BytesIO()
            arrays: dict[str, Any] = {name: value.numpy() for name, value in state.items()}
            np.savez(data, **arrays)
            write_whole(path, data.getvalue())
    return state


def _read(path: Any) -> dict[str, torch.Tensor] | None:
    """Return a state dict that was kept; nothing if there is none, or it is damaged."""
    try:
        with np.load(path) as file:
            return {name: torch.from_numpy(np.array(file[name])) for name in file.files}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        _log.warning(f"xorloom: {path} is damaged: the dense network is trained again")
        return None
