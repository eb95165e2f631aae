# SPDX-License-Identifier: Apache-2.0
"""What memory a file may ask for: the bounds that FORMAT.md and the page of limits state."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from xorloom.sw.base.errors import CapacityError, FormatError
from xorloom.sw.memory.image import memory_image
from xorloom.sw.model.container import Container, read_container
from xorloom.sw.model.container.reader import WEIGHTS_LEAST, WEIGHTS_PER_BYTE
from xorloom.sw.model.container.seal import seal
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.reports.inspect import tensor_bits, tensor_frames, tensor_steps
from xorloom.sw.model.verify import verify_model, verify_tensor

from tests.helpers.hostile import HOSTILE, entropy_file

BYTES_PER_WEIGHT = 16
BYTES_PER_KEPT = 16
"""More than that for a kept weight: places and single-precision values of all."""
FILES = 250
"""Bytes per byte of the file."""
FIXED = 2 << 20

WEIGHTS = 1 << 20


@contextmanager
def at_most(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] <= limit
    finally:
        tracemalloc.stop()


def decode_all(container: Container, out: Path) -> None:
    assert all(verdict.ok for verdict in verify_model(container))
    decompress_model(container.path, out, max_weights=container.max_weights)
    tensor_bits(container, "w")
    tensor_frames(container, "w")
    tensor_steps(container, "w")


@pytest.mark.parametrize("name", HOSTILE)
def test_memory_follows_the_weights_or_the_file(name: str, tmp_path: Path) -> None:
    path = HOSTILE[name](tmp_path / "c", WEIGHTS >> 3 if "single" in name else WEIGHTS)
    container = read_container(path, WEIGHTS)
    assert container.weights in (WEIGHTS, WEIGHTS >> 3)
    decode_all(container, tmp_path / "d")  # networks and kernels are there from now on
    share = {"none": 1.0, "direct": 1.0, "hashed": 26 / 256}.get(
        name, 0.0
    )  # the other files keep nothing
    kept = round(share * container.weights)
    bytes_needed = BYTES_PER_WEIGHT * container.weights + BYTES_PER_KEPT * kept
    bound = max(bytes_needed, FILES * path.stat().st_size) + FIXED
    with at_most(bound):
        decode_all(container, tmp_path / "d")
    if "block" not in name:
        with at_most(FILES * path.stat().st_size + FIXED):
            memory_image(container)


def test_a_class_of_no_bits_allocates_nothing_for_weights_that_the_values_lack(
    tmp_path: Path,
) -> None:
    path = entropy_file(tmp_path / "c", (1 << 32) - 65536, value_words=1)
    assert path.stat().st_size < 1200
    text = r"c: w: stream 0: 2097120 slices take at least 2097127 chunks of 8 bits, the stream"
    reads: list[Callable[[Container], object]] = [
        lambda c: verify_tensor(c, "w"),
        lambda c: tensor_bits(c, "w"),
        lambda c: tensor_steps(c, "w"),
        lambda c: decompress_model(path, tmp_path / "d", max_weights=c.max_weights),
    ]
    container = read_container(path, 1 << 32)
    with at_most(1 << 20):
        for read in reads:
            with pytest.raises(FormatError, match=text):
                read(container)
        with pytest.raises(FormatError, match=r"w: stream 0: values: 2097120 slices take at least"):
            memory_image(container)
        (verdict,) = verify_model(container)
    assert not verdict.ok
    assert "2097120 slices take" in verdict.message


def test_more_weights_than_a_file_stands_for_are_not_decoded_unasked(tmp_path: Path) -> None:
    path = entropy_file(tmp_path / "c", WEIGHTS_LEAST)
    assert verify_model(read_container(path))[0].ok
    weights = WEIGHTS_LEAST + 2048
    path = entropy_file(tmp_path / "c", weights)
    text = rf"c: decoding its {weights:,} weights takes much .*: give --max-weights {weights} if"
    with at_most(1 << 20):
        container = read_container(path)
        for read in (verify_tensor, tensor_bits):
            with pytest.raises(CapacityError, match=text):
                read(container, "w")
        with pytest.raises(CapacityError, match=text):
            decompress_model(path, tmp_path / "d")
        (verdict,) = verify_model(container)
        assert (verdict.tensor, verdict.ok) == ("", False)
        assert f"give --max-weights {weights}" in verdict.message
    assert not (tmp_path / "d").exists()
    assert verify_model(read_container(path, weights))[0].ok


def test_the_limit_grows_with_the_file(tmp_path: Path) -> None:
    path = HOSTILE["bitmap"](tmp_path / "c", WEIGHTS_LEAST)
    assert read_container(path).max_weights == WEIGHTS_PER_BYTE * path.stat().st_size


@pytest.mark.parametrize("inside", [False, True], ids=["header", "manifest"])
@pytest.mark.parametrize("items", ["[]", "{}", '{"":0}', '"ab"', "1.5"])
def test_headers_take_memory_in_proportion_to_their_length(
    items: str, inside: bool, tmp_path: Path
) -> None:
    text = '{"x":[' + ",".join([items] * 50_000) + "]}"
    raw = text.encode()
    if inside:
        quoted = text.replace('"', '\\"')
        metadata = f'"xorloom":"{quoted}","xorloom_header_crc32":"00000000"'
        raw = seal(f'{{"__metadata__":{{{metadata}}}}}'.encode())
    path = tmp_path / "c"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw)
    with at_most(40 * len(raw)), pytest.raises(FormatError, match=r"c: (tensor 'x'|manifest)"):
        read_container(path)
