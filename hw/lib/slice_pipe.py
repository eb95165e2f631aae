# SPDX-License-Identifier: Apache-2.0
"""Enables and valid flags of a pipeline of slices, stalled or free; no data passes here."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Member, Out
from xorloom.sw.base.errors import ConfigError

__all__ = ["PIPELINES", "FreePipe", "SlicePipe", "check_pipeline"]

PIPELINES = ("fast", "small")
"""How a unit moves its slices: with a :class:`FreePipe`, for devices that have LUT RAM for the
queues behind it; or with a :class:`SlicePipe`."""


def check_pipeline(name: str) -> str:
    """Return ``name``.

    Raises
    ------
    ConfigError
        If it is none of :data:`PIPELINES`.
    """
    if name not in PIPELINES:
        raise ConfigError(f"pipeline must be one of {', '.join(PIPELINES)}, not {name}")
    return name


def _members(parts: int) -> dict[str, Member]:
    """Return the members that both pipes have."""
    return {
        "available_next": In(1),
        "available": Out(1),
        "token": In(1),
        "emit": In(1),
        "step": Out(1),
        "data_step": Out(parts),
        "data_free": Out(parts),
        "full": Out(1),
        "move": Out(1),
        "data_move": Out(parts),
        "valid": Out(1),
        "ready": In(1),
    }


class SlicePipe(wiring.Component):
    """Slice pipe: control of a pipeline window -> parities -> ``stages`` registers.

    Tells which registers load in this cycle. A step shifts the window and moves a *token*, its
    former contents, into the parity registers. From there on a token moves without waiting for
    further chunks. All registers behind the parities move together. Latency
    :py:`self.latency` cycles, one step per cycle, full back-pressure.

    Each enable is one LUT of ``ready`` and of registers that drive nothing else. Control and each
    part of the data have such registers of their own, so that placement can keep each set near its
    load. The sets differ in polarity, or in how ``flush`` clears them (they are clear already at
    that time); otherwise synthesis would merge them.

    Parameters
    ----------
    stages : int
        Registers behind the parity registers. Without any, the parities are the slices, and every
        token is one.
    parts : int, 1 to 5
        Parts of the data, each with enables of its own.

    Members
    -------
    available_next : In(1)
        A chunk will be available in the next cycle.
    available : Out(1)
        A chunk is available: ``available_next``, registered.
    flush : In(1)
        Pulses, at times when nothing is in flight. Used only with ``parts`` above 1.
    token : In(1)
        The window holds a token: something that has to move on.
    emit : In(1)
        The token is a slice. Implies ``token``.
    data_take : Out(parts)
        Enable of the chunk register: it is empty, or the step consumes it.
    step, data_step : Out(1), Out(parts)
        Enable of the window, and of parity registers that load with it.
    data_free : Out(parts)
        Enable of parity registers that may also load without a step: no token is lost.
    full : Out(1)
        The parity registers hold a token.
    move, data_move : Out(1), Out(parts)
        Enable of the registers behind the parities.
    valid : Out(1)
        The last register holds a slice.
    ready : In(1)
        The consumer takes it.

    Attributes
    ----------
    slices : Signal
        Which registers, from the parities on, hold a slice. For proofs.
    """

    def __init__(self, *, stages: int, parts: int = 1) -> None:
        self._stages, self._parts = stages, parts
        self.slices = Signal(1 + stages)
        super().__init__(_members(parts) | {"flush": In(1), "data_take": Out(parts)})

    @property
    def latency(self) -> int:
        """Cycles from the step that moves a slice out of the window until it is offered."""
        return 1 + self._stages

    def elaborate(self, _platform: object) -> Module:
        """Build the flags."""
        m = Module()
        available = Signal()
        full = Signal()
        blocked = Signal()  # full, and valid
        valid = Signal(self._stages, name="valid") if self._stages else full
        holds = Signal()
        enters = Signal()
        before_last = Signal()
        valid_next = Signal()
        blocked_next = Signal()
        emitted = Signal(reset_less=True)
        last = valid[-1]
        m.d.comb += [
            self.available.eq(available),
            self.full.eq(full),
            self.valid.eq(last),
            self.slices.eq(Cat(full & emitted, valid) if self._stages else full),
            self.move.eq(~last | self.ready),
            self.step.eq(available & (~blocked | self.ready)),
            holds.eq(blocked & ~self.ready),
            enters.eq(available & self.token),
        ]
        if self._stages:
            m.d.comb += [
                before_last.eq(valid[-2] if self._stages > 1 else full & emitted),
                valid_next.eq(before_last | (last & ~self.ready)),
                blocked_next.eq(holds | (enters & valid_next)),
            ]
            m.d.sync += last.eq(valid_next)
        else:
            m.d.comb += [valid_next.eq(holds | enters), blocked_next.eq(valid_next)]
        m.d.sync += [
            available.eq(self.available_next),
            full.eq(holds | enters),
            blocked.eq(blocked_next),
        ]
        for k in range(self._parts):
            own = Signal(3, init=(7, 0, 7, 0, 7)[k], name=f"own_{k}")
            flags = Cat(self.available_next, blocked_next, valid_next)
            if k > 2:
                flags &= ~self.flush.replicate(3)
            m.d.sync += own.eq(flags ^ own.init)
            if k in (1, 2):
                with m.If(self.flush):
                    m.d.sync += own.eq(own.init)
            has_chunk, stuck, offers = own ^ own.init
            m.d.comb += [
                self.data_take[k].eq(~has_chunk | ~stuck | self.ready),
                self.data_step[k].eq(has_chunk & (~stuck | self.ready)),
                self.data_free[k].eq(~stuck | self.ready),
                self.data_move[k].eq(~offers | self.ready),
            ]
        with m.If(self.step):
            m.d.sync += emitted.eq(self.emit)
        if self._stages > 1:
            with m.If(self.move):
                m.d.sync += valid[:-1].eq(valid[:-1] << 1 | (full & emitted))
        return m


class FreePipe(wiring.Component):
    """Free pipe: control of a pipeline window -> parities -> ``stages`` registers without enables.

    The sibling of :class:`SlicePipe` with the same members, where nothing waits behind the step:
    all registers from the parities on load in every cycle, and valid flags go with them. ``ready``
    is a credit: it gates the step of the cycle after. So :py:`self.slack` slices at most may come
    after ``ready`` fell, and ``valid`` alone is a transfer: a
    :class:`xorloom.hw.lib.flow_queue.FlowQueue` stands behind. Latency :py:`self.latency` cycles,
    one step per cycle.

    ``step`` is a register, and so is each part of ``data_step``, which comes a cycle later and
    wants the chunk a cycle later, too: control and data may then lie far apart. The parts differ
    in polarity or in their reset; otherwise synthesis would merge them. Those without a reset may
    step once more after it, for which data do not matter.

    Parameters
    ----------
    stages : int
        Registers behind the parity registers.
    parts : int, 1 to 3
        Parts of the data, each with an enable of its own.

    Members
    -------
    available_next, available, token, emit, step, full, valid
        See :class:`SlicePipe`.
    data_step : Out(parts)
        ``step`` of the cycle before: enable of the window.
    data_free, move, data_move : Out(parts), Out(1), Out(parts)
        1: what :class:`SlicePipe` enables by them loads always.
    ready : In(1)
        A step may be made in the next cycle.

    Attributes
    ----------
    slices : Signal
        See :class:`SlicePipe`; the first is that which the window's last step moves out.
    """

    def __init__(self, *, stages: int, parts: int = 1) -> None:
        self._stages, self._parts = stages, parts
        self.slices = Signal(2 + stages)
        super().__init__(_members(parts))

    @property
    def latency(self) -> int:
        """Cycles from the step that moves a slice out of the window until it is put out."""
        return 2 + self._stages

    @property
    def slack(self) -> int:
        """How many slices may come from the cycle on in which ``ready`` is 0."""
        return 1 + self.latency

    def elaborate(self, _platform: object) -> Module:
        """Build the flags."""
        m = Module()
        available = Signal()
        step = Signal()
        steps = Signal()
        enters = Signal()
        full = Signal()
        flags = Signal(2 + self._stages)
        m.d.comb += [
            steps.eq(self.available_next & self.ready),
            self.available.eq(available),
            self.step.eq(step),
            self.full.eq(full),
            self.move.eq(1),
            self.data_move.eq(-1),
            self.data_free.eq(-1),
            self.slices.eq(flags),
            self.valid.eq(flags[-1]),
        ]
        m.d.sync += [
            available.eq(self.available_next),
            step.eq(steps),
            enters.eq(step & self.token),
            full.eq(enters),
            flags.eq(Cat(step & self.emit, flags)),
        ]
        for k in range(self._parts):
            inverted, kept = ((1, False), (0, True), (1, True))[k]
            own = Signal(init=inverted, reset_less=kept, name=f"own_{k}")
            m.d.sync += own.eq(step ^ inverted)
            m.d.comb += self.data_step[k].eq(own ^ inverted)
        return m
