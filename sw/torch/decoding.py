# SPDX-License-Identifier: Apache-2.0
"""Modules that keep compressed weights and decode them when they are used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.codec import decode_packed
from xorloom.sw.model.container import Container, read_container
from xorloom.sw.model.verify import verify_packed
from xorloom.sw.tensors.checkpoint.model import listed
from xorloom.sw.tensors.checkpoint.torch_tensor import tensor_of
from xorloom.sw.tensors.safetensors_file import rounded_to

from .files import check_names, check_state, check_ties, stored_tensor
from .pruned import pruned

__all__ = [
    "CompressedConv1d",
    "CompressedConv2d",
    "CompressedConv3d",
    "CompressedEmbedding",
    "CompressedLinear",
    "CompressedWeight",
    "load_compressed",
]

_log = logging.getLogger(__name__)


class CompressedWeight:
    """Compressed weight, decoded when it is asked for; threads may ask at once.

    It may be copied and pickled, with its bytes and without what it decoded.

    Parameters
    ----------
    container : Container
        Where the weight is in memory, see
        :meth:`xorloom.sw.model.container.reader.Container.hold`.
    name : str
    keep : bool
        Keep what was decoded for the next time.
    """

    def __init__(self, container: Container, name: str, *, keep: bool = True) -> None:
        self._container, self._name, self.keep = container, name, keep
        self._checked = False
        self._value: torch.Tensor | None = None
        self._lock = Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of the streams and scales in memory."""
        return self._container.held_bytes

    def get(self, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Return the weight.

        Raises
        ------
        FormatError
            If mask and codes are not those that were compressed; checked the first time.
        """
        with self._lock:
            value = self._value
            if value is None or value.device != device or value.dtype != dtype:
                value = self._decoded().to(device, dtype)
                self._value = value if self.keep else None
            return value

    def forget(self) -> None:
        """Drop what was decoded; the next use decodes again."""
        with self._lock:
            self._value = None

    def _decoded(self) -> torch.Tensor:
        parts = (decode_packed if self._checked else verify_packed)(self._container, self._name)
        self._checked = True
        dtype, shape = self._container.outputs(self._name)[""]
        weights = [rounded_to(part.weights(), dtype) for part in parts]
        whole = (
            weights[0] if len(weights) == 1 else np.concatenate([w.reshape(-1) for w in weights])
        )
        return tensor_of(dtype, shape, whole.reshape(-1).view(np.uint8).data, torch)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_value": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()


class _Decoding(torch.nn.Module):
    """What the modules with a compressed weight have in common."""

    compressed_weight: CompressedWeight
    _place: torch.Tensor
    """Empty buffer: where the weight belongs, and its dtype, as ``to`` says."""

    @property
    def weight(self) -> torch.Tensor:
        """The decoded weight, without gradient."""
        return self.compressed_weight.get(self._place.device, self._place.dtype)

    def extra_repr(self) -> str:
        """Return what stands between the brackets of the module's text."""
        return f"{super().extra_repr()}, compressed to {self.compressed_weight.nbytes} bytes"

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        self.compressed_weight.forget()
        return super()._apply(fn, recurse)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(
        self,
        state_dict: Any,
        prefix: str,
        local_metadata: Any,
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        key = f"{prefix}weight"
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        if key in unexpected_keys:
            unexpected_keys.remove(key)
        if key not in state_dict:
            missing_keys.append(key)
        elif not torch.equal(state_dict[key].to(self._place), self.weight):
            error_msgs.append(
                f"{key} is compressed and cannot be changed: load other weights into a module of "
                "plain ones"
            )


class CompressedLinear(_Decoding, torch.nn.Linear):
    """Linear module with a compressed weight, see :func:`load_compressed`."""


class CompressedConv1d(_Decoding, torch.nn.Conv1d):
    """Convolution with a compressed weight, see :func:`load_compressed`."""


class CompressedConv2d(_Decoding, torch.nn.Conv2d):
    """Convolution with a compressed weight, see :func:`load_compressed`."""


class CompressedConv3d(_Decoding, torch.nn.Conv3d):
    """Convolution with a compressed weight, see :func:`load_compressed`."""


class CompressedEmbedding(_Decoding, torch.nn.Embedding):
    """Embedding with a compressed weight, see :func:`load_compressed`."""


class _CompressedProjection(_Decoding, NonDynamicallyQuantizableLinear):
    """Output projection of ``torch.nn.MultiheadAttention`` with a compressed weight."""


_KINDS: dict[type, type] = {
    torch.nn.Linear: CompressedLinear,
    torch.nn.Conv1d: CompressedConv1d,
    torch.nn.Conv2d: CompressedConv2d,
    torch.nn.Conv3d: CompressedConv3d,
    torch.nn.Embedding: CompressedEmbedding,
    NonDynamicallyQuantizableLinear: _CompressedProjection,
}


def load_compressed(path: Path | str, module: Any, *, keep: bool = True) -> Any:
    """Load a compressed file into a module whose weights stay compressed.

    The weight of a ``Linear``, ``Conv1d`` to ``Conv3d`` or ``Embedding`` is decoded when the module
    first uses it, and is exactly what :func:`xorloom.sw.torch.files.load` would load. It is no
    parameter any more: it has no gradient, and ``module.weight`` is what was decoded. All other
    tensors are loaded now; compressed ones among them, of modules of other classes, are told.

    ``to``, copies and pickles keep the compressed bytes, and drop what was decoded. The state dict
    is that of the module with plain weights. Compressed weights are not changed by loading one.

    Parameters
    ----------
    path : Path or str
        Any compressed file of the module's state dict. It is read now, and not needed afterwards.
    module : torch.nn.Module
        Of the same architecture, with plain weights; they may be on the meta device.
    keep : bool
        Keep weights once they are decoded. False: each use decodes anew and leaves nothing, which
        takes the least memory.

    Returns
    -------
    torch.nn.Module
        The module.

    Raises
    ------
    ConfigError
        If names, shapes, dtypes or ties of file and module differ, or the module is pruned. The
        module is then as it was.
    FormatError
        If the file is damaged.
    """
    path = Path(path)
    container = read_container(path)
    container.check_weights()
    if pruned(module):
        raise ConfigError(f"{path}: the module is pruned: call bake(module) before")
    own = module.state_dict(keep_vars=True)
    check_names(container, own)
    owners = {name: container.ties.get(name, name) for name in own}
    sites = _sites(container, module, owners)
    state = {
        name: (_blank if name in sites else stored_tensor)(container, owner)
        for name, owner in owners.items()
    }
    check_state(path, state, own)
    apart = {name: own[name] for name, owner in owners.items() if name == owner}
    check_ties(path, apart, partial(stored_tensor, container))
    tensors = (*module.named_parameters(), *module.named_buffers())
    if lost := [name for name, tensor in tensors if tensor.is_meta and name not in state]:
        raise ConfigError(
            f"{path}: {listed(lost)} of the module is on the meta device and in no state dict: "
            "build the module on a device"
        )
    names = dict.fromkeys(owners[name] for name in sites)
    held = {name: CompressedWeight(container.hold(name), name, keep=keep) for name in names}
    if plain := [name for name in own if container.blocks(owners[name]) and name not in sites]:
        _log.warning(
            f"xorloom: decoded now, as their modules cannot do it when used: {listed(plain)}"
        )
    for name, part in sites.items():
        _replace(part, held[owners[name]])
    for is_meta in (False, True):
        some = {n: v for n, v in state.items() if n not in sites and own[n].is_meta == is_meta}
        module.load_state_dict(some, strict=False, assign=is_meta)
    return module


def _sites(container: Container, module: Any, owners: Mapping[str, str]) -> dict[str, Any]:
    """Return the modules that can decode their weight, by its names."""
    found = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        name = f"{prefix}.weight" if prefix else "weight"
        if type(part) not in _KINDS or part._parameters.get("weight") is None:
            continue
        blocks = container.blocks(owners[name])
        if blocks and container.tensor(blocks[0]).quantizer is not None:
            found[name] = part
    return found


def _blank(container: Container, name: str) -> torch.Tensor:
    """Return a tensor of the file's dtype and shape that holds nothing."""
    dtype, shape = container.outputs(name)[""]
    return tensor_of(dtype, (0,), b"", torch).new_empty(shape, device="meta")


def _replace(part: Any, weight: CompressedWeight) -> None:
    """Make a module one with a compressed weight."""
    if type(part) not in _KINDS:  # done already, under another name
        return
    own = part._parameters.pop("weight")
    part.__class__ = _KINDS[type(part)]
    part.compressed_weight = weight
    device = torch.device("cpu") if own.is_meta else own.device
    place = torch.empty(0, dtype=own.dtype, device=device)
    part.register_buffer("_place", place, persistent=False)
