# SPDX-License-Identifier: Apache-2.0
"""Compiler of the kernels where machine code can be kept, and where it cannot."""

import logging

import numba
import pytest
from numba.core.caching import CacheImpl
from xorloom.sw.bits import jit
from xorloom.sw.bits.jit import njit

from tests.helpers.imports import python_files


def thrice(x):
    return 3 * x


def test_njit_compiles_and_keeps_as_numba_does():
    kernel = njit(nogil=True, cache=True)(thrice)
    assert kernel(2) == 6
    assert kernel.py_func is thrice
    assert kernel.nopython_signatures
    assert kernel.targetoptions["nogil"]
    assert sum(kernel.stats.cache_hits.values()) + sum(kernel.stats.cache_misses.values()) == 1


def test_njit_does_without_the_cache_where_there_is_no_place(monkeypatch, caplog):
    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    monkeypatch.setattr(jit, "_told", False)
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(thrice)
    with caplog.at_level(logging.WARNING):
        kernels = [njit(nogil=True, cache=True)(thrice) for _ in range(2)]
    assert [kernel(5) for kernel in kernels] == [15, 15]
    assert all(kernel.nopython_signatures for kernel in kernels)
    (record,) = caplog.records
    assert "\n" not in record.message
    assert "kernels are compiled again in every run (set NUMBA_CACHE_DIR" in record.message


def test_njit_hides_no_other_error(monkeypatch):
    def fails(**options):
        raise RuntimeError("of another kind")

    monkeypatch.setattr(jit.numba, "njit", fails)
    with pytest.raises(RuntimeError, match="of another kind"):
        njit(cache=True)(thrice)


def test_every_kernel_is_compiled_by_it():
    files = {path: path.read_text(encoding="utf-8") for path in python_files("sw")}
    users = [path.name for path, text in files.items() if "\n@njit(" in text]
    assert len(users) > 8
    for path, text in files.items():
        own = path.name == "jit.py"
        assert own or "numba import njit" not in text, path
        assert own or "numba.njit" not in text, path
