# SPDX-License-Identifier: Apache-2.0
"""No slice of the window decoder is lost, repeated, reordered or altered: proved.

By temporal induction in Yosys, unbounded, for all inputs (stalls, streams and resets included).
"""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.slice_pipe import FreePipe, SlicePipe
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


def small_unit(config: WindowConfig) -> WindowUnit:
    return WindowUnit(config, pipeline="small")


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


class FreePipeMonitor(wiring.Component):
    """Numbers the slices that a free pipe is given; they must be put out in that order.

    The numbers enter with the data, a cycle after the step. ``late``: more slices than the slack
    since ``ready`` fell.
    """

    def __init__(self, pipe: FreePipe, stages: int, *, slack: int | None = None) -> None:
        self._pipe, self._stages = pipe, stages
        self._slack = pipe.slack if slack is None else slack
        super().__init__(
            {name: In(1) for name in ("available_next", "token", "emit", "ready")}
            | {name: Out(1) for name in ("bad", "late", "crowded")}
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.pipe = pipe = self._pipe
        numbers = [Signal(4, name=f"number_{k}") for k in range(2 + self._stages)]
        came = Signal(range(self._slack + 1))
        given, taken = Signal(4), Signal(4)
        m.d.comb += [
            pipe.available_next.eq(self.available_next),
            pipe.token.eq(self.token),
            pipe.emit.eq(self.token & self.emit),
            pipe.ready.eq(self.ready),
        ]
        m.d.sync += [
            given.eq(given + (pipe.step & pipe.emit)),
            taken.eq(taken + pipe.valid),
            came.eq(Mux(self.ready, 0, came + pipe.valid)),
            numbers[0].eq(given),
            *(after.eq(before) for before, after in pairwise(numbers)),
        ]
        faults = [(given - taken)[:4] != sum(flag for flag in pipe.slices)]
        for k, number in enumerate(numbers):
            ahead = sum((pipe.slices[j] for j in range(k + 1, len(numbers))), start=0)
            faults.append(pipe.slices[k] & (number != (taken + ahead)[:4]))
        enters = pipe.slices[0]
        m.d.comb += [
            self.bad.eq(
                Cat(faults).any()
                | (pipe.valid & (numbers[-1] != taken))
                | (enters & ~pipe.data_step.all())
            ),
            self.late.eq(~self.ready & pipe.valid & (came == self._slack)),
            self.crowded.eq(pipe.slices.all()),
        ]
        return m


class FreeMonitor(wiring.Component):
    """Holds the output of a unit that runs free against the window, some cycles ago.

    A slice must come out as often as the rate control says that the window holds one, with what
    the network's rows make of the window. ``late``: more slices than the slack since ``ready``
    fell.
    """

    def __init__(self, config: WindowConfig, dut: WindowUnit) -> None:
        self._config, self._dut = config, dut
        super().__init__(
            {"valid": In(1), "payload": In(config.bus_bits + 1), "ready": In(1)}
            | {name: Out(1) for name in ("bad", "late", "crowded")}
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        pipe, network = dut.pipe, dut.network
        rows = self._config.network.rows
        window = network.window
        slices = [Signal(len(rows), name=f"slice_{k}") for k in range(2)]
        went = Signal(dut.latency)
        came = Signal(range(dut.slack + 1))
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.payload.eq(self.payload),
            dut.o.ready.eq(self.ready),
            self.bad.eq(
                (dut.o.valid != went[-1])
                | (went != pipe.slices)
                | (went[0] & ~pipe.data_step.all())
                | (went[1] & (network.next_bits != slices[0]))
                | (went[2] & (dut.o.p.bits != slices[1]))
            ),
            self.late.eq(~self.ready & dut.o.valid & (came == dut.slack)),
            self.crowded.eq(went.all()),
        ]
        m.d.sync += [
            went.eq(Cat(pipe.step & pipe.emit, went)),
            slices[0].eq(
                Cat(
                    Cat(window[t] for t in range(len(window)) if row >> t & 1).xor() for row in rows
                )
            ),
            slices[1].eq(slices[0]),
            came.eq(Mux(self.ready, 0, came + dut.o.valid)),
        ]
        return m


@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("what", ["bad", "late"])
def test_free_pipe_puts_out_what_it_is_given_and_no_more_than_the_slack(
    what: str, stages: int, tmp_path: Path
) -> None:
    prove(FreePipeMonitor(FreePipe(stages=stages, parts=3), stages), what, tmp_path)


@pytest.mark.parametrize("stages", [1, 2])
def test_free_pipe_needs_all_of_the_slack(stages: int, tmp_path: Path) -> None:
    pipe = FreePipe(stages=stages)
    refute(FreePipeMonitor(pipe, stages, slack=pipe.slack - 1), "late", tmp_path)
    refute(FreePipeMonitor(FreePipe(stages=stages), stages), "crowded", tmp_path)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("what", ["bad", "late"])
def test_free_unit_puts_out_exactly_the_slices_decided_on(
    name: str, what: str, tmp_path: Path
) -> None:
    prove(FreeMonitor(CONFIGS[name], WindowUnit(CONFIGS[name])), what, tmp_path)


def test_free_unit_can_be_full_so_the_proof_is_not_empty(tmp_path: Path) -> None:
    config = CONFIGS["n_in_is_bus"]
    refute(FreeMonitor(config, WindowUnit(config)), "crowded", tmp_path)


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
    prove(DecoderMonitor(CONFIGS[name], small_unit(CONFIGS[name])), "bad", tmp_path)


def test_decoder_can_be_full_so_the_proof_is_not_empty(tmp_path: Path) -> None:
    config = CONFIGS["n_in_is_bus"]
    refute(DecoderMonitor(config, small_unit(config)), "crowded", tmp_path)


@pytest.mark.parametrize("name", BROKEN)
def test_decoder_proof_fails_with_a_broken_pipe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.hw.window.decoder.SlicePipe", BROKEN[name])
    config = CONFIGS["n_in_is_bus"]
    refute(DecoderMonitor(config, small_unit(config)), "miscounted", tmp_path)
