# SPDX-License-Identifier: Apache-2.0
"""Sorts the bus words of a memory stream into gearboxes and issues beats to the lanes."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.config import BlockConfig
from xorloom.sw.layout import (
    COUNT_OFFSET_BITS,
    CRC_BYTES,
    HEADER_BYTES,
    padded,
    seed_bits_per_group,
)

from .control_parser import ControlParser
from .gearbox import Gearbox
from .signatures import beat_layout
from .skid_buffer import SkidBuffer

__all__ = ["StreamParser"]


class Phase(enum.Enum, shape=2):  # type: ignore[call-arg]
    """Where in the stream the next bus word stands."""

    HEADER = 0
    PAYLOAD = 1
    TRAILER = 2


class StreamParser(wiring.Component):
    """Memory stream to beats: header, control, seed and patch words of the block codec.

    One bus word or one beat a cycle, both in the same cycle where the word completes the beat.
    Streams chain back to back. The trailing CRC is skipped. Twin: ``sw.decoder.stream_parser``.

    A *step* is what the lanes do in one cycle: a group's seeds and first patches, or more patches
    of the same group. The step's needs decide where the next word goes (counted in bits that
    entered, not in cycles, so that no stall can change it); a step with all its words is handed
    as a *token* to the issue stage, which takes its bits from the gearboxes.

    Parameters
    ----------
    config : BlockConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams, from header to CRC.
    o : Out(stream.Signature(beat_layout(config)))
    """

    def __init__(self, config: BlockConfig) -> None:
        self._config = config
        super().__init__(
            {
                "i": In(stream.Signature(config.bus_bits)),
                "o": Out(stream.Signature(beat_layout(config))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the parser."""
        m = Module()
        config = self._config
        bus = config.bus_bits
        slots = config.lanes * config.patches_per_cycle
        m.submodules.control = control = ControlParser(config)
        seed_bits = seed_bits_per_group(config)
        m.submodules.seeds = seeds = Gearbox(
            bus_bits=bus, unit_bits=seed_bits, look_bits=seed_bits, enough_bits=seed_bits
        )
        m.submodules.patches = patches = Gearbox(
            bus_bits=bus,
            unit_bits=config.position_bits,
            look_bits=slots * config.position_bits,
            enough_bits=config.position_bits,
        )

        phase = Signal(Phase)
        payload = Signal()
        busy = Signal()
        done = Signal()
        step = Signal(self._step_layout(patches.grain), reset_less=True)
        rest = self._next_step(m, step, control, busy, done, patches.grain)

        # Bits that entered minus bits of finished steps: these counts decide the word order.
        seed_need = seed_bits // seeds.grain
        seed_word, patch_word = bus // seeds.grain, bus // patches.grain
        seed_level = Signal(range(seed_need + seed_word + 1))
        patch_level = Signal(range(patches.take_max + patch_word + 1))
        lack_seed, lack_patch, one_short = Signal(), Signal(), Signal()
        to_seed, to_patch = Signal(), Signal()
        into_seed, into_patch = Signal(), Signal()
        token_ready = Signal()
        m.d.comb += [
            payload.eq(phase == Phase.PAYLOAD),
            lack_seed.eq(step.first & (seed_level < seed_need)),
            lack_patch.eq(patch_level < step.need),
            one_short.eq(  # a single word completes the step
                Mux(
                    lack_seed,
                    (seed_level + seed_word >= seed_need) & ~lack_patch,
                    patch_level + patch_word >= step.need,
                )
            ),
            to_seed.eq(busy & control.ahead & lack_seed),
            to_patch.eq(busy & control.ahead & ~lack_seed & lack_patch),
            into_seed.eq(seeds.i.valid & seeds.i.ready),
            into_patch.eq(patches.i.valid & patches.i.ready),
            done.eq(
                busy
                & control.ahead
                & token_ready
                & ((~lack_seed & ~lack_patch) | (one_short & (into_seed | into_patch)))
            ),
            control.o.ready.eq(~busy | (done & step.last)),
        ]
        for box, chosen in ((control, control.hungry), (seeds, to_seed), (patches, to_patch)):
            m.d.comb += [
                box.i.payload.eq(self.i.payload),
                box.i.valid.eq(self.i.valid & payload & chosen),
            ]
        m.d.sync += [
            seed_level.eq(
                seed_level + Mux(into_seed, seed_word, 0) - Mux(done & step.first, seed_need, 0)
            ),
            patch_level.eq(patch_level + Mux(into_patch, patch_word, 0) - Mux(done, step.need, 0)),
        ]
        with m.If(control.o.ready | done):
            m.d.sync += step.eq(rest)
        with m.If(control.o.ready):
            m.d.sync += busy.eq(control.o.valid)

        token_valid = self._issue(m, step, done, token_ready, seeds, patches)
        self._stream_ends(m, phase, control, token_valid, done & step.last & step.final)
        with m.If(phase == Phase.HEADER):
            m.d.comb += [seeds.flush.eq(1), patches.flush.eq(1)]
            m.d.sync += [seed_level.eq(0), patch_level.eq(0)]
        m.d.comb += self.i.ready.eq(
            Mux(
                payload,
                (control.hungry & control.i.ready)
                | (to_seed & seeds.i.ready)
                | (to_patch & patches.i.ready),
                ~token_valid,
            )
        )
        return m

    def _step_layout(self, patch_grain: int) -> data.StructLayout:
        """What the lanes do in one cycle.

        ``enable[k * lanes + j]``: lane ``j`` takes its ``k``-th patch of this cycle, the one after
        ``rank`` others; ``need`` is all of them in units of the patch gearbox.
        """
        config = self._config
        slots = config.lanes * config.patches_per_cycle
        need_max = slots * config.position_bits // patch_grain
        return data.StructLayout(
            {
                "left": data.ArrayLayout(config.position_bits, config.lanes),
                "enable": slots,
                "rank": data.ArrayLayout(range(slots + 1), slots),
                "need": range(need_max + 1),
                "live": config.lanes,
                "first": 1,
                "last": 1,
                "final": 1,
            }
        )

    def _next_step(
        self,
        m: Module,
        step: data.View,
        control: ControlParser,
        busy: Signal,
        done: Signal,
        patch_grain: int,
    ) -> data.View:
        """Return the step after this one: more patches of the group, or a new group."""
        config = self._config
        lanes, per_cycle = config.lanes, config.patches_per_cycle
        rest = Signal(step.shape())
        fresh = Signal()
        m.d.comb += fresh.eq(~busy | step.last)
        for j in range(lanes):
            m.d.comb += rest.left[j].eq(
                Mux(
                    fresh,
                    control.o.p.n_patch[j],
                    Mux(step.left[j] > per_cycle, step.left[j] - per_cycle, 0),
                )
            )
        flags = [rest.left[j] > k for k in range(per_cycle) for j in range(lanes)]
        more = Cat(rest.left[j] > per_cycle for j in range(lanes)).any()
        count: Value = C(0, 1)
        for n, flag in enumerate(flags):
            m.d.comb += rest.rank[n].eq(count)
            count = count + flag
        m.d.comb += [
            rest.enable.eq(Cat(flags)),
            rest.need.eq(count * (config.position_bits // patch_grain)),
            rest.first.eq(fresh),
            rest.last.eq(~more),
            rest.live.eq(Mux(fresh, control.o.p.live, step.live)),
            rest.final.eq(Mux(fresh, control.o.p.final, step.final)),
        ]
        return rest

    def _issue(
        self,
        m: Module,
        step: data.View,
        done: Signal,
        token_ready: Signal,
        seeds: Gearbox,
        patches: Gearbox,
    ) -> Signal:
        """Take a finished step's bits from the gearboxes and offer them; return "one waits"."""
        config = self._config
        m.submodules.skid = skid = SkidBuffer(beat_layout(config))
        wiring.connect(m, skid.o, wiring.flipped(self.o))
        token = Signal(step.shape(), reset_less=True)
        token_valid = Signal()
        issue = Signal()
        beat = skid.i.p
        m.d.comb += [
            issue.eq(token_valid & skid.i.ready),
            token_ready.eq(~token_valid | skid.i.ready),
            seeds.take.eq(seeds.take_max),
            seeds.go.eq(issue & token.first),
            patches.take.eq(token.need),
            patches.go.eq(issue),
            skid.i.valid.eq(token_valid),
            beat.seeds.eq(Mux(token.first, seeds.o, 0)),
            beat.live.eq(token.live),
            beat.last.eq(token.last),
            beat.final.eq(token.final),
        ]
        for k in range(config.patches_per_cycle):
            for j in range(config.lanes):
                slot = k * config.lanes + j
                m.d.comb += [
                    beat.positions[j][k].eq(
                        patches.o.word_select(token.rank[slot], config.position_bits)
                    ),
                    beat.enable[j][k].eq(token.enable[slot]),
                ]
        with m.If(token_ready):
            m.d.sync += [token_valid.eq(done), token.eq(step)]
        return token_valid

    def _stream_ends(
        self,
        m: Module,
        phase: Signal,
        control: ControlParser,
        token_valid: Signal,
        finished: Value,
    ) -> None:
        """Header and CRC words: start a stream, and clean up after it."""
        config = self._config
        bus = config.bus_bits
        head = padded(HEADER_BYTES, config.bus_bytes) * 8 // bus
        tail = padded(CRC_BYTES, config.bus_bytes) * 8 // bus
        place = Signal(range(max(head, tail)))
        count_word = COUNT_OFFSET_BITS // bus
        count_bits = self.i.payload[COUNT_OFFSET_BITS % bus :][:32]
        count = Signal(32)
        kept = Signal(32, reset_less=True)
        enters = Signal()
        m.d.comb += [
            enters.eq(self.i.valid & ~token_valid),  # outside the payload, see i.ready
            count.eq(count_bits if head == 1 else kept),
            control.count.eq(count),
        ]
        with m.Switch(phase):
            with m.Case(Phase.HEADER), m.If(enters):
                m.d.sync += place.eq(place + 1)
                with m.If(place == count_word):
                    m.d.sync += kept.eq(count_bits)
                with m.If(place == head - 1):
                    m.d.comb += control.start.eq(1)
                    m.d.sync += place.eq(0)
                    m.d.sync += phase.eq(Mux(count == 0, Phase.TRAILER, Phase.PAYLOAD))
            with m.Case(Phase.PAYLOAD), m.If(finished):
                m.d.sync += phase.eq(Phase.TRAILER)
            with m.Case(Phase.TRAILER), m.If(enters):
                m.d.sync += place.eq(place + 1)
                with m.If(place == tail - 1):
                    m.d.sync += [phase.eq(Phase.HEADER), place.eq(0)]
