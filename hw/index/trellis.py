# SPDX-License-Identifier: Apache-2.0
"""Core of the trellis index: seed bits in, mask bits out, one mask per cycle."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for
from xorloom.hw.lib.seed_window import SeedWindow
from xorloom.hw.lib.slice_pipe import SlicePipe
from xorloom.sw.spec.index_config import TrellisConfig

__all__ = ["IndexTrellis"]

_PARTS = 3
"""Parts of the lanes; the registers of each part have an enable of their own."""


class IndexTrellis(wiring.Component):
    """Trellis core: feed-forward decoder of the trellis code.

    Pipeline: chunk register; parities, and beside them the seed bits that made them; mask bits,
    each a look-up of four parities, ANDed with a gate. A parity, a look-up and a gate cost one
    LUT4 each. Latency :py:`self.latency` cycles, one mask per cycle, full back-pressure.

    With four classes the look-ups have registers of their own, a gate is two LUT4, and chunks with
    the classes of the lanes precede the masks of every period. These chunks take the place of a
    mask up to the parities. One cycle after they leave it they shift into the chain of class bits;
    at that time the mask before them has been gated, and the one behind them has not. So each of
    them costs one cycle, and nothing waits. Twin: ``sw.golden.index.trellis.trellis_mask``.

    Parameters
    ----------
    config : TrellisConfig

    Members
    -------
    i : In(stream.Signature(n_in))
        Chunks of seed bits.
    o : Out(stream.Signature(n_out))
        Masks; lane 0 is bit 0.
    clear : In(1)
        The next chunk is the first of a stream. Only while nothing is in flight.
    """

    def __init__(self, config: TrellisConfig) -> None:
        self._config = config
        self._pipe = SlicePipe(stages=1 if config.classes == 1 else 2, parts=_PARTS + 2)
        super().__init__(
            {
                "i": In(stream.Signature(config.n_in)),
                "o": Out(stream.Signature(config.n_out)),
                "clear": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of a chunk until its mask is offered."""
        return 1 + self._pipe.latency

    @property
    def chunk_bits(self) -> int:
        """Bits of a chunk."""
        return self._config.n_in

    def elaborate(self, _platform: object) -> Module:
        """Build pipeline, parities, look-ups and gates."""
        m = Module()
        config, code = self._config, self._config.code
        m.submodules.pipe = pipe = self._pipe
        is_class = Signal()
        m.d.comb += [
            self.i.ready.eq(~pipe.available | pipe.step),
            pipe.available_next.eq(self.i.valid | ~self.i.ready),
            pipe.flush.eq(self.clear),
            pipe.token.eq(1),
            pipe.emit.eq(~is_class),
            pipe.ready.eq(self.o.ready),
            self.o.valid.eq(pipe.valid),
        ]
        m.submodules.window = window = SeedWindow(
            n_in=config.n_in, past=config.window - 1, late=True
        )
        seeds, step = window.late, Cat(pipe.data_step[_PARTS : _PARTS + 2])
        m.d.comb += [
            window.chunk.eq(self.i.payload),
            window.take.eq(pipe.data_take[_PARTS]),
            window.step.eq(Mux(is_class, 0, step)),
            window.clear.eq(self.clear),
        ]
        found = self._look_up(m, window.o)
        if config.classes == 1:
            gated = [
                bit & Cat(seeds[u + t] for t in taps).xor()
                for bit, u, taps in zip(found, code.steps, code.gates, strict=True)
            ]
        else:
            gated = self._classes(m, window.o[-config.n_in :], is_class, seeds, found)
        m.d.comb += self.o.payload.eq(self._registers(m, Cat(gated), pipe.data_move, "mask"))
        return m

    def _registers(self, m: Module, bits: Value, enables: Value, name: str) -> Signal:
        """Return registers for bits in the order of the lanes; each part has an enable."""
        q = Signal(len(bits), reset_less=True, name=name)
        edges = [k * len(bits) // _PARTS for k in range(_PARTS + 1)]
        for k, (start, stop) in enumerate(pairwise(edges)):
            with m.If(enables[k]):
                m.d.sync += q[start:stop].eq(bits[start:stop])
        return q

    def _look_up(self, m: Module, window: Value) -> list[Value]:
        """Build the registered parities; return what each lane looks up in them."""
        code = self._config.code
        # Lanes share parities: one register for each distinct set of bits.
        places: dict[frozenset[int], int] = {}
        for u, hand in zip(code.steps, code.picks, strict=True):
            for pick in hand:
                bits = frozenset(u + t for t in code.parities[u][pick])
                places.setdefault(bits, len(places))
        sums = [Cat(window[t] for t in sorted(bits)).xor() for bits in places]
        parities = self._registers(m, Cat(sums), self._pipe.data_free, "parities")
        found = []
        for u, hand, table in zip(code.steps, code.picks, code.tables, strict=True):
            taps = [frozenset(u + t for t in code.parities[u][pick]) for pick in hand]
            picks = Cat(parities[places[bits]] for bits in taps)
            # A sum of minterms; from a table, Yosys would make a flip-flop with its own reset.
            found.append(Cat(picks == w for w in range(16) if table >> w & 1).any())
        return found

    def _classes(
        self, m: Module, chunk: Value, is_class: Signal, seeds: Value, found: list[Value]
    ) -> list[Value]:
        """Build the classes: find their chunks, collect them; return the gated look-ups."""
        config, pipe = self._config, self._pipe
        # Chunks of this kind that follow, minus one: negative in the last one.
        most = max(config.class_chunks, config.period)
        kind = Signal(init=1)
        left = Signal(signed(bits_for(most) + 1), init=config.class_chunks - 2)
        turn = Mux(kind, config.period - 1, config.class_chunks - 1)
        m.d.comb += is_class.eq(kind)
        with m.If(self.clear):
            m.d.sync += [kind.eq(1), left.eq(left.init)]
        with m.Elif(pipe.step):
            m.d.sync += [kind.eq(kind ^ left[-1]), left.eq(left + Mux(left[-1], turn, -1))]
        chain = Signal(config.class_chunks * config.n_in, reset_less=True)
        held = Signal(config.n_in)
        with m.If(pipe.data_free[_PARTS]):
            m.d.sync += held.eq(chunk)
        held_is_class = Signal(reset_less=True)
        shift = Signal()
        before = Signal.like(held)
        with m.If(pipe.step):
            m.d.sync += held_is_class.eq(kind)
        m.d.sync += [before.eq(held), shift.eq(pipe.full & held_is_class & pipe.move)]
        with m.If(shift):
            m.d.sync += chain.eq(Cat(chain[config.n_in :], before))
        bits = self._registers(m, Cat(found), pipe.data_move, "found")
        late = self._registers(m, seeds, pipe.data_move, "late")
        gated = []
        for j, (u, (a, b, c, d)) in enumerate(
            zip(config.code.steps, config.code.gates, strict=True)
        ):
            half = bits[j] & (late[u + a] ^ late[u + b] | ~chain[2 * j])
            gated.append(half & (late[u + c] & late[u + d] | ~chain[2 * j + 1]))
        return gated
