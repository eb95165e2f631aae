# SPDX-License-Identifier: Apache-2.0
"""Random edits of files of every codec: a typed error, or the same weights, in bounded memory."""

import random
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors import safe_open
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError
from xorloom.sw.memory.image import memory_image
from xorloom.sw.model.container import Container, read_container, write_container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.reports.inspect import fifo_rows, tensor_bits, tensor_frames, tensor_steps
from xorloom.sw.model.verify import verify_model

from tests.helpers.mutations import MUTATIONS
from tests.helpers.small_files import NAMES, small_files

DAMAGED = (FormatError, ConfigError, CapacityError)
MEMORY = 90 << 20
"""16 bytes for each of the 4 Mi weights that are decoded unasked, and more."""
SAME = ("bytes", "cut", "stream", "field")
"""Edits that cannot say what the weights are."""


def check_names(error: Exception, path: Path) -> None:
    assert str(path) in str(error), error


def read_everything(container: Container, folder: Path) -> None:
    """Ask for all that one may ask for; errors name the file."""

    def again() -> None:
        tensors = [container.stored(name) for name in container.order]
        write_container(folder / "e", tensors, metadata=container.metadata, ties=container.ties)

    reads = [
        lambda: memory_image(container).c_header(),
        lambda: fifo_rows(container, container.tensors),
        container.decoder,
        container.value,
        again,
    ]
    for name in container.tensors:
        reads += [
            lambda n=name: tensor_bits(container, n),  # type: ignore[misc]
            lambda n=name: tensor_frames(container, n),  # type: ignore[misc]
            lambda n=name: tensor_steps(container, n),  # type: ignore[misc]
        ]
    for read in reads:
        with suppress(*DAMAGED):
            try:
                read()
            except DAMAGED as error:
                check_names(error, folder)
                raise


def outcome(data: bytes, folder: Path) -> bytes | None:
    """Return what a file decompresses to, ``None`` if it is refused; ``verify`` tells the same."""
    path, out = folder / "c", folder / "d"
    path.write_bytes(data)
    out.unlink(missing_ok=True)
    try:
        container = read_container(path)
    except DAMAGED as error:
        check_names(error, path)
        with pytest.raises(DAMAGED):
            decompress_model(path, out)
        return None
    read_everything(container, folder)
    sound = all(verdict.ok for verdict in verify_model(container))
    try:
        decompress_model(path, out)
    except DAMAGED as error:
        check_names(error, path)
        assert not sound
        assert not out.exists(), "half an output was left behind"
        return None
    assert sound
    with safe_open(out, "np") as file:
        assert file.keys()
    return out.read_bytes()


def attack(name: str, how: str, edits: int, folder: Path, *, traced: bool = False) -> None:
    plain = outcome(small_files()[name], folder)  # networks and kernels are there from now on
    assert plain is not None
    for seed in range(edits):
        data = MUTATIONS[how](small_files()[name], random.Random(f"{name} {how} {seed}"))
        if traced:
            tracemalloc.start()
        try:
            found = outcome(data, folder)
            assert not traced or tracemalloc.get_traced_memory()[1] < MEMORY
        except BaseException:
            print(f"{name}, {how}, seed {seed}")
            raise
        finally:
            tracemalloc.stop()
        if how in SAME:
            assert found in (None, plain), f"{name}, {how}, seed {seed}: other weights"


@pytest.mark.parametrize("how", MUTATIONS)
def test_edited_files_are_refused_or_mean_the_same(how: str, tmp_path: Path) -> None:
    for name in NAMES:
        attack(name, how, 2, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("how", MUTATIONS)
def test_edited_files_take_little_memory(how: str, tmp_path: Path) -> None:
    for name in NAMES:
        attack(name, how, 5, tmp_path, traced=True)


@pytest.mark.slow  # the same, more often
@pytest.mark.parametrize("how", MUTATIONS)
@pytest.mark.parametrize("name", NAMES)
def test_many_edited_files_are_refused_or_mean_the_same(
    name: str, how: str, tmp_path: Path
) -> None:
    attack(name, how, 100, tmp_path, traced=True)
