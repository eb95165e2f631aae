# SPDX-License-Identifier: Apache-2.0
"""Core of the hashed index: one seed in, pseudo-random masks out, one per cycle."""

from itertools import pairwise

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.slice_pipe import SlicePipe
from xorloom.sw.spec.hashed import NIBBLE_LANES, SEED_BITS, STATE_BITS, WARM_UP, HashedConfig

__all__ = ["IndexHashed"]

_PARTS = 3
"""Parts of the lanes; the registers of each part have an enable of their own."""
_WORD = 64


def _below(bits: Value, threshold: int, lower: Value | int) -> Value:
    """Whether bits are below a threshold, or equal to it and the lower ones are below theirs.

    A sum of minterms: from a comparison, Yosys would make a carry chain.
    """
    less = Cat(bits == w for w in range(threshold)).any() if threshold else Const(0)
    return less | ((bits == threshold) & lower)


class IndexHashed(wiring.Component):
    """Hashed core: a linear generator, and for each lane a comparison of its hash.

    Pipeline: state; comparisons of the low nibbles; of hash bits 5 and 4; of bits 7 and 6. Each
    comparison is one LUT4, the last two of every lane, that of a nibble of four lanes; a state bit
    is one LUT4 as well. The first bus word loads the seed, others are swallowed. Latency
    :py:`self.latency` cycles, and ``WARM_UP`` steps more before the first mask; one mask per
    cycle, full back-pressure. Masks come without end, until :py:`clear`. Twin:
    ``sw.golden.index.hashed.hashed_decoder``. Source of the generator: Blackman and Vigna, 2021
    (linear engine of xoshiro256).

    Parameters
    ----------
    config : HashedConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Bus words; the lowest bits of the first one are the seed.
    o : Out(stream.Signature(n_out))
        Masks; lane 0 is bit 0.
    clear : In(1)
        The next word is the first of a stream. Drops what is in flight.
    """

    def __init__(self, config: HashedConfig) -> None:
        self._config = config
        self._pipe = SlicePipe(stages=2, parts=_PARTS + 2)
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(config.n_out)),
                "clear": In(1),
            }
        )

    @property
    def latency(self) -> int:
        """Cycles from a step of the state until the mask of the state before is offered."""
        return self._pipe.latency

    @property
    def chunk_bits(self) -> None:
        """No chunks: the core takes bus words."""
        return None

    def elaborate(self, _platform: object) -> Module:
        """Build generator, comparisons and their pipeline."""
        m = Module()
        config, pipe = self._config, self._pipe
        m.submodules.pipe = ResetInserter({"sync": self.clear})(pipe)
        begun = Signal()
        warming = Signal()
        left = Signal(range(WARM_UP), init=WARM_UP - 1)
        load = Signal()
        m.d.comb += [
            load.eq(self.i.valid & ~begun),
            self.i.ready.eq(1),
            pipe.available_next.eq(begun & ~warming),
            pipe.token.eq(1),
            pipe.emit.eq(1),
            pipe.ready.eq(self.o.ready),
            self.o.valid.eq(pipe.valid),
        ]
        m.d.sync += [
            begun.eq((begun | self.i.valid) & ~self.clear),
            warming.eq((load | (warming & (left != 0))) & ~self.clear),
            left.eq(Mux(warming & ~self.clear, left - 1, left.init)),
        ]
        state = self._generator(m, load, warming)
        network, threshold = config.network, config.threshold
        high, middle, low = threshold >> 6, threshold >> 4 & 3, threshold & 15
        first = self._delayed(m, state, pipe.data_free[_PARTS], "first")
        second = self._delayed(m, first, pipe.data_move[_PARTS], "second")
        below = Signal(len(network.nibbles), reset_less=True)
        with m.If(pipe.data_free[_PARTS + 1]):
            m.d.sync += below.eq(
                Cat(_below(Cat(state[p] for p in hand), low, 0) for hand in network.nibbles)
            )
        found = [
            _below(
                Cat(first[d] ^ first[f], first[d] ^ first[e]), middle, below[lane // NIBBLE_LANES]
            )
            for lane, (_, _, _, d, e, f) in enumerate(network.lanes)
        ]
        found = self._registers(m, Cat(found), "found")
        mask = [
            _below(Cat(second[a] ^ second[c], second[a] ^ second[b]), high, found[lane])
            for lane, (a, b, c, _, _, _) in enumerate(network.lanes)
        ]
        m.d.comb += self.o.payload.eq(self._registers(m, Cat(mask), "mask"))
        return m

    def _delayed(self, m: Module, bits: Signal, enable: Value, name: str) -> Signal:
        """Return the state one stage later."""
        q = Signal(STATE_BITS, reset_less=True, name=name)
        with m.If(enable):
            m.d.sync += q.eq(bits)
        return q

    def _registers(self, m: Module, bits: Value, name: str) -> Signal:
        """Return registers for bits in the order of the lanes; each part has an enable."""
        q = Signal(len(bits), reset_less=True, name=name)
        edges = [k * len(bits) // _PARTS for k in range(_PARTS + 1)]
        for k, (start, stop) in enumerate(pairwise(edges)):
            with m.If(self._pipe.data_move[k]):
                m.d.sync += q[start:stop].eq(bits[start:stop])
        return q

    def _generator(self, m: Module, load: Value, warming: Value) -> Signal:
        """Build the state: it steps while it warms up, and with the pipeline."""
        state = Signal(STATE_BITS, init=self._config.network.start)
        s0, s1, s2, s3 = (state[_WORD * k :][:_WORD] for k in range(4))
        n2, n3 = s2 ^ s0, s3 ^ s1
        following = Cat(s0 ^ n3, s1 ^ n2, (n2 ^ (s1 << 17))[:_WORD], n3.rotate_left(45))
        seeded = state[:SEED_BITS] ^ self.i.payload[:SEED_BITS]
        # Each word has an enable of its own: with one for all, its fan-out limits Fmax.
        edges = (0, SEED_BITS, *(_WORD * (k + 1) for k in range(4)))
        for k, (start, stop) in enumerate(pairwise(edges)):
            with m.If(self.clear):
                m.d.sync += state[start:stop].eq(state.init >> start)
            if k == 0:
                with m.Elif(load):
                    m.d.sync += state[:stop].eq(seeded)
            with m.Elif(warming | self._pipe.data_step[k]):
                m.d.sync += state[start:stop].eq(following[start:stop])
        return state
