# SPDX-License-Identifier: Apache-2.0
"""No slice of the window decoder is lost, repeated, reordered or altered: proved.

By temporal induction in Yosys, unbounded, for all inputs (stalls, streams and resets included).
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.slice_pipe import SlicePipe
from xorloom.hw.window.decoder import WindowUnit
from xorloom.sw.spec.config import WindowConfig

from tests.helpers.induction import BROKEN, prove, refute

# Few taps: the proofs are about what moves when, and XORs are what a solver is slow on.
SMALL = WindowConfig(
    n_in=8,
    n_out=64,
    window=64,
    shared_taps=1,
    shared=32,
    parity_taps=2,
    frame=16,
    bus_bits=32,
)
CONFIGS = {
    "n_in_quarter_of_bus": SMALL,
    "n_in_is_bus": replace(SMALL, n_in=64, bus_bits=64),
    "n_in_2_words": replace(SMALL, n_in=64),
}


class PipeMonitor(wiring.Component):
    """Numbers the slices that the pipeline is given; they must come out in that order.

    The numbers travel in registers that load as those of the data do. ``bad`` also says that a
    number in the pipeline is wrong, or that the slices in it are not those that went in and have
    not come out: that makes the induction go through.
    """

    def __init__(self, pipe: SlicePipe, stages: int) -> None:
        self._pipe, self._stages = pipe, stages
        super().__init__(
            {
                "available_next": In(1),
                "token": In(1),
                "emit": In(1),
                "ready": In(1),
                "bad": Out(1),
                "slipped": Out(1),
                "crowded": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.pipe = pipe = self._pipe
        given, taken = Signal(4), Signal(4)
        numbers = [Signal(4, name=f"number_{k}") for k in range(1 + self._stages)]
        m.d.comb += [
            pipe.available_next.eq(self.available_next),
            pipe.token.eq(self.token),
            # Without stages every token is a slice.
            pipe.emit.eq(self.token & (self.emit | (self._stages == 0))),
            pipe.ready.eq(self.ready),
        ]
        m.d.sync += [
            given.eq(given + (pipe.step & pipe.emit)),
            taken.eq(taken + (pipe.valid & pipe.ready)),
        ]
        with m.If(pipe.data_step):
            m.d.sync += numbers[0].eq(given)
        with m.If(pipe.data_move):
            m.d.sync += [after.eq(b) for b, after in pairwise(numbers)]
        held = sum(pipe.slices[k] for k in range(1 + self._stages))
        faults = [(given - taken)[:4] != held]
        for k, number in enumerate(numbers):
            ahead = sum((pipe.slices[j] for j in range(k + 1, len(numbers))), start=0)
            faults.append(pipe.slices[k] & (number != (taken + ahead)[:4]))
        m.d.comb += [
            self.slipped.eq(pipe.valid & (numbers[-1] != taken)),
            self.bad.eq(self.slipped | Cat(faults).any()),
            self.crowded.eq(pipe.slices.all()),
        ]
        return m


class DecoderMonitor(wiring.Component):
    """Holds the decoder's output against a queue of what was to come out.

    In every step in which the rate control says that the window holds a slice, the queue takes
    what the network's rows make of the window; when a slice is taken, it loses its oldest. The
    output must be the oldest.
    """

    def __init__(self, config: WindowConfig, dut: WindowUnit) -> None:
        self._config, self._dut = config, dut
        super().__init__(
            {
                "valid": In(1),
                "payload": In(config.bus_bits + 1),
                "ready": In(1),
                "bad": Out(1),
                "miscounted": Out(1),
                "crowded": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        pipe, network = dut.pipe, dut.network
        rows = self._config.network.rows
        window = network.window
        decoded = Cat(
            Cat(window[t] for t in range(len(window)) if row >> t & 1).xor() for row in rows
        )
        queue = [Signal(len(rows), name=f"queue_{k}") for k in range(2)]
        level = Signal(2)
        enters, leaves = Signal(), Signal()
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.payload.eq(self.payload),
            dut.o.ready.eq(self.ready),
            enters.eq(pipe.step & pipe.emit),
            leaves.eq(dut.o.valid & dut.o.ready),
            self.crowded.eq(level == 2),
            self.miscounted.eq(
                (dut.o.valid & (level == 0)) | (level != pipe.slices[0] + pipe.slices[1])
            ),
            self.bad.eq(
                self.miscounted
                | (dut.o.valid & (dut.o.p.bits != queue[0]))
                | (pipe.slices[0] & ~pipe.slices[1] & (network.next_bits != queue[0]))
                | (pipe.slices[0] & pipe.slices[1] & (network.next_bits != queue[1]))
            ),
        ]
        m.d.sync += level.eq(level + enters - leaves)
        with m.If(leaves):
            m.d.sync += queue[0].eq(queue[1])
        for k in range(2):
            with m.If(enters & (level - leaves == k)):
                m.d.sync += queue[k].eq(decoded)
        return m


@pytest.mark.parametrize("stages", [0, 1, 2, 3])
def test_pipe_neither_loses_nor_repeats_a_slice(stages: int, tmp_path: Path) -> None:
    prove(PipeMonitor(SlicePipe(stages=stages), stages), "bad", tmp_path)


@pytest.mark.parametrize("stages", [0, 1, 2, 3])
def test_pipe_can_be_full_so_the_proof_is_not_empty(stages: int, tmp_path: Path) -> None:
    refute(PipeMonitor(SlicePipe(stages=stages), stages), "crowded", tmp_path)


@pytest.mark.parametrize("name", BROKEN)
def test_pipe_proof_fails_for_a_broken_pipe(name: str, tmp_path: Path) -> None:
    refute(PipeMonitor(BROKEN[name](stages=2), 2), "slipped", tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
def test_decoder_offers_exactly_the_slices_decided_on(name: str, tmp_path: Path) -> None:
    prove(DecoderMonitor(CONFIGS[name], WindowUnit(CONFIGS[name])), "bad", tmp_path)


def test_decoder_can_be_full_so_the_proof_is_not_empty(tmp_path: Path) -> None:
    config = CONFIGS["n_in_is_bus"]
    refute(DecoderMonitor(config, WindowUnit(config)), "crowded", tmp_path)


@pytest.mark.parametrize("name", BROKEN)
def test_decoder_proof_fails_with_a_broken_pipe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.hw.window.decoder.SlicePipe", BROKEN[name])
    config = CONFIGS["n_in_is_bus"]
    refute(DecoderMonitor(config, WindowUnit(config)), "miscounted", tmp_path)
