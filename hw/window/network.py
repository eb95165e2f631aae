# SPDX-License-Identifier: Apache-2.0
"""The window codec's data path: seed window, shared parities, outputs."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.config import WindowConfig

__all__ = ["WindowNetwork"]

_LUT = 4
"""Inputs of the smallest common look-up table."""


class WindowNetwork(wiring.Component):
    """Shift register over the seed stream and the XOR network on it, in two registered levels.

    A step shifts a chunk in and loads the first level, XORs of up to four window bits, from the
    window as it was. The second level XORs these with the window bits that an output takes
    directly: the step has moved them ``n_in`` positions down, which is where it reads them, so
    nothing but ``n_in`` more bits of shift register is spent on the delay. With the default
    network (one bit of its own and three parities an output) an output costs one LUT4, a parity
    one. Twin: ``sw.golden.network.xor_network`` on ``config.network.rows``.

    Parameters
    ----------
    config : WindowConfig

    Members
    -------
    chunk : In(n_in)
    step : In(1)
        The chunk enters; the window that was is computed on.
    top : Out(n_in)
        Chunk that entered last.
    move : In(1)
        The outputs load; at the latest with the second step after the window's last chunk.
    bits : Out(n_out)

    Attributes
    ----------
    window, next_bits : Signal
        The window, and what the outputs would load. For proofs.
    """

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self.window, self.next_bits = Signal(config.window), Signal(config.n_out)
        super().__init__(
            {
                "chunk": In(config.n_in),
                "step": In(1),
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
        seeds = Signal(n_in + config.window, reset_less=True)  # low end: what left the window last
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
        with m.If(self.step):
            m.d.sync += [seeds.eq(Cat(seeds[n_in:], self.chunk)), parities.eq(Cat(first))]
        with m.If(self.move):
            m.d.sync += outputs.eq(self.next_bits)
        return m

    def _partials(self, own: tuple[int, ...]) -> int:
        """XORs of four own bits that the first level makes so that one LUT is left if possible."""
        excess = len(own) + self._config.shared_taps - _LUT
        return max(0, min(len(own) // _LUT, -(-excess // (_LUT - 1))))
