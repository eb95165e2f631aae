# SPDX-License-Identifier: Apache-2.0
"""Modules whose matrices can be calibrated: which they are, their inputs, and their weights.

A matrix is the weight of a ``Linear`` or of a ``Conv2d`` without groups, whose columns are the
input channels times the kernel, as the weight has them.
"""

from collections import Counter
from typing import Any

import numpy as np

__all__ = ["Weights", "inputs_of", "matrices"]


def matrices(module: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the modules with a matrix, by the names of their weights, and what is left out.

    Parameters
    ----------
    module : torch.nn.Module

    Returns
    -------
    (modules, notes)
        Notes are lines about kinds of modules with weights of two dimensions or more.
    """
    found: dict[str, Any] = {}
    others: Counter[str] = Counter()
    seen: dict[int, str] = {}
    notes = []
    for name, part in module.named_modules():
        weight = getattr(part, "weight", None)
        if weight is None or getattr(weight, "ndim", 0) < 2:
            continue
        key = f"{name}.weight" if name else "weight"
        if not _is_known(part):
            others[type(part).__name__] += 1
        elif id(weight) in seen:
            notes.append(f"{key} is {seen[id(weight)]}: calibrated under that name only")
        else:
            seen[id(weight)] = key
            found[key] = part
    if others:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(others.items()))
        notes.append(f"not calibrated, being neither Linear nor Conv2d without groups: {kinds}")
    return found, notes


def _is_known(part: Any) -> bool:
    import torch

    if isinstance(part, torch.nn.Conv2d):
        return bool(
            part.groups == 1 and part.padding_mode == "zeros" and not isinstance(part.padding, str)
        )
    return isinstance(part, torch.nn.Linear)


def inputs_of(part: Any, inputs: Any) -> np.ndarray:
    """Return what the columns of a module's matrix are multiplied with: (tokens, columns) float32.

    It is a copy, since modules after it may work in place.

    Parameters
    ----------
    part : torch.nn.Module
        One of :func:`matrices`.
    inputs : torch.Tensor
        The module's argument.
    """
    import torch

    x = inputs.detach().to(torch.float32, copy=True)
    if isinstance(part, torch.nn.Conv2d):
        batch = x if x.ndim == 4 else x[None]
        patches = torch.nn.functional.unfold(
            batch, part.kernel_size, part.dilation, part.padding, part.stride
        )
        x = patches.transpose(1, 2)
    return np.asarray(x.reshape(-1, x.shape[-1]).cpu().numpy())


class Weights:
    """Weights of modules, the original ones and those that came back, to be exchanged.

    Parameters
    ----------
    modules : dict
        From names of weights to modules.
    """

    def __init__(self, modules: dict[str, Any]) -> None:
        self._modules = modules
        self._original: dict[str, tuple[Any, Any]] = {}
        self._replaced: dict[str, tuple[Any, Any]] = {}

    def arrays(self, name: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Return weights of the module's shape, and the bias if it has one, in float32."""
        part = self._modules[name]
        bias = part.bias
        return _array(part.weight), None if bias is None else _array(bias)

    def replace(self, name: str, weights: np.ndarray, bias: np.ndarray | None) -> None:
        """Put other weights and another bias into a module."""
        import torch

        part = self._modules[name]
        self._original[name] = (part.weight.data, None if bias is None else part.bias.data)
        self._replaced[name] = (
            torch.from_numpy(np.ascontiguousarray(weights)).to(part.weight),
            None if bias is None else torch.from_numpy(bias).to(part.bias),
        )
        self._set(name, self._replaced[name])

    def use_original(self) -> None:
        """Make all modules those of the original model."""
        for name, data in self._original.items():
            self._set(name, data)

    def use_replaced(self) -> None:
        """Make the modules that were replaced those of the compressed model."""
        for name, data in self._replaced.items():
            self._set(name, data)

    def _set(self, name: str, data: tuple[Any, Any]) -> None:
        part = self._modules[name]
        part.weight.data = data[0]
        if data[1] is not None:
            part.bias.data = data[1]


def _array(tensor: Any) -> np.ndarray:
    import torch

    return np.asarray(tensor.detach().to(torch.float32).cpu().numpy().copy())
