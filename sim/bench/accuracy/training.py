# SPDX-License-Identifier: Apache-2.0
"""Training of the accuracy laboratory: the same for every method, and for the dense network."""

from __future__ import annotations

import io
import logging
import zipfile
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from xorloom.sw.base.cache import cache_folder, digest
from xorloom.sw.base.host import write_whole
from xorloom.sw.torch.pruning import Handle
from xorloom.sw.torch.train import Teacher, fit

from .tasks import Task

__all__ = ["dense_state", "train"]

_log = logging.getLogger(__name__)


def train(
    task: Task,
    module: Any,
    epochs: int,
    rate: float,
    seed: int,
    *,
    handle: Handle | None = None,
    teacher: Teacher | None = None,
) -> None:
    """Train a network in place, pruned or not: Adam with a cosine from ``rate`` to 0.

    Handle and teacher are those of :func:`xorloom.sw.torch.train.fit`.

    Raises
    ------
    ConfigError
        If the loss is no finite number any more.
    """
    fit(
        module,
        task.batches(seed),
        task.loss,
        epochs=epochs,
        lr=rate,
        seed=seed,
        handle=handle,
        teacher=teacher,
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
