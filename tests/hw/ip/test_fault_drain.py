# SPDX-License-Identifier: Apache-2.0
"""Good streams come out whole, whatever comes behind them; the fault is that of the bad one."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.hdl import Signal
from xorloom.hw.ip.csr import Cause
from xorloom.hw.ip.decoder import WeightDecoder
from xorloom.sw.golden.weights import weight_decoder

from tests.helpers.decoder import BITMAP, FORMATS, TRELLIS, VALUE, edited, hand_made, words_of
from tests.helpers.rtl import simulate, unit
from tests.helpers.weight_streams import weight_stream

LONG = [weight_stream(form, 24, 40, 2) for form in FORMATS]
SHORT = [weight_stream(form, 3, 64, 3) for form in FORMATS]


@dataclass
class Run:
    """What came out: beats (codes, mask, last, bad), and what happened after how many of them."""

    beats: list[tuple[int, int, int, int]] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    faults: list[tuple[int, Cause]] = field(default_factory=list)


def words(data: bytes, errors: dict[int, int] | None = None) -> list[dict[str, int]]:
    """Return the bus words of an input packet; ``errors`` are responses, by word."""
    text = words_of(data)
    return [
        {"data": word, "last": n == len(text) - 1, "error": (errors or {}).get(n, 0)}
        for n, word in enumerate(text)
    ]


def decode(packets: list[list[dict[str, int]]], takes: int) -> Run:
    """Send packets, each to an idle decoder; the output is taken in one clock of ``takes``."""
    dut = unit(WeightDecoder, VALUE, (TRELLIS, BITMAP), planes=1)
    sent = [word for packet in packets for word in packet]
    starts = {sum(map(len, packets[:n])) for n in range(len(packets))}
    run = Run()

    async def bench(ctx: Any, _reset: Signal) -> None:
        at = quiet = 0
        offers = busy = False
        for clock in range(6000):
            offers = at < len(sent) and (offers or at not in starts or not busy)
            ctx.set(dut.i.valid, offers)
            if offers:
                ctx.set(dut.i.payload, sent[at])
            ready = clock % takes == 0
            ctx.set(dut.o.ready, ready)
            _, _, accepts, valid, beat, done, fault, cause, busy = await ctx.tick().sample(
                dut.i.ready, dut.o.valid, dut.o.payload, dut.done, dut.fault, dut.cause, dut.busy
            )
            if fault:
                run.faults.append((len(run.beats), Cause(cause)))
            if done:
                run.done.append(len(run.beats))
            if valid and ready:
                run.beats.append((beat.codes, beat.mask, beat.last, beat.bad))
            at += offers and accepts
            offers = offers and not accepts
            quiet = 0 if busy or at < len(sent) else quiet + 1
            if quiet == 40:
                return
        raise AssertionError(f"still busy; {at} of {len(sent)} words were taken")

    simulate(dut, bench)
    return run


def beats(number: int, data: bytes) -> list[tuple[int, int, int, int]]:
    return [
        (beat.codes, beat.mask, int(beat.last), 0) for beat in weight_decoder(FORMATS[number], data)
    ]


def same(got: list[tuple[int, int, int, int]], wanted: list[tuple[int, int, int, int]]) -> bool:
    """Compare streams of whole slices; of a last slice the first 40 weights, as in ``LONG``."""
    tail = (1 << 40) - 1
    return len(got) == len(wanted) and all(
        [a[0] & tail, a[1] & tail, *a[2:]] == [b[0] & tail, b[1] & tail, *b[2:]]
        and (a == b or bool(b[2]))
        for a, b in zip(got, wanted, strict=True)
    )


def flipped(data: bytes, byte: int) -> bytes:
    return data[:byte] + bytes([data[byte] ^ 1]) + data[byte + 1 :]


BAD: dict[str, tuple[Cause, bytes, dict[int, int]]] = {
    "magic": (Cause.HEADER, flipped(LONG[1], 0), {}),
    "network": (Cause.NETWORK, edited(LONG[1], network=7), {}),
    "CRC": (Cause.CRC, flipped(LONG[1], len(LONG[1]) - 1), {}),
    "cut in the header": (Cause.TRUNCATED, LONG[1][:12], {}),
    "cut": (Cause.TRUNCATED, LONG[1][:80], {}),
    "SLVERR at once": (Cause.SLVERR, LONG[1], {0: 2}),
    "DECERR": (Cause.DECERR, LONG[1], {9: 3}),
    "DECERR at the end": (Cause.DECERR, LONG[1], {len(LONG[1]) // 4 - 1: 3}),
    "count": (Cause.LENGTH, edited(LONG[1], count=64 * 99), {}),
    "order": (Cause.SCHEDULE, hand_made(FORMATS[1], 64 * 999, [0] * 12 + [1] * 3), {}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    ("before", "takes"),
    [
        ([LONG[0]], 5),
        pytest.param([LONG[0]], 1, marks=pytest.mark.slow),
        pytest.param([LONG[0], SHORT[1], SHORT[0]], 1, marks=pytest.mark.slow),
        pytest.param([LONG[0], SHORT[1], SHORT[0]], 5, marks=pytest.mark.slow),
    ],
    ids=["one, slow", "one", "three", "three, slow"],
)
def test_streams_before_a_bad_one_come_out_whole(
    name: str, before: list[bytes], takes: int
) -> None:
    cause, bad, errors = BAD[name]
    start = sum(len(data) for data in before) // 4
    packet = words(b"".join(before) + bad, {start + at: kind for at, kind in errors.items()})
    run = decode([packet, words(SHORT[0])], takes)
    wanted = [beats(n % 2, data) for n, data in enumerate(before)]
    ends = [sum(map(len, wanted[: n + 1])) for n in range(len(wanted))]
    good = [beat for stream in wanted for beat in stream]
    assert same(run.beats[: len(good)], good)
    assert run.done[:-1] == ends, "not every good stream ended well"
    ((at, found),) = run.faults
    assert found is cause
    assert at >= ends[-1], "the fault came before the end of a good stream"
    rest = run.beats[len(good) :]
    follow = beats(0, SHORT[0])
    assert same(rest[-len(follow) :], follow)
    torn = rest[: -len(follow)]
    assert [beat[3] for beat in torn] == [0] * (len(torn) - 1) + [1] * bool(torn)


@pytest.mark.long
def test_stream_that_waits_for_its_crc_is_not_cut_by_the_word_behind_it() -> None:
    for at in range(4):
        packet = words(SHORT[0] + SHORT[1], {len(SHORT[0]) // 4 + at: 2})
        run = decode([packet, words(SHORT[0])], 1)
        assert same(run.beats[:3], beats(0, SHORT[0])), at
        assert [cause for _, cause in run.faults] == [Cause.SLVERR], at


@pytest.mark.long
def test_fault_is_that_of_the_stream_before_if_that_is_bad_too() -> None:
    wrong = flipped(SHORT[0], len(SHORT[0]) - 1)
    for at in range(4):
        packet = words(wrong + SHORT[1], {len(wrong) // 4 + at: 2})
        run = decode([packet, words(SHORT[0])], 1)
        assert [cause for _, cause in run.faults] == [Cause.CRC], at
        assert len(run.done) == 1


@pytest.mark.long
def test_abort_waits_for_no_stream() -> None:
    dut = unit(WeightDecoder, VALUE, (TRELLIS, BITMAP), planes=1)
    sent = words(LONG[0] + flipped(LONG[1], 0))

    async def bench(ctx: Any, _reset: Signal) -> None:
        at = 0
        for clock in range(1500):
            ctx.set(dut.i.valid, at < len(sent))
            if at < len(sent):
                ctx.set(dut.i.payload, sent[at])
            ctx.set(dut.abort, clock == 1400)  # nobody has taken the beats of the good stream
            _, _, accepts, fault, cause = await ctx.tick().sample(dut.i.ready, dut.fault, dut.cause)
            at += at < len(sent) and accepts
            if fault:
                assert (Cause(cause), clock - 1400 < 5) == (Cause.ABORTED, True)
                return
        raise AssertionError("no fault")

    simulate(dut, bench)
