# SPDX-License-Identifier: Apache-2.0
"""Data path of the window codec: seed window, shared parities, outputs."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.config import WindowConfig

__all__ = ["WindowNetwork"]

_LUT = 4
"""Inputs of the smallest look-up table in use."""


class WindowNetwork(wiring.Component):
    """Window network: a shift register over the seed stream and the XOR network on it.

    A step shifts a chunk in, and the first level is loaded: XORs of up to four bits of the window
    before the step. The second level XORs these with the bits that an output takes directly from
    the window. The step has moved those bits down by ``n_in`` positions, and the second level
    reads them there, so the delay costs only ``n_in`` more bits of shift register. With the
    default network (per output one bit of its own and three shared parities) an output and a
    parity cost one LUT4 each. Latency :py:`self.latency` cycles, one step per cycle. Twin:
    ``sw.golden.network.xor_network`` on ``config.network.rows``.

    Parameters
    ----------
    config : WindowConfig
    parts : int
        Parts of the window, each with an enable of its own.

    Members
    -------
    chunk : In(n_in)
        Seed bits, the oldest in bit 0.
    step : In(parts)
        Shift the chunk in.
    load : In(1)
        Load the first level from the window before the step: with each step, and else only while
        nothing in it is awaited.
    top : Out(n_in)
        Chunk that was shifted in last.
    move : In(1)
        Load the outputs; at the latest with the second step after the last chunk of the window.
    bits : Out(n_out)
        The outputs.

    Attributes
    ----------
    window, next_bits : Signal
        The window, and the inputs of the output registers. For proofs.
    """

    def __init__(self, config: WindowConfig, *, parts: int = 1) -> None:
        self._config, self._parts = config, parts
        self.window = Signal(config.window)
        self.next_bits = Signal(config.n_out)
        super().__init__(
            {
                "chunk": In(config.n_in),
                "step": In(parts),
                "load": In(1),
                "top": Out(config.n_in),
                "move": In(1),
                "bits": Out(config.n_out),
            }
        )

    @property
    def latency(self) -> int:
        """Registers from the window to the outputs."""
        return 2

    def elaborate(self, _platform: object) -> Module:
        """Build the data path."""
        m = Module()
        config = self._config
        n_in, network = config.n_in, config.network
        seeds = Signal(n_in + config.window, reset_less=True)  # low end: what left last
        outputs = Signal(config.n_out, reset_less=True)
        first: list[Value] = [Cat(seeds[n_in + t] for t in taps).xor() for taps in network.parities]
        second: list[list[Value]] = []
        parities = Signal(
            len(network.parities) + sum(map(self._partials, network.own)), reset_less=True
        )
        for own, picks in zip(network.own, network.picks, strict=True):
            split = self._partials(own) * _LUT
            inputs = [parities[pick] for pick in picks] + [seeds[t] for t in own[split:]]
            for at in range(0, split, _LUT):
                inputs.append(parities[len(first)])
                first.append(Cat(seeds[n_in + t] for t in own[at : at + _LUT]).xor())
            second.append(inputs)
        m.d.comb += [
            self.top.eq(seeds[-n_in:]),
            self.bits.eq(outputs),
            self.window.eq(seeds[n_in:]),
            self.next_bits.eq(Cat(Cat(inputs).xor() for inputs in second)),
        ]
        shifted = Cat(seeds[n_in:], self.chunk)
        for k in range(self._parts):
            part = slice(*(len(seeds) * end // self._parts for end in (k, k + 1)))
            with m.If(self.step[k]):
                m.d.sync += seeds[part].eq(shifted[part])
        with m.If(self.load):
            m.d.sync += parities.eq(Cat(first))
        with m.If(self.move):
            m.d.sync += outputs.eq(self.next_bits)
        return m

    def _partials(self, own: tuple[int, ...]) -> int:
        """Return how many XORs of four own bits go to the first level, to leave one LUT4 behind."""
        excess = len(own) + self._config.shared_taps - _LUT
        return max(0, min(len(own) // _LUT, -(-excess // (_LUT - 1))))
