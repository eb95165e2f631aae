# SPDX-License-Identifier: Apache-2.0
"""Table of an entropy index stream: read from its units, written to the lanes' memories."""

from amaranth.hdl import Array, Cat, Module, Mux, ResetInserter, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from xorloom.sw.spec.index_config import EntropyConfig

from .state_names import name_states

__all__ = ["START_STATE", "UNIT_BITS", "EntropyTable", "state_layout"]

UNIT_BITS = 16
START_STATE = 256
"""Address in the state memories of the step that reads the first state of a lane."""
_CLASSES = 16


def state_layout() -> data.StructLayout:
    """What the entry of a state says about the step from it.

    The low ``moved`` bits are added to ``base`` to give the next state; the ``width`` bits after
    them are added to ``first`` to give the number of the value. ``total`` is their sum.
    """
    return data.StructLayout({"base": 8, "moved": 4, "total": 5, "width": 4, "first": 8})


def _bit_length(value: Value) -> Value:
    """Return the bit length of a value that is not zero."""
    result: Value = Value.cast(1)
    for k in range(1, len(value)):
        result = Mux(value[k], k + 1, result)
    return result


def _ones_first(bits: Value) -> Value:
    """Return the number of ones of a power of two minus one bits, all ones before all zeros."""
    half = len(bits) // 2
    if half == 0:
        return bits
    return Cat(_ones_first(Mux(bits[half], bits[half + 1 :], bits[:half])), bits[half])


class EntropyTable(wiring.Component):
    """Entropy table: units of the table in, writes to the memories of the lanes out.

    Latency ``3 * classes + states + 7`` cycles, and one more per listed value. Twin:
    ``sw.golden.index.entropy.entropy_states``.

    ======  ==============================  ================================  ====================
    state   accepted                        written                           next
    ======  ==============================  ================================  ====================
    HEAD    unit: number of classes, flags  nothing                           FIELD
    FIELD   unit: width, frequency          nothing                           SPLIT
    SPLIT   nothing                         nothing                           STORE
    STORE   nothing                         nothing; the class is kept        FIELD, LIST or SWEEP
    LIST    unit: two listed values         one value per cycle               SWEEP
    SWEEP   nothing                         one state per cycle, four later   DRAIN
    DRAIN   nothing                         the last states                   DONE
    DONE    nothing                         nothing                           HEAD, by ``clear``
    ======  ==============================  ================================  ====================

    Parameters
    ----------
    config : EntropyConfig

    Members
    -------
    unit : In(16)
        The oldest unit.
    unit_valid : In(1)
        There is one.
    take : Out(1)
        The unit is used up.
    clear : In(1)
        Wait for the table of another stream.
    done : Out(1)
        Everything is written; stays until ``clear``.
    several : Out(1)
        There are several classes, so each lane begins by reading a state.
    listed, invert : Out(1)
        Values are those that the table lists; they are inverted. Listed ones are written so.
    need : Out(5)
        Most bits of a step.
    state_write, state_at, state : Out
        Write to the state memories.
    value_write, value_at, value : Out
        Write to the value memories.
    """

    def __init__(self, config: EntropyConfig) -> None:
        self._config = config
        super().__init__(
            {
                "unit": In(UNIT_BITS),
                "unit_valid": In(1),
                "take": Out(1),
                "clear": In(1),
                "done": Out(1),
                "several": Out(1),
                "listed": Out(1),
                "invert": Out(1),
                "need": Out(5),
                "state_write": Out(1),
                "state_at": Out(9),
                "state": Out(state_layout()),
                "value_write": Out(1),
                "value_at": Out(8),
                "value": Out(8),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the machine; ``clear`` resets all of it."""
        m = Module()
        states, state_bits = self._config.states, self._config.state_bits
        last_class = Signal(4)
        k = Signal(4)
        ends = [Signal(9, name=f"end_{c}", init=states) for c in range(_CLASSES)]
        nexts = Array(Signal(9, name=f"next_{c}") for c in range(_CLASSES))
        widths = Array(Signal(4, name=f"width_{c}", reset_less=True) for c in range(_CLASSES))
        firsts = Array(Signal(8, name=f"first_{c}", reset_less=True) for c in range(_CLASSES))
        field = Signal(12, reset_less=True)
        freq = Signal(9, reset_less=True)
        width = Signal(4, reset_less=True)
        end = Signal(9)
        size = Signal(9)
        need = Signal(5)
        most = Signal(5)
        left = Signal(9)
        last_one = Signal()  # one value is left
        at = Signal(8)
        odd = Signal()
        place = Signal(9)
        turn = Signal(state_bits)
        sweeping = Signal()
        stored = Signal()  # the state before was STORE, which computed `most`
        m.d.comb += [
            self.need.eq(need),
            self.value_at.eq(at),
            self.value.eq(Mux(odd, self.unit[8:], self.unit[:8]) ^ self.invert.replicate(8)),
        ]
        with m.FSM(name="table") as machine:
            with m.State("HEAD"):
                m.d.sync += [
                    *(signal.eq(0) for signal in (k, end, size, need, at, odd, place, turn)),
                    *(signal.eq(states) for signal in ends),
                ]
                with m.If(self.unit_valid):
                    m.d.sync += [
                        last_class.eq(self.unit[:4]),
                        self.listed.eq(self.unit[4]),
                        self.invert.eq(self.unit[5]),
                        self.several.eq(self.unit[:4] != 0),
                    ]
                    m.next = "FIELD"
            with m.State("FIELD"):
                m.d.sync += field.eq(self.unit)
                with m.If(self.unit_valid):
                    m.next = "SPLIT"
            with m.State("SPLIT"):
                m.d.sync += [width.eq(field[:4]), freq.eq(field[4:] + 1)]
                m.next = "STORE"
            with m.State("STORE"):
                m.d.sync += [
                    Array(ends)[k].eq(end + freq),
                    nexts[k].eq(freq),
                    widths[k].eq(width),
                    firsts[k].eq(size),
                    end.eq(end + freq),
                    size.eq(size + (1 << width)),
                    left.eq(size + (1 << width)),
                    last_one.eq((size == 0) & (width == 0)),
                    most.eq(width + (state_bits + 1) - _bit_length(freq)),
                    k.eq(k + 1),
                ]
                with m.If(k != last_class):
                    m.next = "FIELD"
                with m.Elif(self.listed):
                    m.next = "LIST"
                with m.Else():
                    m.next = "SWEEP"
            with m.State("LIST"), m.If(self.unit_valid):
                m.d.sync += [at.eq(at + 1), odd.eq(~odd), left.eq(left - 1)]
                m.d.sync += last_one.eq(left == 2)
                with m.If(last_one):
                    m.next = "SWEEP"
            with m.State("SWEEP"):
                m.d.sync += [place.eq(place + 1), turn.eq(turn + self._config.spread[1])]
                with m.If(place == states):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                m.d.sync += place.eq(place + 1)
                with m.If((place & 7) == 4):
                    m.next = "DONE"
            with m.State("DONE"):
                pass
        name_states(machine.state, machine.encoding)
        m.d.sync += stored.eq(machine.ongoing("STORE"))
        with m.If(stored & (most > need)):
            m.d.sync += need.eq(most)
        takes = machine.ongoing("HEAD") | machine.ongoing("FIELD")
        listing = machine.ongoing("LIST")
        m.d.comb += [
            self.take.eq(self.unit_valid & (takes | (listing & (odd | last_one)))),
            self.value_write.eq(self.unit_valid & listing),
            self.done.eq(machine.ongoing("DONE")),
            sweeping.eq(machine.ongoing("SWEEP")),
        ]
        # State s has number `turn` if states are counted class by class; within a class they are
        # numbered in the order in which they come: x is the number of the last one, nexts[c] that
        # of a class's next one, which is x + 1 where the class stays. Last comes the start state.
        reached = Signal(_CLASSES - 1, reset_less=True)  # the limits are in order: ones, then zeros
        owner = Signal(4, reset_less=True)
        x = Signal(9)
        x_owner = Signal(4, reset_less=True)
        after = Signal(9)
        written = Signal(9)
        valid = Signal(4)
        moved = Signal(4)
        entry = Signal(state_layout(), reset_less=True)
        owner_width = Signal(4, reset_less=True)
        owner_first = Signal(8, reset_less=True)
        m.d.comb += [moved.eq(state_bits + 1 - _bit_length(x)), after.eq(x + 1)]
        m.d.sync += [
            reached.eq(Cat(turn >= limit for limit in ends[:-1])),
            owner.eq(_ones_first(reached)),
            valid.eq(Cat(sweeping, valid[:-1])),
            x_owner.eq(owner),
            x.eq(Mux(valid[2] & (owner == x_owner), after, nexts[owner])),
            owner_width.eq(widths[owner]),
            owner_first.eq(firsts[owner]),
            entry.moved.eq(moved),
            entry.base.eq((x << moved)[:state_bits]),
            entry.width.eq(owner_width),
            entry.first.eq(owner_first),
            entry.total.eq(moved + owner_width),
        ]
        with m.If(valid[2]):
            m.d.sync += nexts[x_owner].eq(after)
        with m.If(valid[3]):
            m.d.sync += written.eq(written + 1)
        with m.If(written == states - 1):
            m.d.sync += [
                entry.moved.eq(state_bits),
                entry.base.eq(0),
                entry.width.eq(0),
                entry.total.eq(state_bits),
            ]
        m.d.comb += [
            self.state_write.eq(valid[3]),
            self.state_at.eq(Mux(written == states, START_STATE, written)),
            self.state.eq(entry),
        ]
        return ResetInserter(self.clear)(m)
