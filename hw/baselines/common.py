# SPDX-License-Identifier: Apache-2.0
"""What the baseline decoders share: ports, beats, framing, small adders.

The baselines are what this project is compared with: dense codes, a bit mask, CSR, and run lengths
in Rice code. They have the same buses as the weight decoder but no CRC, which favours them. Only
benches use them.
"""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from xorloom.hw.lib.countdown import Countdown
from xorloom.hw.lib.payloads import word_layout
from xorloom.sw.base.errors import ConfigError

__all__ = [
    "BASELINE_HEADER_BYTES",
    "BaselineDecoder",
    "BaselineReader",
    "added",
    "baseline_layout",
    "check_baseline",
]

BASELINE_HEADER_BYTES = 16
"""Number of weights, number of payload words, a parameter of the codec, zero; 32 bits each."""


def check_baseline(bus_bits: int, n_out: int, planes: int) -> None:
    """Check the widths of a baseline.

    Raises
    ------
    ConfigError
        If a width is out of range.
    """
    if bus_bits not in (32, 64, 128, 256, 512):
        raise ConfigError(f"bus_bits must be 32, 64, 128, 256 or 512, not {bus_bits}")
    if n_out & (n_out - 1) or not bus_bits <= n_out <= 4096:
        raise ConfigError(
            f"n_out of a baseline must be a power of two from bus_bits = {bus_bits} to 4096,"
            f" not {n_out}"
        )
    if not 1 <= planes <= 7:
        raise ConfigError(f"planes of a baseline must be between 1 and 7, not {planes}")


def baseline_layout(n_out: int, planes: int) -> data.StructLayout:
    """One beat of weights: plane ``b`` of lane ``l`` is bit ``l * planes + b`` of ``codes``.

    Codes of pruned weights are 0, and so are all bits beyond the count of the stream.
    """
    return data.StructLayout({"codes": n_out * planes, "mask": n_out, "last": 1})


class BaselineDecoder(wiring.Component):
    """Baseline decoder: streams of one baseline in, weights out; the base of all baselines.

    Full back-pressure; streams follow each other. At best a beat takes as many cycles as it has
    bus words. Twin: ``sim.bench.baselines.streams``.

    Parameters
    ----------
    bus_bits : int, 32 to 512, a power of two
        Width of a bus word.
    n_out : int, ``bus_bits`` to 4096, a power of two
        Weights per beat.
    planes : int, 1 to 7
        Bits of the code of a weight.

    Members
    -------
    i : In(stream.Signature(word_layout(bus_bits)))
        Baseline streams, back to back.
    o : Out(stream.Signature(baseline_layout(n_out, planes)))
        Codes and masks.

    Raises
    ------
    ConfigError
        If a width is out of range.
    """

    def __init__(self, *, bus_bits: int, n_out: int, planes: int) -> None:
        check_baseline(bus_bits, n_out, planes)
        self._bus_bits, self._n_out, self._planes = bus_bits, n_out, planes
        super().__init__(
            {
                "i": In(stream.Signature(word_layout(bus_bits))),
                "o": Out(stream.Signature(baseline_layout(n_out, planes))),
            }
        )


def added(m: Module, a: Value, b: Value, bits: int, carry: Value | int = 0) -> Signal:
    """Return the low ``bits`` of ``a + b + carry`` as plain logic; carry chains cost more here."""
    total, carries = Signal(bits, name="total"), Signal(bits + 1, name="carries")
    m.d.comb += carries[0].eq(carry)
    for k in range(bits):
        x = a[k] if k < len(a) else Const(0, 1)
        y = b[k] if k < len(b) else Const(0, 1)
        c = carries[k]
        m.d.comb += [total[k].eq(x ^ y ^ c), carries[k + 1].eq((x & y) | (c & (x ^ y)))]
    return total


class BaselineReader(wiring.Component):
    """Baseline reader: takes the header off baseline streams and counts beats.

    Payload words pass in the same cycle, one per cycle. When the last beat of the core has left,
    the rest of the payload is dropped and the next stream begins. ``last`` and ``error`` of the
    words are ignored.

    Parameters
    ----------
    bus_bits, n_out : int
        As in :class:`BaselineDecoder`.
    fill : bool
        Whether the payload is followed by zeros without end.

    Members
    -------
    i : In(stream.Signature(word_layout(bus_bits)))
        Streams, back to back.
    o : Out(stream.Signature(bus_bits))
        Payload words.
    parameter : Out(8)
        Parameter of the codec, from the header.
    start : Out(1)
        One cycle before ``live`` rises: the core must clear itself.
    live : Out(1)
        The core may work.
    step : In(1)
        The core counts a beat.
    last : Out(1)
        The next beat to be counted is the last of the stream.
    done : In(1)
        The last beat leaves.
    """

    def __init__(self, *, bus_bits: int, n_out: int, fill: bool = False) -> None:
        self._bus_bits, self._n_out, self._fill = bus_bits, n_out, fill
        super().__init__(
            {
                "i": In(stream.Signature(word_layout(bus_bits))),
                "o": Out(stream.Signature(bus_bits)),
                "parameter": Out(8),
                "start": Out(1),
                "live": Out(1),
                "step": In(1),
                "last": Out(1),
                "done": In(1),
            }
        )

    def elaborate(self, _platform: object) -> Module:
        """Build the state and the counters."""
        m = Module()
        bus = self._bus_bits
        m.submodules.beats = beats = Countdown(unit=self._n_out)
        m.submodules.words = words = Countdown(unit=1)
        header = -(-BASELINE_HEADER_BYTES * 8 // bus)
        # One-hot: header words, three cycles in which the counts settle; then payload and beats.
        head = Signal(header, init=1)
        settle = Signal(3)
        payload = Signal()
        live = Signal()
        drained = Signal()
        goes = Signal()
        ends = Signal()
        parameter = Signal(8)
        m.d.comb += [
            goes.eq(self.i.valid & self.i.ready),
            self.i.ready.eq(head.any() | (payload & (self.o.ready | ~live))),
            self.o.valid.eq(live & ((payload & self.i.valid) | (drained & self._fill))),
            self.o.payload.eq(self.i.p.data),
            self.parameter.eq(parameter),
            self.start.eq(settle[2]),
            self.live.eq(live),
            self.last.eq(beats.last),
            beats.load.eq(goes & head[0]),
            beats.start.eq(beats.load),
            beats.count.eq(self.i.p.data[:32]),
            beats.step.eq(self.step),
            words.load.eq(goes & head[32 // bus]),
            words.start.eq(words.load),
            words.count.eq(self.i.p.data[32 % bus :][:32]),
            words.step.eq(payload & goes),
            ends.eq(drained & ~live),
        ]
        if self._fill:
            m.d.comb += self.o.payload.eq(Mux(drained, 0, self.i.p.data))
        closes = payload & goes & words.last
        m.d.sync += [
            settle.eq(settle << 1 | (goes & head[-1])),
            payload.eq((settle[2] & ~words.none) | (payload & ~closes)),
            drained.eq((settle[2] & words.none) | closes | (drained & ~ends)),
            live.eq((settle[2] & ~beats.none) | (live & ~self.done)),
        ]
        with m.If(goes | ends):
            m.d.sync += head.eq(head << 1 | ends)
        with m.If(goes & head[64 // bus]):
            m.d.sync += parameter.eq(self.i.p.data[64 % bus :])
        return m
