# SPDX-License-Identifier: Apache-2.0
"""Counts the bits of one substream against what the steps need."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Budget"]


class Budget(wiring.Component):
    """Bits that entered minus bits of finished steps, compared with the current step's need.

    These counts decide the order of bus words; they follow what was accepted, not what the
    gearbox still holds. All outputs are registers: each comparison is made a cycle early, for
    both values of the inputs that come late (``enter``, ``load``).

    Parameters
    ----------
    word : int
        Size of a bus word, in the substream's units.
    need_max : int
        Largest need, in the same units.

    Members
    -------
    next_need : In
        Need of the step that follows.
    load : In(1)
        The step is finished: its need is spent, ``next_need`` becomes the need.
    enter : In(1)
        A bus word enters.
    clear : In(1)
        Between streams.
    need : Out
    lack : Out(1)
        The step cannot be made yet.
    short : Out(1)
        One more word is enough for it.
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
        """Build the counter."""
        m = Module()
        level = Signal(range(self._need_max + self._word + 1))
        reach = {}
        for name, limit in (("stay", self.need), ("load", self.need + self.next_need)):
            for words in range(3):
                reach[name, words] = Signal(name=f"{name}_reaches_{words}")
                m.d.comb += reach[name, words].eq(level + words * self._word >= limit)

        def chosen(words: int) -> Value:
            pair = {
                name: Mux(self.enter, reach[name, words + 1], reach[name, words])
                for name in ("stay", "load")
            }
            return Mux(self.load, pair["load"], pair["stay"])

        with m.If(self.clear):
            m.d.sync += [level.eq(0), self.need.eq(0), self.lack.eq(0)]
        with m.Else():
            lower = level - self.need
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
