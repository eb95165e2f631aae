# SPDX-License-Identifier: Apache-2.0
"""As much of torch as the reader of its files touches, over NumPy.

What it does was seen of torch 2.13; ``test_torch_real.py`` does the same with torch itself.
"""

import contextlib
import importlib.machinery
import types

import numpy as np

__all__ = ["Tensor", "make_torch"]

POINTERS = 1 << 20


class Memory:
    """Storage: numbers that several tensors can view."""

    made = 0

    def __init__(self, array):
        Memory.made += 1
        self.bytes, self.address = array.tobytes(), Memory.made * POINTERS

    def data_ptr(self):
        return self.address if self.bytes else 0


class Tensor:
    """Tensor of a dtype by torch's name; ``like`` shares another one's memory."""

    def __init__(self, array, dtype=None, *, like=None, offset=0, stride=None, **facts):
        array = np.asarray(array)
        self.array = array
        self.dtype = f"torch.{dtype or array.dtype}"
        self.shape = array.shape
        self.memory = like.memory if like is not None else Memory(array)
        self.offset = offset
        self.strides = stride or tuple(s // array.itemsize for s in array.strides)
        self.layout = facts.get("layout", "torch.strided")
        self.is_quantized = facts.get("is_quantized", False)
        self.is_nested = facts.get("is_nested", False)
        self.is_meta = facts.get("is_meta", False)
        self.conjugate = facts.get("conjugate", False)

    def untyped_storage(self):
        if self.layout != "torch.strided":
            raise NotImplementedError("Cannot access storage of SparseTensorImpl")
        return self.memory

    def stride(self):
        return self.strides

    def storage_offset(self):
        return self.offset

    def element_size(self):
        return self.array.itemsize

    def numel(self):
        return self.array.size

    def is_conj(self):
        return self.conjugate

    def is_neg(self):
        return False

    def resolve_conj(self):
        return self.with_array(self.array.conj()) if self.conjugate else self

    def unbind(self):
        return list(self.array)

    def detach(self):
        return self

    resolve_neg = contiguous = clone = detach

    def with_array(self, array):
        return Tensor(array, self.dtype.removeprefix("torch."), layout=self.layout)

    def reshape(self, *shape):
        return self.with_array(self.array.reshape(*shape))

    def view(self, dtype):
        assert dtype == "torch.uint8"
        assert self.array.ndim == 1, "torch views no scalar as another dtype"
        return Tensor(np.ascontiguousarray(self.array).view(np.uint8))

    def numpy(self):
        if self.dtype in ("torch.bfloat16", "torch.float8_e4m3fn"):
            raise TypeError("Got unsupported ScalarType")
        return self.array


class Parameter(Tensor):
    """As a module holds its weights."""


def make_torch(state):
    """Return a module whose ``load`` returns ``state``, or raises it."""
    torch = types.ModuleType("torch")
    torch.__spec__ = importlib.machinery.ModuleSpec("torch", None)
    torch.Tensor, torch.uint8 = Tensor, "torch.uint8"
    torch.nn = types.SimpleNamespace(Parameter=Parameter)
    torch.serialization = types.SimpleNamespace(safe_globals=lambda kinds: contextlib.nullcontext())

    def load(path, *, map_location, weights_only, mmap):
        assert (map_location, weights_only) == ("cpu", True)
        if isinstance(state, Exception):
            raise state
        return state

    def save(tensor, file):
        file.write(f"saved {tensor.dtype} {tensor.layout} ".encode() + tensor.array.tobytes())

    torch.load, torch.save = load, save
    return torch
