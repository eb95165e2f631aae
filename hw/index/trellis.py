# SPDX-License-Identifier: Apache-2.0
"""Core of the trellis index: seed bits in, mask bits out, one mask per cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for
from xorloom.sw.spec.index_config import TrellisConfig

__all__ = ["IndexTrellis"]


class IndexTrellis(wiring.Component):
    """Trellis core: feed-forward decoder of the trellis code.

    Pipeline: chunk register; parities, and beside them the seed bits that made them; look-ups of
    four parities each; mask bits, which are look-ups ANDed with a gate. A parity, a look-up and a
    gate cost one LUT4 each. One mask per cycle. The pipeline runs free: no register but those of
    the seed bits has an enable, every chunk that is offered enters, and its mask is put out
    :py:`self.latency` cycles later. So a :class:`xorloom.hw.lib.flow_queue.FlowQueue` has to
    follow, and chunks must come only while that has room.

    With four classes a gate is two LUT4, and chunks with the classes
    of the lanes precede the masks of every period. These chunks take the place of a mask up to the
    parities. Two cycles after they leave the chunk register they shift into the chain of class
    bits, just behind the mask before them and in time for the one after them. So each of them costs
    one cycle, and nothing waits. Twin: ``sw.golden.index.trellis.trellis_mask``.

    Parameters
    ----------
    config : TrellisConfig

    Members
    -------
    i : In(stream.Signature(n_in))
        Chunks of seed bits. ``i.valid`` alone is a transfer; ``i.ready`` is ``o.ready``.
    o : Out(stream.Signature(n_out))
        Masks; lane 0 is bit 0. ``o.valid`` alone is a transfer.
    clear : In(1)
        The next chunk is the first of a stream. Only while nothing is in flight.
    """

    def __init__(self, config: TrellisConfig) -> None:
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(config.n_in)),
                "o": Out(stream.Signature(config.n_out)),
                "clear": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from the transfer of a chunk until its mask is put out."""
        return 4

    @property
    def slack(self) -> int:
        """Masks that may be put out after ``o.ready`` fell, if no chunk came."""
        return self.latency

    @property
    def chunk_bits(self) -> int:
        """Bits of a chunk."""
        return self._config.n_in

    def elaborate(self, _platform: object) -> Module:
        """Build pipeline, parities, look-ups and gates."""
        m = Module()
        config, code = self._config, self._config.code
        n_in = config.n_in
        newest = Signal(n_in, reset_less=True)
        # Which stages hold a mask, from the parities on.
        flight = Signal(self.latency - 1)
        clears = Signal(init=1)
        # Enables of the two halves of the seed bits. Synthesis cannot merge them: ``clear`` resets
        # one, at times when it is clear already.
        steps = [Signal(name=f"step_{k}") for k in range(2)]
        enters = Signal()
        is_class = self._kind(m, enters) if config.classes > 1 else Signal()
        m.d.comb += [
            enters.eq(self.i.valid),
            self.i.ready.eq(self.o.ready),
            self.o.valid.eq(flight[-1]),
        ]
        m.d.sync += [
            clears.eq(self.clear),
            newest.eq(self.i.payload),
            flight.eq(Cat(steps[0], flight)),
            steps[0].eq(enters & ~is_class),
            steps[1].eq(enters & ~is_class & ~self.clear),
        ]
        seeds = Signal(config.window - 1 + n_in, reset_less=True)
        half = len(seeds) // 2
        for step, part in zip(steps, (slice(half), slice(half, None)), strict=True):
            with m.If(clears):
                m.d.sync += seeds[part].eq(0)
            with m.Elif(step):
                m.d.sync += seeds[part].eq(Cat(seeds, newest)[n_in:][part])
        found = self._look_up(m, Cat(seeds[n_in:], newest))
        late = self._delayed(m, seeds, "late")
        if config.classes == 1:
            gated = [
                bit & Cat(late[u + t] for t in taps).xor()
                for bit, u, taps in zip(found, code.steps, code.gates, strict=True)
            ]
        else:
            gated = self._classes(m, enters & is_class, newest, late, found)
        m.d.comb += self.o.payload.eq(self._delayed(m, Cat(gated), "mask"))
        return m

    def _delayed(self, m: Module, bits: Value, name: str) -> Signal:
        """Return bits one cycle later."""
        q = Signal(len(bits), reset_less=True, name=name)
        m.d.sync += q.eq(bits)
        return q

    def _look_up(self, m: Module, window: Value) -> Signal:
        """Build the registered parities; return what each lane looks up in them, registered."""
        code = self._config.code
        # Lanes share parities: one register for each distinct set of bits.
        places: dict[frozenset[int], int] = {}
        for u, hand in zip(code.steps, code.picks, strict=True):
            for pick in hand:
                bits = frozenset(u + t for t in code.parities[u][pick])
                places.setdefault(bits, len(places))
        sums = [Cat(window[t] for t in sorted(bits)).xor() for bits in places]
        parities = self._delayed(m, Cat(sums), "parities")
        found = []
        for u, hand, table in zip(code.steps, code.picks, code.tables, strict=True):
            taps = [frozenset(u + t for t in code.parities[u][pick]) for pick in hand]
            picks = Cat(parities[places[bits]] for bits in taps)
            # A sum of minterms; from a table, Yosys would make a flip-flop with its own reset.
            found.append(Cat(picks == w for w in range(16) if table >> w & 1).any())
        return self._delayed(m, Cat(found), "found")

    def _kind(self, m: Module, enters: Signal) -> Signal:
        """Count chunks; return whether the next one holds classes."""
        config = self._config
        # Chunks of this kind that follow, minus one: negative in the last one.
        most = max(config.class_chunks, config.period)
        kind = Signal(init=1)
        left = Signal(signed(bits_for(most) + 1), init=config.class_chunks - 2)
        turn = Mux(kind, config.period - 2, config.class_chunks - 2)
        with m.If(self.clear):
            m.d.sync += [kind.eq(1), left.eq(left.init)]
        with m.Elif(enters):
            m.d.sync += [kind.eq(kind ^ left[-1]), left.eq(Mux(left[-1], turn, left - 1))]
        return kind

    def _classes(
        self, m: Module, enters: Value, newest: Signal, late: Signal, found: Signal
    ) -> list[Value]:
        """Build the classes, one chunk of which may enter; return the gated look-ups."""
        config = self._config
        # Enables of the halves of the chain, unlike each other as those of the seed bits.
        here, came = (Signal(name=n) for n in ("here", "came"))
        m.d.sync += [here.eq(enters), came.eq(here)]
        chain = Signal(config.class_chunks * config.n_in, reset_less=True)
        chunk = self._delayed(m, self._delayed(m, newest, "before"), "chunk")
        half = len(chain) // 2
        for k, part in enumerate((slice(half), slice(half, None))):
            shift = Signal(name=f"shift_{k}")
            m.d.sync += shift.eq(came & ~self.clear if k else came)
            with m.If(shift):
                m.d.sync += chain[part].eq(Cat(chain, chunk)[config.n_in :][part])
        gated = []
        for j, (u, (a, b, c, d)) in enumerate(
            zip(config.code.steps, config.code.gates, strict=True)
        ):
            first = found[j] & (late[u + a] ^ late[u + b] | ~chain[2 * j])
            gated.append(first & (late[u + c] & late[u + d] | ~chain[2 * j + 1]))
        return gated
