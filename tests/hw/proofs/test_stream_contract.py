# SPDX-License-Identifier: Apache-2.0
"""The stream contract, proved: an offer stays, unchanged, until it is taken.

Proofs are by temporal induction in Yosys, from any state and for all inputs (reset included).
Of a window decoder that runs free the parts are proved: its queue in test_stream_units, and that it
puts no more than the slack into it in test_window.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.block.decoder import BlockDecoder
from xorloom.hw.block.lane import BlockLane
from xorloom.hw.block.parser import BlockParser
from xorloom.hw.block.patch_unit import PatchUnit
from xorloom.hw.block.skid_buffer import SkidBuffer
from xorloom.hw.block.xor_network import XorNetwork
from xorloom.hw.direct.decoder import DirectDecoder
from xorloom.hw.flow.tools import yosys
from xorloom.hw.index.bitmap import IndexBitmap
from xorloom.hw.index.decoder import ordinary_core
from xorloom.hw.index.entropy import IndexEntropy
from xorloom.hw.index.hashed import IndexHashed
from xorloom.hw.index.none import IndexNone
from xorloom.hw.window.decoder import WindowDecoder
from xorloom.sw.base.errors import ToolError
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.hashed import HashedConfig
from xorloom.sw.spec.index_config import BitmapConfig, EntropyConfig, NoneConfig, TrellisConfig

from tests.helpers.proof import HoldMonitor

CONFIG = BlockConfig(n_in=5, n_out=11, lanes=2, patches_per_cycle=2, bus_bits=32, block_groups=2)
WINDOW = WindowConfig(n_in=8, n_out=64, window=64, shared=32, frame=16, bus_bits=32)

DIRECT = DirectConfig(n_in=24, n_out=24, planes=2, window=6, taps=2, bus_bits=32)
TRELLIS = TrellisConfig(n_in=5, n_out=12, window=8, period=16)


class _Unit(wiring.Component):
    """One register in, one out, to be broken by a subclass."""

    def __init__(self) -> None:
        port = stream.Signature(unsigned(4))
        super().__init__({"i": In(port), "o": Out(port)})


class ForgetfulRegister(_Unit):
    """Broken: takes a new payload while the old one waits."""

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        valid, held = Signal(), Signal(4)
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(valid), self.o.payload.eq(held)]
        with m.If(self.i.valid):
            m.d.sync += held.eq(self.i.payload)
        m.d.sync += valid.eq(self.i.valid | (valid & ~self.o.ready))
        return m


class FickleRegister(_Unit):
    """Broken: withdraws its offer after one clock."""

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        valid, held = Signal(), Signal(4)
        m.d.comb += [self.i.ready.eq(1), self.o.valid.eq(valid), self.o.payload.eq(held)]
        m.d.sync += valid.eq(self.i.valid & ~valid)
        with m.If(~valid):
            m.d.sync += held.eq(self.i.payload)
        return m


class PassThrough(_Unit):
    """Broken: hands on what a careless source offers."""

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        wiring.connect(m, wiring.flipped(self.i), wiring.flipped(self.o))
        return m


UNITS: dict[str, Callable[[], wiring.Component]] = {
    "skid_buffer": lambda: SkidBuffer(data.StructLayout({"a": 3, "b": 2})),
    "xor_network_1_stage": lambda: XorNetwork(n_in=CONFIG.n_in, rows=CONFIG.rows),
    "xor_network_2_stages": lambda: XorNetwork(n_in=CONFIG.n_in, rows=CONFIG.rows, stages=2),
    "patch_unit": lambda: PatchUnit(
        n_out=7, patches_per_cycle=2, user=data.StructLayout({"tag": 3})
    ),
    "block_lane": lambda: BlockLane(CONFIG),
    "block_lane_2_stages": lambda: BlockLane(CONFIG, stages=2),
    "block_parser": lambda: BlockParser(CONFIG),
    # One lane: that lanes move in lockstep is not inductive by itself.
    "block_decoder_1_lane": lambda: BlockDecoder(replace(CONFIG, lanes=1)),
    "window_decoder": lambda: WindowDecoder(WINDOW, pipeline="small"),
    "window_decoder_n_in_is_bus": lambda: WindowDecoder(replace(WINDOW, n_in=32), pipeline="small"),
    "window_decoder_n_in_is_2_words": lambda: WindowDecoder(
        replace(WINDOW, n_in=64), pipeline="small"
    ),
    "index_entropy": lambda: IndexEntropy(EntropyConfig(n_out=32, lanes=2, states=16, bus_bits=32)),
    "index_bitmap": lambda: IndexBitmap(BitmapConfig(n_out=9)),
    "index_hashed": lambda: IndexHashed(HashedConfig(n_out=9)),
    "index_none": lambda: IndexNone(NoneConfig(n_out=9)),
    "index_trellis": lambda: ordinary_core(TRELLIS, pipeline="small"),
    "index_trellis_classes": lambda: ordinary_core(replace(TRELLIS, classes=4), pipeline="small"),
    "direct_decoder": lambda: DirectDecoder(DIRECT),
    "direct_decoder_n_in_is_bus": lambda: DirectDecoder(replace(DIRECT, n_in=32)),
    "direct_decoder_levels": lambda: DirectDecoder(DIRECT, levels=True),
    "window_decoder_patches": lambda: WindowDecoder(
        replace(WINDOW, n_in=32, patches=1), pipeline="small"
    ),
}
BROKEN = {unit.__name__: unit for unit in (ForgetfulRegister, FickleRegister, PassThrough)}


def netlist(dut: wiring.Component, folder: Path) -> list[str]:
    """Write the unit under its monitor; return the passes that read and flatten it."""
    path = folder / "top.il"
    path.write_text(rtlil.convert(HoldMonitor(dut), name="top", emit_src=False))
    # Memories may hold and say anything: the promise is that of the output registers.
    cut = "cutpoint -undef t:$mem_v2"
    return [f"read_rtlil {path}", "prep -top top -flatten", cut, "memory_map", "async2sync"]


def never(what: str) -> str:
    """Pass that fails unless signal ``what`` is proved to be always 0."""
    return f"sat -verify -tempinduct -maxsteps 3 -prove {what} 0 top"


@pytest.mark.parametrize("name", UNITS)
def test_stream_output_holds_its_offer_until_taken(name: str, tmp_path: Path) -> None:
    yosys([*netlist(UNITS[name](), tmp_path), never("bad")], tmp_path / f"{name}.log")
    assert "Induction step proven: SUCCESS!" in (tmp_path / f"{name}.log").read_text()


@pytest.mark.parametrize("name", ["skid_buffer", "xor_network_2_stages", "patch_unit"])
def test_stream_output_can_be_stalled_so_the_proof_is_not_empty(name: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="proof did fail"):
        yosys([*netlist(UNITS[name](), tmp_path), never("stalled")], tmp_path / "log")


@pytest.mark.parametrize("name", BROKEN)
def test_stream_contract_proof_fails_for_a_broken_unit(name: str, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="proof did fail"):
        yosys([*netlist(BROKEN[name](), tmp_path), never("bad")], tmp_path / "log")
