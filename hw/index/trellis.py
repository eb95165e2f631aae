# SPDX-License-Identifier: Apache-2.0
"""The trellis code of the index: seed bits in, mask bits out, one beat a cycle."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for
from xorloom.hw.lib.slice_pipe import SlicePipe
from xorloom.sw.spec.index_config import TrellisConfig

__all__ = ["IndexTrellis"]

_PARTS = 3
"""Parts of the lanes, whose registers have enables of their own."""


class IndexTrellis(wiring.Component):
    """Feed-forward decoder of the trellis code: one LUT4 a parity, a look-up, a gate.

    Pipeline: chunk; parities, beside them the seed bits that made them; mask bits, each a look-up
    and a gate. With four classes, the look-ups have registers of their own, a gate is two LUT4,
    and chunks with the lanes' classes come before every period's beats. They take the place of a
    beat as far as the parities. A cycle after they leave it they shift into the chain of class
    bits: then the beat before them has been gated, and the one behind them has not. So they cost
    a cycle each and nothing waits. Twin: ``sw.golden.trellis.trellis_mask``.

    Parameters
    ----------
    config : TrellisConfig

    Members
    -------
    i : In(stream.Signature(n_in))
        Chunks of the payload.
    o : Out(stream.Signature(n_out))
        Masks, lane 0 in bit 0.
    clear : In(1)
        The next chunk is a stream's first; only while nothing is in flight.
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
        """Cycles from a chunk's transfer to its mask's being offered."""
        return 1 + self._pipe.latency

    @property
    def chunk_bits(self) -> int:
        """Bits of a chunk."""
        return self._config.n_in

    def elaborate(self, _platform: object) -> Module:
        """Build pipeline, parities, look-ups and gates."""
        m = Module()
        config, code = self._config, self._config.code
        n_in, past = config.n_in, config.window - 1
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
        chunk = Signal(n_in, reset_less=True)
        seeds = Signal(past + n_in)
        window = Cat(seeds[n_in:], chunk)
        with m.If(pipe.data_take[_PARTS]):
            m.d.sync += chunk.eq(self.i.payload)
        # One half goes by the flags of the chunk register: with one set for all, it limits Fmax.
        half = len(seeds) // 2
        for k, part in enumerate((slice(half), slice(half, None))):
            with m.If(self.clear):
                m.d.sync += seeds[part].eq(0)
            with m.Elif(pipe.data_step[_PARTS + k] & ~is_class):
                m.d.sync += seeds[part].eq(window[part])
        found = self._look_up(m, window)
        if config.classes == 1:
            gated = [
                bit & Cat(seeds[u + t] for t in taps).xor()
                for bit, u, taps in zip(found, code.steps, code.gates, strict=True)
            ]
        else:
            gated = self._classes(m, chunk, is_class, seeds, found)
        m.d.comb += self.o.payload.eq(self._registers(m, Cat(gated), pipe.data_move, "mask"))
        return m

    def _registers(self, m: Module, bits: Value, enables: Value, name: str) -> Signal:
        """Registers for bits in the order of lanes; each part has its enable."""
        q = Signal(len(bits), reset_less=True, name=name)
        edges = [k * len(bits) // _PARTS for k in range(_PARTS + 1)]
        for k, (start, stop) in enumerate(pairwise(edges)):
            with m.If(enables[k]):
                m.d.sync += q[start:stop].eq(bits[start:stop])
        return q

    def _look_up(self, m: Module, window: Value) -> list[Value]:
        """Parities, registered, and what the lanes look up."""
        code = self._config.code
        # Steps know each other's parities: one register for what is the XOR of the same bits.
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
            # A sum of minterms: of a table, Yosys makes a flip-flop with a reset of its own.
            found.append(Cat(picks == w for w in range(16) if table >> w & 1).any())
        return found

    def _classes(
        self, m: Module, chunk: Signal, is_class: Signal, seeds: Signal, found: list[Value]
    ) -> list[Value]:
        """Tell chunks with classes from the others, gather them, gate by them."""
        config, pipe = self._config, self._pipe
        # Chunks of this kind after the current one, less one: negative in the last one.
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
        held = Signal.like(chunk)
        with m.If(pipe.data_free[_PARTS]):
            m.d.sync += held.eq(chunk)
        held_is_class, shift = Signal(reset_less=True), Signal()
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
