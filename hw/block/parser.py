# SPDX-License-Identifier: Apache-2.0
"""Parser of the block codec: sorts bus words into gearboxes, issues beats to the lanes."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.gearbox import Gearbox
from xorloom.hw.lib.payloads import beat_layout
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.layout import (
    COUNT_OFFSET_BITS,
    CRC_BYTES,
    HEADER_BYTES,
    padded,
    seed_bits_per_group,
)

from .budget import Budget
from .control import BlockControl, plan_round, step_layout
from .skid_buffer import SkidBuffer
from .word_queue import WordQueue

__all__ = ["BlockParser"]


class Phase(enum.Enum, shape=2):  # type: ignore[call-arg]
    """Part of the stream that the next bus word belongs to.

    ========  ===========================  ==================  ==================================
    phase     accepted                     offered             next phase
    ========  ===========================  ==================  ==================================
    HEADER    header words, once all       what waits in the   after the last one: PAYLOAD, or
              tokens are issued            skid buffer         TRAILER if the count is 0
    PAYLOAD   control words first, then    one beat for each   TRAILER with the last step of the
              seed words, then patch       step with all its   last group
              words, as the step lacks     bits
    TRAILER   CRC words, once all tokens   what waits in the   HEADER after the last one
              are issued                   skid buffer
    ========  ===========================  ==================  ==================================
    """

    HEADER = 0
    PAYLOAD = 1
    TRAILER = 2


class BlockParser(wiring.Component):
    """Block parser: memory streams in, beats for the lanes out.

    Accepts one bus word and issues one beat per cycle. A beat is offered three cycles after the
    word that completes it. Streams follow each other without a gap; the CRC is skipped. Full
    back-pressure. Twin: ``sw.golden.block.block_parser``.

    A *step* is what the lanes do in one cycle: the seeds and first patches of a group, or more
    patches of the same group. What the step still lacks decides where the next words go; that is
    counted in bits that entered, not in cycles, so no stall can change it. Words wait in a queue
    while steps need none, so a step may take a seed word, a patch word and the control word after
    them in one cycle. It takes as many cycles as it needs words of one kind, at least one. A step
    with all its bits goes as a *token* to the issue stage, which takes the bits from the gearboxes.

    Parameters
    ----------
    config : BlockConfig

    Members
    -------
    i : In(stream.Signature(bus_bits))
        Memory streams from header to CRC; see ``FORMAT.md``.
    o : Out(stream.Signature(beat_layout(config)))
        Beats, the same for all lanes.
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
        """Build control, gearboxes, budgets and the issue stage."""
        m = Module()
        config = self._config
        bus = config.bus_bits
        slots = config.lanes * config.patches_per_cycle
        m.submodules.words = words = WordQueue(bus_bits=bus)
        wiring.connect(m, wiring.flipped(self.i), words.i)
        m.submodules.control = control = BlockControl(config)
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
        busy = Signal()
        first = Signal()
        step = Signal(step_layout(config))
        fresh = Signal(init=1)  # the next step opens a group
        rest = self._next_step(m, step, fresh, control)

        m.submodules.seed_budget = seed_budget = Budget(
            word=bus // seeds.grain, need_max=seeds.take_max
        )
        m.submodules.patch_budget = patch_budget = Budget(
            word=bus // patches.grain, need_max=patches.take_max
        )
        budgets = (seed_budget, patch_budget)
        done = Signal()
        load = Signal()
        takes = [Signal(name=f"takes_{kind}") for kind in ("seed", "patch", "control")]
        token_ready = Signal()
        ending = Signal()
        more = Signal()  # there is a next step
        per_patch = config.position_bits // patches.grain
        takes_seed, takes_patch, takes_control = takes
        leaves = control.o.valid & control.o.ready
        # The place of a word is known early: a control word that may enter is the oldest one, or it
        # comes after all that the step lacks. Without a step nothing is lacking. What arrives late
        # is `ahead`, so few terms depend on it.
        may_seed = seeds.i.ready & words.has[0]
        may_patch = patches.i.ready & Mux(
            seed_budget.lack, seed_budget.short & seeds.i.ready & words.has[1], words.has[0]
        )
        seeded = ~seed_budget.lack | (seed_budget.short & may_seed)
        m.d.comb += [
            takes_seed.eq(control.ahead & seed_budget.lack & may_seed),
            takes_patch.eq(control.ahead & patch_budget.lack & may_patch),
            takes_control.eq(
                control.i.ready
                & (control.hungry | (control.follows & leaves))
                & Array(words.has)[words.at[2]]
            ),
            words.at[0].eq(0),
            words.at[1].eq(seed_budget.lack),
            words.at[2].eq(Mux(control.hungry, 0, seed_budget.lack + patch_budget.lack)),
            words.take[0].eq(takes_seed),
            words.take[1].eq(takes_patch),
            words.take[2].eq(takes_control | ending),
            seed_budget.enter.eq(takes_seed),
            patch_budget.enter.eq(takes_patch),
            done.eq(
                control.ahead
                & busy
                & token_ready
                & seeded
                & (~patch_budget.lack | (patch_budget.short & may_patch))
            ),
            load.eq(~busy | done),
            control.o.ready.eq(load & fresh),
            more.eq(control.o.valid | ~fresh),
            seed_budget.next_need.eq(Mux(more & fresh, seeds.take_max, 0)),
            patch_budget.next_need.eq(
                Mux(fresh, Mux(control.o.valid, control.o.p.count, 0), step.next_count) * per_patch
            ),
        ]
        for budget in budgets:
            m.d.comb += [budget.load.eq(load), budget.clear.eq(phase == Phase.HEADER)]
        sinks = (seeds.i, patches.i, control.i)
        for sink, chosen, word in zip(sinks, takes, words.o, strict=True):
            m.d.comb += [sink.payload.eq(word), sink.valid.eq(chosen)]
        with m.If(load):
            m.d.sync += [
                busy.eq(more),
                first.eq(fresh),
                fresh.eq(~more | rest.last),
            ]
        with m.If(load & more):
            m.d.sync += step.eq(rest)

        need = patch_budget.need
        token_valid = self._issue(m, step, first, need, done, token_ready, seeds, patches)
        m.d.comb += ending.eq((phase != Phase.PAYLOAD) & words.has[0] & ~token_valid)
        self._stream_ends(m, phase, control, ending, words.o[0], done & step.last & step.final)
        with m.If(phase == Phase.HEADER):
            m.d.comb += [seeds.flush.eq(1), patches.flush.eq(1)]
        return m

    def _next_step(
        self, m: Module, step: data.View, fresh: Signal, control: BlockControl
    ) -> data.View:
        """Return the step after this one: of the same group, or the first of the next group."""
        config = self._config
        per_cycle = config.patches_per_cycle
        again = Signal(step.shape())
        rest = Signal(step.shape())
        m.d.comb += [
            again.eq(step),
            rest.eq(Mux(fresh, control.o.payload.as_value(), again.as_value())),
        ]
        plan = plan_round(config, step.left, per_cycle)
        m.d.comb += [again[key].eq(value) for key, value in plan.items()]
        m.d.comb += [
            again.left[j].eq(Mux(step.left[j] > per_cycle, step.left[j] - per_cycle, 0))
            for j in range(config.lanes)
        ]
        return rest

    def _issue(
        self,
        m: Module,
        step: data.View,
        first: Signal,
        need: Signal,
        done: Signal,
        token_ready: Signal,
        seeds: Gearbox,
        patches: Gearbox,
    ) -> Signal:
        """Build the issue stage: a token to a beat; return a flag: a token waits."""
        config = self._config
        m.submodules.skid = skid = SkidBuffer(beat_layout(config))
        wiring.connect(m, skid.o, wiring.flipped(self.o))
        token = Signal(step.shape(), reset_less=True)
        token_first = Signal(reset_less=True)
        token_need = Signal.like(need, reset_less=True)
        token_valid = Signal()
        issue = Signal()
        beat = skid.i.p
        m.d.comb += [
            issue.eq(token_valid & skid.i.ready),
            token_ready.eq(~token_valid | skid.i.ready),
            seeds.take.eq(seeds.take_max),
            seeds.go.eq(issue & token_first),
            patches.take.eq(token_need),
            patches.go.eq(issue),
            skid.i.valid.eq(token_valid),
            beat.seeds.eq(Mux(token_first, seeds.o, 0)),
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
            m.d.sync += [
                token_valid.eq(done),
                token.eq(step),
                token_first.eq(first),
                token_need.eq(need),
            ]
        return token_valid

    def _stream_ends(
        self,
        m: Module,
        phase: Signal,
        control: BlockControl,
        enters: Signal,
        word: Signal,
        finished: Value,
    ) -> None:
        """Build the phases; in header and CRC, ``word`` leaves the queue when ``enters``."""
        config = self._config
        bus = config.bus_bits
        head = padded(HEADER_BYTES, config.bus_bytes) * 8 // bus
        tail = padded(CRC_BYTES, config.bus_bytes) * 8 // bus
        place = Signal(range(max(head, tail, 2)))
        count_word = COUNT_OFFSET_BITS // bus
        count_bits = word[COUNT_OFFSET_BITS % bus :][:32]
        count = Signal(32)
        kept = Signal(32, reset_less=True)
        m.d.comb += [
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
