# SPDX-License-Identifier: Apache-2.0
"""Pruned modules as files: written exactly as they are, and read back into any module alike."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.index.choice import stored_index
from xorloom.sw.model.compress import CompressedModel, compress_model
from xorloom.sw.model.container import Container, read_container
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.verify import plain_weights
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.tensors.checkpoint.model import Checkpoint, listed
from xorloom.sw.tensors.checkpoint.torch_tensor import read_tensors, tensor_of

from .coding import Coded
from .pruned import bake, pruned

__all__ = [
    "check_names",
    "check_state",
    "check_ties",
    "decoded_state",
    "export",
    "load",
    "stored_tensor",
    "write",
]

_log = logging.getLogger(__name__)


def decoded_state(module: Any) -> dict[str, Any]:
    """Return the state dict that the module would have with its decoded weights as plain ones.

    Tied weights are the same tensor. What is not a tensor is left out, and told.
    """
    found = {name: weight for weight in pruned(module) for name in weight.names}
    values = {id(weight): weight.decoded() for weight in found.values()}
    state: dict[str, Any] = {}
    others = []
    for key, value in module.state_dict().items():
        name = _owner(key)
        if name in found:
            state.setdefault(name, values[id(found[name])])
        elif isinstance(value, torch.Tensor):
            state[key] = value
        else:
            others.append(key)
    if others:
        _log.warning(f"xorloom: left out, not tensors: {listed(others)}")
    return state


def _owner(key: str) -> str:
    """Return the weight that an entry of a state dict belongs to, if it is parametrized."""
    stem, parted, rest = key.partition("parametrizations.")
    return stem + rest.split(".")[0] if parted else key


def export(module: Any, path: Path) -> CompressedModel:
    """Write a pruned module as a compressed file, and all else of its state dict as it is.

    Nothing is chosen or fitted anew: masks, index seeds, codes and scales go into the file bit for
    bit. The module stays as it is.

    Parameters
    ----------
    module : torch.nn.Module
    path : Path

    Returns
    -------
    CompressedModel
        What each weight takes.

    Raises
    ------
    ConfigError
        If no weight is pruned, or a weight is not what a file can hold.
    OSError
        If the file cannot be written: no such folder, a full disk. An older file is then as it was.
    """
    path = Path(path)
    there = pruned(module)
    if not there:
        raise ConfigError(
            f"{path}: no weight of {type(module).__name__} is pruned: call prune(module, plan) "
            "before"
        )
    tensors, ties, _ = read_tensors(decoded_state(module), torch, f"module {type(module).__name__}")
    model = Checkpoint(tensors, ties=ties)
    names = [next(name for name in weight.names if name in model) for weight in there]
    coded = {name: weight.coded() for name, weight in zip(names, there, strict=True)}
    return write(model, coded, path)


def write(model: Checkpoint, coded: Mapping[str, Coded], path: Path) -> CompressedModel:
    """Write a checkpoint as a compressed file, with coded weights in place of its own."""
    given = UserArrays(
        masks={name: part.choice for name, part in coded.items() if part.choice is not None},
        quantized={name: part.quantized for name, part in coded.items()},
        seeds={name: part.seeds for name, part in coded.items() if part.seeds is not None},
    )
    plans = {name: _plan(part) for name, part in coded.items()}
    return compress_model(model, path, plans, given=given)


def _plan(part: Coded) -> TensorPlan:
    value, index, order = part.value, part.index, "auto"
    if part.choice is not None:
        index, order = part.choice.index, part.choice.order
    elif part.seeds is not None:
        order = part.seeds.order
    elif index is None and not value.chooses_values and not isinstance(value, BlockConfig):
        index = stored_index(value, part.quantizer.planes)
    return TensorPlan(
        quantizer=part.quantizer,
        config=value,
        index=index,
        order=order,
        search=not value.chooses_values,
        rotation=part.quantized.rotation,
    )


def load(path: Path, module: Any) -> Any:
    """Load a compressed file into a module: its weights are exactly the decoded ones.

    Parameters
    ----------
    path : Path
        A file of :func:`export`, or any compressed file of the module's state dict.
    module : torch.nn.Module
        Of the same architecture. Weights that are pruned become plain parameters again.

    Returns
    -------
    torch.nn.Module
        The module.

    Raises
    ------
    ConfigError
        If names, shapes, dtypes or ties of file and module differ. The module is then as it was.
    FormatError
        If the file is damaged.
    """
    path = Path(path)
    container = read_container(path)
    container.check_weights()
    own = decoded_state(module)
    check_names(container, own)
    state = {name: stored_tensor(container, name) for name in container.order}
    state |= {name: state[held] for name, held in container.ties.items()}
    for name in state:
        if own[name].is_meta:
            raise ConfigError(
                f"{path}: {name} of the module is on the meta device and holds nothing: call "
                'module.to_empty(device="cpu") before'
            )
    check_state(path, state, own)
    check_ties(path, own, lambda name: state[name])
    bake(module)
    module.load_state_dict(state, strict=False)
    return module


def check_names(container: Container, own: Mapping[str, Any]) -> None:
    """Check that a file has the tensors of a module's state dict and no others.

    Raises
    ------
    ConfigError
        If it has not.
    """
    names = {*container.order, *container.ties}
    for there, what in ((names - own.keys(), "the module has no"), (own.keys() - names, "misses")):
        if there:
            raise ConfigError(
                f"{container.path}: {what} {listed(sorted(there))}: build the module that the file "
                "was made of"
            )


def check_state(path: Path, state: Mapping[str, Any], own: Mapping[str, Any]) -> None:
    """Check that the tensors of a file have the shapes and dtypes of a module's state dict.

    Raises
    ------
    ConfigError
        If one has not.
    """
    for name, value in state.items():
        if value.shape != own[name].shape or value.dtype != own[name].dtype:
            raise ConfigError(
                f"{path}: {name} is {value.dtype} of {tuple(value.shape)}, in the module "
                f"{own[name].dtype} of {tuple(own[name].shape)}: build the module that the file "
                "was made of"
            )


def check_ties(path: Path, own: Mapping[str, Any], stored: Callable[[str], Any]) -> None:
    """Check that tensors that are one in the module are equal in the file.

    Parameters
    ----------
    path : Path
    own : mapping of str to torch.Tensor
        The module's state dict.
    stored : callable
        Returns a tensor of the file.

    Raises
    ------
    ConfigError
        If they differ.
    """
    first: dict[tuple[Any, ...], str] = {}
    for name, value in own.items():
        if not value.numel() or value.layout != torch.strided:
            continue
        place: Any = value.device, value.data_ptr(), value.shape, value.stride()
        if value.is_meta:
            place = id(value)
        tied = first.setdefault(place, name)
        if tied != name and not torch.equal(_raw(stored(name)), _raw(stored(tied))):
            raise ConfigError(
                f"{path}: {tied} and {name} differ, and are one tensor in the module: build the "
                "module that the file was made of, without that tie"
            )


def _raw(tensor: Any) -> Any:
    """Return a tensor's bytes: a NaN is equal to itself."""
    return tensor.contiguous().view(-1).view(torch.uint8)


def stored_tensor(container: Container, name: str) -> Any:
    """Return a tensor of a file, decoded, as one of torch.

    Raises
    ------
    ConfigError
        If it holds codes that a user brought.
    FormatError
        If it is damaged, or of a dtype that torch has not.
    """
    outputs = container.outputs(name)
    if container.blocks(name):
        if len(outputs) > 1:
            raise ConfigError(f"{container.label(name)} holds codes, which are no weights")
        return tensor_of(*outputs[""], _bytes(container, name), torch)
    foreign = container.foreign.get(name)
    data = container.raw(name)
    if foreign is None:
        dtype, shape, _ = container.entry(name)
        return tensor_of(dtype, shape, data, torch)
    if foreign.encoding != "torch":
        raise FormatError(f"{container.path}: {name} is {foreign.dtype}, which torch has not")
    return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)


def _bytes(container: Container, name: str) -> bytes:
    return plain_weights(container, name).tobytes()
