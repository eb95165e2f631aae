# SPDX-License-Identifier: Apache-2.0
"""No slice of the direct decoder is lost, repeated, reordered or altered: proved.

By temporal induction in Yosys, unbounded, for all inputs (stalls, packets and resets included).
"""

from pathlib import Path

import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.direct.decoder import DirectUnit
from xorloom.sw.spec.direct import DirectConfig

from tests.helpers.induction import BROKEN, prove, refute

CONFIGS = {
    "n_in_is_bus": DirectConfig(n_in=32, n_out=32, planes=2, window=6, taps=2, bus_bits=32),
    "n_in_above_bus": DirectConfig(n_in=40, n_out=30, planes=3, window=7, taps=3, bus_bits=32),
    "n_in_below_bus": DirectConfig(n_in=12, n_out=16, planes=1, window=9, taps=3, bus_bits=32),
}


class DecoderMonitor(wiring.Component):
    """Holds the output against what was to come out.

    In every step the expected slice becomes what ``config.columns`` make of the window, unlike the
    unit, which goes by ``network.rows``. ``bad``: the output is another one, or there is one
    without a step, or a step without one.
    """

    def __init__(self, config: DirectConfig, dut: DirectUnit) -> None:
        self._config, self._dut = config, dut
        super().__init__(
            {
                "valid": In(1),
                "payload": In(config.bus_bits + 1),
                "ready": In(1),
                "bad": Out(1),
                "miscounted": Out(1),
                "offered": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        m.submodules.dut = dut = self._dut
        pipe, window = dut.core.pipe, dut.core.window.o
        columns = self._config.columns
        decoded = Cat(
            Cat(bit for bit, column in zip(window, columns, strict=True) if column >> row & 1).xor()
            for row in range(self._config.n_out)
        )
        expected, held = Signal(self._config.n_out), Signal()
        leaves = dut.o.valid & dut.o.ready
        m.d.comb += [
            dut.i.valid.eq(self.valid),
            dut.i.payload.eq(self.payload),
            dut.o.ready.eq(self.ready),
            self.offered.eq(dut.o.valid),
            self.miscounted.eq((dut.o.valid != held) | (pipe.step & held & ~leaves)),
            self.bad.eq(self.miscounted | (dut.o.valid & (dut.o.p.bits != expected))),
        ]
        m.d.sync += held.eq((held & ~leaves) | pipe.step)
        with m.If(pipe.step):
            m.d.sync += expected.eq(decoded)
        return m


@pytest.mark.parametrize("name", CONFIGS)
def test_direct_unit_offers_exactly_the_slices_of_its_steps(name: str, tmp_path: Path) -> None:
    prove(DecoderMonitor(CONFIGS[name], DirectUnit(CONFIGS[name])), "bad", tmp_path)


def test_direct_unit_can_offer_so_the_proof_is_not_empty(tmp_path: Path) -> None:
    config = CONFIGS["n_in_is_bus"]
    refute(DecoderMonitor(config, DirectUnit(config)), "offered", tmp_path)


@pytest.mark.parametrize("name", BROKEN)
def test_direct_proof_fails_with_a_broken_pipe(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xorloom.hw.direct.core.SlicePipe", BROKEN[name])
    config = CONFIGS["n_in_is_bus"]
    refute(DecoderMonitor(config, DirectUnit(config)), "miscounted", tmp_path)
