# SPDX-License-Identifier: Apache-2.0
"""The decoder that reads memory itself: descriptors, bus errors, faults, software's mistakes."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.ip.top import IpBlock
from xorloom.sim.simulate.runner import Build, build, run

from tests.helpers.decoder import BITMAP, FORMATS, TRELLIS, VALUE, Stream, edited, good, judge
from tests.helpers.weight_streams import weight_stream

SLVERR, DECERR = 2, 3
SHORT = [weight_stream(form, 3, 40, 3) for form in FORMATS]
LONG = [weight_stream(form, 60, 64, 4) for form in FORMATS]
FOLLOW = weight_stream(FORMATS[0], 5, 64, 5)
FOLLOW_AT = 0x7003
LOST = Stream()


@lru_cache
def built() -> Build:
    decoder = IpBlock(VALUE, [TRELLIS, BITMAP], planes=1, reader=True, max_burst=16)
    return build(component_verilog(decoder, "axi_decoder"), "axi_decoder")


class Cases:
    """Memory contents, cases of one run, and what is expected of each phase."""

    def __init__(self) -> None:
        self.memory = {FOLLOW_AT: FOLLOW}
        self.cases: list[dict[str, Any]] = []
        self.wanted: list[list[tuple[Sequence[Stream], set[str]]]] = []
        self._free = 0x10000

    def place(self, data: bytes, at: int | None = None) -> tuple[int, int]:
        """Put a stream into memory, by default at any odd place; return its descriptor."""
        if at is None:
            at = self._free + len(self.memory) % 7
            self._free += len(data) + 16
        end = at + len(data)
        clashes = [hex(k) for k, old in self.memory.items() if k < end and at < k + len(old)]
        assert not clashes, f"{at:#x} to {end:#x} is taken by {clashes}"
        self.memory[at] = data
        return at, len(data)

    def add(
        self,
        name: str,
        phase: dict[str, Any],
        streams: Sequence[Stream],
        causes: set[str],
        **case: Any,
    ) -> None:
        """Add a case: a phase with a fault or without, then one that must go well."""
        after = {"decode": [(FOLLOW_AT, len(FOLLOW))]}
        self.cases.append({"name": name, "phases": [phase, after]} | case)
        self.wanted.append([(streams, causes), ([good(FORMATS[0], FOLLOW)], {"NONE"})])

    def run(self) -> list[list[dict[str, Any]]]:
        """Run all on one build; check all."""
        memory = {str(at): data.hex() for at, data in self.memory.items()}
        job = {"cases": self.cases, "memory": memory}
        result = run(built(), "xorloom.sim.testbenches.axi_decoder", "ends_every_stream", job)
        assert "failure" not in result, result["failure"]
        for case, wanted, found in zip(self.cases, self.wanted, result["cases"], strict=True):
            for number, (phase, (streams, causes)) in enumerate(zip(found, wanted, strict=True)):
                where = f"{case['name']}, phase {number}"
                # The driver clears what it has told.
                end = phase.get("end", 0)
                cause = end if isinstance(end, str) else phase["cause"]
                assert cause in causes, f"{where}: {phase}, not of {causes}"
                wrong = judge(phase["packets"], streams)
                assert wrong is None, f"{where}: {wrong}"
        return result["cases"]


def stalled(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    kinds = ["none", "random", "bursts"]
    return {key: rng.choice(kinds) for key in ("ar", "r", "sink")} | {"seed": seed}


def add_good(cases: Cases, count: int) -> None:
    """Descriptors back to back, of every alignment, at ends of 4 KiB, of several streams."""
    rng = random.Random(1)
    for number in range(count):
        descriptors, streams = [], []
        for _ in range(rng.randint(1, 9)):
            chosen = [rng.randrange(2) for _ in range(rng.choice([1, 1, 1, 3]))]
            data = b"".join(SHORT[k] for k in chosen)
            page = 0x100000 + 0x2000 * len(cases.memory)
            at = page + 4096 - rng.choice([0, 1, 2, 3, 4, 5, 8, 63, len(data) - 1, len(data)])
            descriptors.append(cases.place(data, at))
            streams += [good(FORMATS[k], SHORT[k]) for k in chosen]
        cases.add(f"good {number}", {"decode": descriptors}, streams, {"NONE"}, **stalled(number))


def add_errors(cases: Cases, step: int) -> None:
    """A bus error in any word, also in the second of two streams."""
    for k, data in enumerate(SHORT):
        at, size = cases.place(data, 0x8000 + 0x1000 * k)
        other = cases.place(SHORT[1 - k])
        maybe = replace(good(FORMATS[1 - k], SHORT[1 - k]), whole=None)
        for word in range(0, size, 4 * step):
            for response, cause in ((SLVERR, "SLVERR"), (DECERR, "DECERR")):
                errors = {"errors": {str(at + word): response}}
                stalls = stalled(word + response)
                cases.add(
                    f"{cause} {word}",
                    {"decode": [(at, size), other]} | errors,
                    [LOST, maybe],
                    {cause},
                    **stalls,
                )
                cases.add(
                    f"{cause} {word} second",
                    {"decode": [other, (at, size)]} | errors,
                    [good(FORMATS[1 - k], SHORT[1 - k]), LOST],
                    {cause},
                    **stalls,
                )


def add_faults(cases: Cases, count: int) -> None:
    """Bad streams before and among good ones, all queued at once."""
    rng = random.Random(2)
    for number in range(count):
        k = number % 2
        data = bytearray(SHORT[k])
        descriptors, streams = [], []
        kind = number // 2 % 5
        if kind == 0:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data = bytearray(edited(bytes(data), network=1))
        elif kind == 2:
            data = data[: 4 * rng.randrange(1, len(data) // 4)]
        elif kind == 3:
            data = data + bytes(4 * rng.randrange(1, 20))
        else:
            data = bytearray(edited(bytes(data), blocks=rng.randrange(5, 1 << 32)))
        bad_at = rng.randrange(3)
        for n in range(4):
            which = rng.randrange(2)
            text = SHORT[which] if n != bad_at else bytes(data)
            descriptors.append(cases.place(text))
            # What comes before the bad one comes out whole; what comes behind it may be given up.
            must = True if n < bad_at else None
            streams.append(replace(good(FORMATS[which], SHORT[which]), whole=must))
            if n == bad_at:
                # Of kind 3 the stream itself is right.
                streams[-1] = good(FORMATS[k], SHORT[k]) if kind == 3 else Stream()
        causes = {"HEADER", "NETWORK", "CRC", "LENGTH", "TRUNCATED"}
        # The second way starts on after the fault, as software does that has not looked yet.
        way = ("decode", "starts")[number // 10 % 2]
        cases.add(f"fault {number} {way}", {way: descriptors}, streams, causes, **stalled(number))


def add_refused(cases: Cases) -> None:
    """Descriptors that are wrong, and starts while the queue is full: nothing is disturbed."""
    at, size = cases.place(LONG[0])
    whole = good(FORMATS[0], LONG[0])
    for bad in ((at, 0), (at, size - 1), (at, 2), (at, 3), ((1 << 32) - 4, 8)):
        for order in range(3):
            starts = [(at, size), (at, size)]
            starts.insert(order, bad)
            cases.add(f"{bad} {order}", {"starts": starts}, [whole] * 2, {"DESCRIPTOR"})
    short = cases.place(SHORT[0])
    for more in (6, 9):
        # Four are queued, one waits in the reader, words of one or two are on their way.
        streams = [whole] * 5 + [replace(whole, whole=None)] * more
        starts = [(at, size)] * (5 + more)
        cases.add("full", {"starts": starts, "stuck": 100}, streams, {"BUSY"})
    ones = [good(FORMATS[0], SHORT[0])] * 5
    cases.add("not full", {"starts": [short] * 5}, ones, {"NONE"})


def add_stops(cases: Cases, step: int) -> None:
    """Aborts and resets after every so many clocks, with descriptors queued."""
    for key in ("abort", "reset"):
        for clock in range(1, 200, step):
            k = clock % 2
            one, two = cases.place(LONG[k]), cases.place(SHORT[k])
            streams = [
                replace(good(FORMATS[k], text), whole=None) for text in (LONG[k], SHORT[k])
            ] * 2
            phase: dict[str, Any] = {
                "starts": [one] if clock % 3 else [one, two, one, two],
                key: clock,
            }
            if clock % 7 == 0:
                phase["stuck"] = 500
            cases.add(f"{key} {clock}", phase, streams, {"ABORTED", "NONE"}, **stalled(clock))


@pytest.mark.build
def test_axi_decoder_reads_descriptors_back_to_back() -> None:
    cases = Cases()
    add_good(cases, 8)
    cases.run()


@pytest.mark.build
def test_axi_decoder_reports_errors_of_the_bus() -> None:
    cases = Cases()
    add_errors(cases, 4)
    cases.run()


@pytest.mark.build
def test_axi_decoder_forgets_the_queue_after_a_fault() -> None:
    cases = Cases()
    add_faults(cases, 20)
    cases.run()


@pytest.mark.slow
def test_axi_decoder_refuses_bad_starts_and_goes_on() -> None:
    cases = Cases()
    add_refused(cases)
    cases.run()


@pytest.mark.slow
def test_axi_decoder_with_reader_aborts_and_resets_at_any_time() -> None:
    cases = Cases()
    add_stops(cases, 5)
    cases.run()


@pytest.mark.slow
def test_axi_decoder_with_reader_under_many_stalls() -> None:
    cases = Cases()
    add_good(cases, 60)
    add_errors(cases, 1)
    add_faults(cases, 200)
    add_stops(cases, 1)
    cases.run()
