# SPDX-License-Identifier: Apache-2.0
"""Budget: counts the bits of one substream against what the steps need."""

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Budget"]


class Budget(wiring.Component):
    """Budget: bits that entered minus bits of finished steps, compared with the need of this step.

    These counts decide the order of bus words, so they follow what was accepted, not what the
    gearbox still holds. All outputs are registers; latency one cycle. Each comparison is made one
    cycle early, for both values of the inputs that arrive late in the cycle (``enter``, ``load``).
    Twin: ``sw.golden.block.block_parser`` (its counts).

    Parameters
    ----------
    word : int
        Size of a bus word, in units of the substream.
    need_max : int
        Largest need, in the same units.

    Members
    -------
    next_need : In
        Need of the next step.
    load : In(1)
        The step is finished: subtract its need, and make ``next_need`` the need.
    enter : In(1)
        A bus word enters.
    clear : In(1)
        Set all to 0, between streams.
    need : Out
        Need of the current step.
    lack : Out(1)
        The step lacks bits.
    short : Out(1)
        With one more word the step has all its bits.
    """

    def __init__(self, *, word: int, need_max: int) -> None:
        self._word, self._need_max = word, need_max
        super().__init__(
            {
                "next_need": In(range(need_max + 1)),
                "load": In(1),
                "enter": In(1),
                "clear": In(1),
                "need": Out(range(need_max + 1)),
                "lack": Out(1),
                "short": Out(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the counter and the comparisons."""
        m = Module()
        level = Signal(range(self._need_max + self._word + 1))
        reach = {}
        # Negative while a word that enters completes the step.
        lower = Signal(signed(max(len(level), len(self.need)) + 1))
        m.d.comb += lower.eq(level - self.need)
        pairs = {"stay": (level, self.need), "load": (lower, self.next_need)}
        for name, (have, limit) in pairs.items():
            for words in range(3):
                reach[name, words] = Signal(name=f"{name}_reaches_{words}")
                m.d.comb += reach[name, words].eq(have + words * self._word >= limit)

        def chosen(words: int) -> Value:
            pair = {
                name: Mux(self.enter, reach[name, words + 1], reach[name, words])
                for name in ("stay", "load")
            }
            return Mux(self.load, pair["load"], pair["stay"])

        with m.If(self.clear):
            m.d.sync += [level.eq(0), self.need.eq(0), self.lack.eq(0)]
        with m.Else():
            m.d.sync += [
                level.eq(
                    Mux(
                        self.load,
                        Mux(self.enter, lower + self._word, lower),
                        Mux(self.enter, level + self._word, level),
                    )
                ),
                self.lack.eq(~chosen(0)),
                self.short.eq(chosen(1)),
            ]
            with m.If(self.load):
                m.d.sync += self.need.eq(self.next_need)
        return m
