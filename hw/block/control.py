# SPDX-License-Identifier: Apache-2.0
"""Control of the block codec: reads the n_patch counts of one group after the other."""

from amaranth.hdl import C, Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.gearbox import Gearbox
from xorloom.sw.spec.config import BlockConfig
from xorloom.sw.spec.layout import CONTROL_AHEAD, WIDTH_FIELD_BITS, control_threshold_bits

__all__ = ["BlockControl", "plan_round", "step_layout"]


def step_layout(config: BlockConfig) -> data.StructLayout:
    """One step: what the lanes do in one cycle.

    =========================  ===================================================================
    ``left[j]``                patches that lane ``j`` still needs, this step included
    ``enable[k * lanes + j]``  lane ``j`` takes its ``k``-th patch of this step
    ``rank[k * lanes + j]``    how many patches of this step come before that one in the substream
    ``count``                  patches of this step
    ``next_count``             patches of the next step of the group
    ``last``                   the group ends with this step
    ``live[j]``                lane ``j`` holds a slice
    ``final``                  the stream ends with this group
    =========================  ===================================================================
    """
    slots = config.lanes * config.patches_per_cycle
    return data.StructLayout(
        {
            "left": data.ArrayLayout(config.position_bits, config.lanes),
            "enable": slots,
            "rank": data.ArrayLayout(range(slots + 1), slots),
            "count": range(slots + 1),
            "next_count": range(slots + 1),
            "last": 1,
            "live": config.lanes,
            "final": 1,
        }
    )


def plan_round(config: BlockConfig, left: data.View, done: int) -> dict[str, Value]:
    """Return the fields of :func:`step_layout` for the step after ``done`` patches per lane."""
    lanes, per_cycle = config.lanes, config.patches_per_cycle
    flags = [left[j] > done + k for k in range(per_cycle) for j in range(lanes)]
    more = Cat(left[j] > done + per_cycle for j in range(lanes)).any()
    ranks: list[Value] = [C(0, 1)]
    for flag in flags:
        ranks.append(ranks[-1] + flag)
    width = len(flags).bit_length()
    return {
        "enable": Cat(flags),
        "rank": Cat((rank | C(0, width))[:width] for rank in ranks[:-1]),
        "count": ranks[-1],
        "next_count": _count(config, left, done + per_cycle),
        "last": ~more,
    }


def _count(config: BlockConfig, left: data.View, done: int) -> Value:
    """Return how many patches the step after ``done`` patches per lane has."""
    flags = [
        left[j] > done + k for k in range(config.patches_per_cycle) for j in range(config.lanes)
    ]
    return sum(flags[1:], start=flags[0])


class BlockControl(wiring.Component):
    """Block control: control words in, the first step of each group out; one group per cycle.

    The n_patch fields of a block of groups share one width. It is stored one block ahead, so how
    many bits a group takes is always known a cycle early. Three pipeline stages: cut the fields
    out of the gearbox, sort them by lane, plan the first step of the group; then a queue of
    ``CONTROL_AHEAD`` groups. Twin: ``sw.golden.block.block_parser`` (``next_counts``). Source:
    Kwon et al., CVPR 2020, blocked n_patch assignment.

    Parameters
    ----------
    config : BlockConfig

    Members
    -------
    start : In(1)
        Begin a stream of ``count`` slices; the queue must be empty.
    count : In(32)
        Slices of the stream.
    i : In(stream.Signature(bus_bits))
        Control words.
    hungry : Out(1)
        The next word of the stream is a control word; no other may enter before it.
    follows : Out(1)
        A control word comes next when a group has left, that is, after the words of the current
        one. It may enter in the cycle in which a group leaves.
    ahead : Out(1)
        All control words that precede the other words of the current group have entered.
    o : Out(stream.Signature(step_layout(config)))
        First steps of the groups after the current one, in order.
    """

    def __init__(self, config: BlockConfig) -> None:
        self._config = config
        super().__init__(
            {
                "start": In(1),
                "count": In(32),
                "i": In(stream.Signature(config.bus_bits)),
                "hungry": Out(1),
                "follows": Out(1),
                "ahead": Out(1),
                "o": Out(stream.Signature(step_layout(config))),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the counters, the pipeline and the queue."""
        m = Module()
        config = self._config
        lanes, width_max = config.lanes, config.position_bits
        threshold = control_threshold_bits(config)
        m.submodules.gearbox = box = Gearbox(
            bus_bits=config.bus_bits, unit_bits=1, look_bits=threshold, enough_bits=threshold
        )
        wiring.connect(m, wiring.flipped(self.i), box.i)
        m.d.comb += box.flush.eq(self.start)

        left = Signal(32)  # slices of groups that are not parsed yet
        some = Signal()  # left != 0
        known = Signal(range(CONTROL_AHEAD + 1))  # groups parsed and not yet taken
        known_next = Signal(range(CONTROL_AHEAD + 2))  # if none is taken
        full = Signal()  # CONTROL_AHEAD of them
        nearly = Signal()  # one less
        lasts = Signal()  # the bits are enough for one group more than the next one
        go = Signal()
        parse = Signal()
        leaves = Signal()
        primed = Signal()  # the width of the first block, the first field of all, is read
        settled = Signal()  # and `take` of the first group follows from it
        final = left <= lanes
        m.d.comb += [
            self.hungry.eq(some & ~full & ~box.enough),
            self.follows.eq(
                Mux(full, some & ~box.enough, nearly & parse & ~final & ~lasts),
            ),
            go.eq(some & ~full & box.enough & (primed == settled)),
            parse.eq(go & settled),
            box.go.eq(go),
            self.ahead.eq(~some | full | (nearly & box.enough)),  # parsed at this clock edge
            known_next.eq(known + parse),
            leaves.eq(self.o.valid & self.o.ready),
        ]
        m.d.sync += [
            known.eq(known_next - leaves),
            full.eq(Mux(leaves, known_next == CONTROL_AHEAD + 1, known_next == CONTROL_AHEAD)),
            nearly.eq(Mux(leaves, known_next == CONTROL_AHEAD, known_next == CONTROL_AHEAD - 1)),
        ]
        with m.If(parse):
            m.d.sync += [left.eq(left - lanes), some.eq(~final)]
        with m.If(self.start):
            m.d.sync += [left.eq(self.count), some.eq(self.count != 0)]

        opens, width, parts = self._widths(m, box, go, parse, primed, settled)
        m.d.comb += lasts.eq(box.level >= parts)

        ends = data.StructLayout({"live": lanes, "final": 1})
        cut_fields = Signal(lanes * width_max, reset_less=True)
        cut_width = Signal.like(width, reset_less=True)
        cut_ends = Signal(ends, reset_less=True)
        sorted_ends = Signal(ends, reset_less=True)
        counts = Signal(data.ArrayLayout(width_max, lanes), reset_less=True)
        cut_valid = Signal()
        counts_valid = Signal()
        m.d.sync += [
            cut_valid.eq(parse),
            cut_fields.eq(Mux(opens, box.o[WIDTH_FIELD_BITS:], box.o)),
            cut_width.eq(width),
            cut_ends.live.eq(Cat(left > j for j in range(lanes))),
            cut_ends.final.eq(final),
            counts_valid.eq(cut_valid),
            counts.eq(0),
            sorted_ends.eq(cut_ends),
        ]
        with m.Switch(cut_width):
            for w in range(1, width_max + 1):
                with m.Case(w):
                    fields = [cut_fields[j * w : (j + 1) * w] for j in range(lanes)]
                    m.d.sync += [counts[j].eq(field) for j, field in enumerate(fields)]
        entry = Signal(step_layout(config))
        m.d.comb += [
            entry.left.eq(counts),
            entry.live.eq(sorted_ends.live),
            entry.final.eq(sorted_ends.final),
        ]
        m.d.comb += [entry[key].eq(value) for key, value in plan_round(config, counts, 0).items()]
        self._queue(m, entry, counts_valid, leaves)
        return m

    def _widths(
        self,
        m: Module,
        box: Gearbox,
        go: Signal,
        parse: Signal,
        primed: Signal,
        settled: Signal,
    ) -> tuple[Signal, Signal, Signal]:
        """Follow the blocks.

        Return whether the next group opens one, its field width, and how many bits must be there so
        that there are enough for another group behind it.
        """
        config = self._config
        opens = Signal()
        width = Signal(range(config.position_bits + 1))
        next_width = Signal(WIDTH_FIELD_BITS)
        block_left = Signal(range(config.block_groups))
        take = Signal.like(box.take)
        threshold = control_threshold_bits(config)
        parts = Signal(range(2 * threshold + 1))  # take + threshold
        m.d.comb += box.take.eq(take)
        # lanes * width as tables: Yosys would map a product to a slow multiplier block.
        fields = {name: Signal.like(take, name=f"{name}_fields") for name in ("next", "own")}
        for source, product in ((next_width, fields["next"]), (width, fields["own"])):
            with m.Switch(source):
                for w in range(1, config.position_bits + 1):
                    with m.Case(w):
                        m.d.comb += product.eq(config.lanes * w)
        crosses = Signal()
        m.d.comb += crosses.eq((parse & (block_left == 0)) | (primed & ~settled))
        with m.If(crosses):
            m.d.sync += [
                opens.eq(1),
                width.eq(next_width),
                take.eq(fields["next"] + WIDTH_FIELD_BITS),
                parts.eq(fields["next"] + (WIDTH_FIELD_BITS + threshold)),
                block_left.eq(config.block_groups - 1),
            ]
        with m.Elif(parse):
            m.d.sync += [
                opens.eq(0),
                take.eq(fields["own"]),
                parts.eq(fields["own"] + threshold),
                block_left.eq(block_left - 1),
            ]
        with m.If(go & (opens | ~primed)):
            m.d.sync += next_width.eq(box.o)
        m.d.sync += settled.eq(primed)
        with m.If(go):
            m.d.sync += primed.eq(1)
        with m.If(self.start):
            m.d.sync += [primed.eq(0), settled.eq(0), take.eq(WIDTH_FIELD_BITS)]
        return opens, width, parts

    def _queue(self, m: Module, entry: data.View, enters: Signal, leaves: Signal) -> None:
        """Build the queue of groups; it never overflows, because ``known`` counts them."""
        shape = entry.shape()
        slots = [Signal(shape, name=f"slot_{k}", reset_less=True) for k in range(CONTROL_AHEAD)]
        queued = Signal(range(CONTROL_AHEAD + 1))
        valid = Signal()  # queued != 0
        place = Signal.like(queued)
        m.d.comb += [
            place.eq(queued - leaves),
            self.o.valid.eq(valid),
            self.o.payload.eq(slots[0]),
        ]
        m.d.sync += [
            queued.eq(place + enters),
            valid.eq(enters | Mux(leaves, queued > 1, valid)),
        ]
        for n, slot in enumerate(slots):
            above = slots[n + 1] if n + 1 < CONTROL_AHEAD else entry
            with m.If(leaves | (queued == n)):
                m.d.sync += slot.eq(Mux(place == n, entry, above))
