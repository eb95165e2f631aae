# SPDX-License-Identifier: Apache-2.0
"""Small models, codecs and requests, for the tests of whole models."""

from xorloom.sw.model.spec import CompressSpec
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.safetensors_file import dtype_name

__all__ = ["CONFIG", "WINDOW", "as_model", "spec"]

CONFIG = BlockConfig(n_in=8, n_out=40, lanes=2, bus_bits=32)
WINDOW = WindowConfig(n_in=8, n_out=64, window=64, shared=16, frame=16, bus_bits=32)


def spec(**options):
    return CompressSpec(**{"config": CONFIG, "search": False, "min_size": 100} | options)


def as_model(arrays):
    return {
        name: ModelTensor(name, dtype_name(a.dtype), a.shape, lambda a=a: a)
        for name, a in arrays.items()
    }
