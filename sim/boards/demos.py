# SPDX-License-Identifier: Apache-2.0
"""Board demonstrations: weights and decoder of each board, and its top level's Verilog."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from xorloom.hw.boards.fit import check_image
from xorloom.hw.boards.rom import BoardRom
from xorloom.hw.boards.shell import BoardShell
from xorloom.hw.boards.spi_flash import SpiFlash
from xorloom.hw.boards.table import Board, board_named
from xorloom.hw.boards.top import BoardTop, Expected
from xorloom.hw.flow.export import component_verilog
from xorloom.sim.datasets import DEMO_DENSITY, DEMO_INDEX_BITS, DEMO_LAYER, DEMO_TENSORS
from xorloom.sim.simulate.packets import packet_of
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.outputs import check_outside
from xorloom.sw.index.choice import index_config
from xorloom.sw.memory.image import MemoryImage, memory_image
from xorloom.sw.memory.weight_stream import split_weight_streams
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.selection import select
from xorloom.sw.model.plan.source import open_plain
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.spec.config import ValueConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.layout import BeatLayout
from xorloom.sw.spec.weight_format import mask_lanes
from xorloom.sw.tensors.quantize import Quantizer

__all__ = [
    "DEMOS",
    "BoardDemo",
    "BoardTimes",
    "board_verilog",
    "compress_for",
    "expected_of",
    "top_name",
]

BAUD = 115_200


@dataclass(frozen=True)
class BoardDemo:
    """Demonstration on one board.

    Parameters
    ----------
    board : Board
    value : ValueConfig
        The direct codec goes without an index, and keeps every weight.
    tensors : tuple of str
        Names or patterns of MiniLM-L6 matrices.
    crc_steps : int
        See :class:`xorloom.hw.lib.beat_crc.BeatCrc`.
    density, index_bits : float
        Of the trellis index, which goes with the window codec.
    """

    board: Board
    value: ValueConfig
    tensors: tuple[str, ...]
    crc_steps: int
    density: float = DEMO_DENSITY
    index_bits: float = DEMO_INDEX_BITS


@dataclass(frozen=True)
class BoardTimes:
    """Times of a board in cycles, by default 115,200 baud and pauses of a quarter of a second.

    Simulations take shorter ones.

    Parameters
    ----------
    baud_divisor : int, optional
        Cycles per bit of the serial line.
    pause_cycles : int, optional
        Between passes.
    reset_bits : int
        See :class:`xorloom.hw.boards.clock.BoardClock`.
    """

    baud_divisor: int | None = None
    pause_cycles: int | None = None
    reset_bits: int = 16


def _value(n_in: int, n_out: int, bus_bits: int) -> WindowConfig:
    return WindowConfig(n_in=n_in, n_out=n_out, window=n_out, shared=n_out // 2, bus_bits=bus_bits)


_DEMOS = (
    BoardDemo(board_named("ulx3s"), _value(16, 256, 64), (DEMO_TENSORS,), crc_steps=1),
    BoardDemo(board_named("icebreaker"), _value(8, 64, 32), (DEMO_TENSORS,), crc_steps=4),
    BoardDemo(
        board_named("tang-nano-9k"),
        _value(16, 128, 32),
        (f"{DEMO_LAYER}.attention.*.weight",),
        crc_steps=2,
    ),
    BoardDemo(board_named("arty-a7"), _value(16, 256, 64), (DEMO_TENSORS,), crc_steps=1),
)
DEMOS = {demo.board.name: demo for demo in _DEMOS}
"""Demonstrations by the board's name."""


def _spec(demo: BoardDemo) -> CompressSpec:
    """Return how a board's tensors are compressed."""
    value = demo.value
    if isinstance(value, DirectConfig):
        index = index_config("none", value, value.planes, density=1.0)
        how = CompressSpec(quantizer=Quantizer("trellis", value.planes), config=value, index=index)
    else:
        index = index_config("trellis", value, 1, density=demo.density, rate=demo.index_bits)
        how = CompressSpec(sparsity=1 - demo.density, config=value, index=index, search=False)
    return replace(how, include=demo.tensors)


def compress_for(demo: BoardDemo, model: Path, path: Path) -> MemoryImage:
    """Compress a board's tensors into a file, and return the image of them.

    Raises
    ------
    ConfigError, FormatError, CapacityError
        If the model has no such tensors, lies where it would be written over, or is damaged, or
        the image is too long for the board.
    """
    spec = _spec(demo)
    found = open_plain(model)
    for file in found.files:
        check_outside(file, path.parent)
    chosen = select(found, spec.include, spec.min_size)
    compress_model({name: found[name] for name in chosen}, path, spec)
    return image_of(path, demo.board)


def image_of(path: Path, board: Board) -> MemoryImage:
    """Return the image of a compressed model: words without gaps, as a board reads them.

    Raises
    ------
    CapacityError
        If it is too long for the board.
    """
    container = read_container(path)
    image = memory_image(container, align_bytes=container.decoder().value.bus_bytes)
    check_image(board, len(image.data))
    return image


def expected_of(image: MemoryImage) -> Expected:
    """Return what a pass over an image must yield, by the software decoder.

    Raises
    ------
    ConfigError
        If a stream does not end with a whole slice: the rest of its lanes would be undefined.
    """
    crc = 0
    (form,) = image.forms
    for data in split_weight_streams(image.data, form.value.bus_bytes):
        # The check sits before the output: codes below, mask above.
        layout = BeatLayout(form.value.n_out, form.planes, form="planar")
        packet, _ = packet_of(data, form, layout)
        lanes = mask_lanes(form.value, form.planes)
        if packet.weights % lanes:
            raise ConfigError(
                f"a board's tensors must have a multiple of {lanes} weights, "
                f"found {packet.weights} in a stream: choose other tensors or another n_out"
            )
        crc = zlib.crc32(packet.data, crc)
    return Expected(sum(region.weights for region in image.regions), crc)


def top_name(board: Board) -> str:
    """Return the name of a board's top module."""
    return f"xorloom_{board.name.replace('-', '_')}"


def image_words(image: MemoryImage) -> Sequence[int]:
    """Return an image's bus words."""
    size = image.value.bus_bytes
    return [
        int.from_bytes(image.data[at : at + size], "little")
        for at in range(0, len(image.data), size)
    ]


def board_verilog(
    board: Board,
    image: MemoryImage,
    expected: Expected,
    *,
    crc_steps: int,
    times: BoardTimes | None = None,
) -> str:
    """Return the Verilog of a board's top level.

    Parameters
    ----------
    board : Board
    image : MemoryImage
        Decides the decoder, and fills block RAM where the board reads from it.
    expected : Expected
    crc_steps : int
        See :class:`xorloom.hw.lib.beat_crc.BeatCrc`.
    times : BoardTimes, optional
    """
    times = times or BoardTimes()
    (form,), clock_hz = image.forms, board.clock_mhz * 1e6
    words, bus = image_words(image), form.value.bus_bits
    source: BoardRom | SpiFlash
    if board.flash_bytes:
        source = SpiFlash(
            address=board.flash_offset,
            words=len(words),
            bus_bits=bus,
            clock_mhz=board.clock_mhz,
        )
    else:
        source = BoardRom(words, bus_bits=bus, bank_words=board.bank_words)
    top = BoardTop(
        form.value,
        form.index,
        planes=form.planes,
        source=source,
        expected=expected,
        crc_steps=crc_steps,
        baud_divisor=times.baud_divisor or baud_divisor(board),
        pause_cycles=times.pause_cycles or round(clock_hz / 4),
        heartbeat_bits=round(clock_hz / 2).bit_length() - 1,
        lights=board.lights,
        pipeline=board.pipeline,
    )
    shell = BoardShell(board, top, reset_bits=times.reset_bits)
    return component_verilog(shell, top_name(board))


def baud_divisor(board: Board) -> int:
    """Return the cycles per bit at 115,200 baud."""
    return round(board.clock_mhz * 1e6 / BAUD)
