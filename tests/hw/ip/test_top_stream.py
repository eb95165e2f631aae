# SPDX-License-Identifier: Apache-2.0
"""The decoder fed by AXI4-Stream: every bit of a stream flipped, and what else can go wrong."""

import random
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
from xorloom.hw.flow.export import component_verilog
from xorloom.hw.ip.top import IpBlock
from xorloom.sim.simulate.runner import Build, build, run
from xorloom.sw.spec.layout import WEIGHT_HEADER_BYTES

from tests.helpers.decoder import (
    BITMAP,
    FORMATS,
    TRELLIS,
    VALUE,
    Stream,
    edited,
    good,
    hand_made,
    judge,
    reseal,
)
from tests.helpers.weight_streams import weight_stream

SEED = 3
STREAMS = [weight_stream(form, 3, 40, SEED) for form in FORMATS]
FOLLOW = [weight_stream(form, 5, 64, SEED + 1) for form in FORMATS]
AFTER = [good(form, data) for form, data in zip(FORMATS, FOLLOW, strict=True)]
LOST = [replace(stream, whole=None) for stream in AFTER]


@lru_cache
def built() -> Build:
    decoder = IpBlock(VALUE, [TRELLIS, BITMAP], planes=1)
    return build(component_verilog(decoder, "axi_decoder"), "axi_decoder")


class Cases:
    """Cases of one run, and what is expected of each phase: streams and causes."""

    def __init__(self) -> None:
        self.cases: list[dict[str, Any]] = []
        self.wanted: list[list[tuple[list[Stream], set[str]]]] = []

    def add(
        self,
        name: str,
        *phases: tuple[Sequence[bytes], Sequence[Stream], set[str]],
        first: dict[str, Any] | None = None,
        **case: Any,
    ) -> None:
        """Add a case; a phase is input packets, streams and causes. ``first``: of phase 0."""
        texts: list[dict[str, Any]] = [
            {"packets": [packet.hex() for packet in phase[0]]} for phase in phases
        ]
        texts[0] |= first or {}
        self.cases.append({"name": name, "phases": texts} | case)
        self.wanted.append([(list(streams), causes) for _, streams, causes in phases])

    def fault(self, name: str, bad: Sequence[bytes], causes: set[str], **case: Any) -> None:
        """Bad packets, then good ones: at once, or after they are over."""
        lost = [Stream()] * len(bad)
        k = len(self.cases) % 2
        if len(self.cases) // 2 % 2:
            self.add(name, ([*bad, FOLLOW[k]], [*lost, AFTER[k]], causes), **case)
        else:
            self.add(name, (bad, lost, causes), ([FOLLOW[k]], [AFTER[k]], {"NONE"}), **case)

    def run(self) -> dict[str, Any]:
        """Run all on one build; check all."""
        result = run(
            built(),
            "xorloom.sim.testbenches.axi_decoder",
            "ends_every_stream",
            {"cases": self.cases},
        )
        assert "failure" not in result, result["failure"]
        for case, wanted, found in zip(self.cases, self.wanted, result["cases"], strict=True):
            for number, (phase, (streams, causes)) in enumerate(zip(found, wanted, strict=True)):
                where = f"{case['name']}, phase {number}"
                assert phase["cause"] in causes, f"{where}: {phase}"
                wrong = judge(phase["packets"], streams)
                assert wrong is None, f"{where}: {wrong}"
        return result


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit >> 3] ^= 1 << (bit & 7)
    return bytes(changed)


def plausible(bit: int) -> set[str]:
    """Causes that a flip of this bit may have."""
    byte = bit // 8
    if byte < 4 or byte in (22, 23):
        return {"HEADER"}
    if 8 <= byte < 12:
        return {"NETWORK"}
    if 4 <= byte < 8:
        return {"HEADER", "CRC", "LENGTH"}
    if byte in (12, 13, 14, 15, 20, 21):
        return {"HEADER", "CRC", "TRUNCATED"}
    return {"CRC"} if byte < WEIGHT_HEADER_BYTES or byte >= 28 else {"CRC", "TRUNCATED"}


def add_flips(cases: Cases, step: int, **case: Any) -> None:
    for data in STREAMS:
        for bit in range(0, 8 * len(data), step):
            cases.fault(f"bit {bit}", [flipped(data, bit)], plausible(bit), **case)


@pytest.mark.build
@pytest.mark.parametrize(
    ("step", "stalls"),
    [
        (5, {}),
        pytest.param(1, {}, marks=pytest.mark.slow),
        pytest.param(1, {"source": "bursts", "sink": "random"}, marks=pytest.mark.slow),
    ],
)
def test_axi_decoder_detects_every_flipped_bit(step: int, stalls: dict[str, str]) -> None:
    cases = Cases()
    add_flips(cases, step, **stalls)
    cases.run()


def add_shapes(cases: Cases) -> None:
    """``tlast`` early, late, or in several places."""
    for k, data in enumerate(STREAMS):
        form, words = FORMATS[k], len(data) // 4
        whole = good(form, data)
        for n in range(1, words):
            cut, rest = data[: 4 * n], data[4 * n :]
            cases.fault(f"cut after {n}", [cut], {"TRUNCATED"})
            cases.fault(f"cut after {n} and the rest", [cut, rest], {"TRUNCATED"})
            cases.fault(f"cut after {n}, once more", [cut, cut], {"TRUNCATED"})
            then = ([rest + FOLLOW[k]], [Stream()], {"HEADER", "TRUNCATED"})
            cases.add(f"begun after {n}", then, ([data], [whole], {"NONE"}))
        for n in (1, 2, 5, 6, 7, 40):
            # The stream itself is right, so it comes out whole.
            surplus = [data + bytes(4 * n)]
            causes = {"HEADER", "TRUNCATED"}
            cases.add(f"{n} words more", ([*surplus, FOLLOW[k]], [whole, AFTER[k]], causes))
        # Between streams of a packet nothing need be said.
        cases.add("streams", ([data + FOLLOW[k] + data], [whole, AFTER[k], whole], {"NONE"}))


def add_headers(cases: Cases) -> None:
    """Fields out of range, with a CRC that is right."""
    for k, data in enumerate(STREAMS):
        after = ([FOLLOW[k]], [AFTER[k]], {"NONE"})
        header = {"kind": (0, 1, 4, 16, 18, 21, 22, 255), "blocks": (0, 1), "count": (0,)}
        tries = [({name: value}, "HEADER") for name, values in header.items() for value in values]
        tries += [({"first": first}, "HEADER") for first in ((0, 2), (2, 0), (18, 2), (2, 255))]
        tries += [({"network": FORMATS[k].network ^ 1 << bit}, "NETWORK") for bit in (0, 31)]
        tries += [({"network": FORMATS[1 - k].network}, "NETWORK")]
        tries += [({"kind": FORMATS[1 - k].kind}, "NETWORK")]
        tries += [({"blocks": blocks}, "TRUNCATED") for blocks in (3, 1000, (1 << 32) - 1)]
        for fields, cause in tries:
            cases.fault(f"{fields}", [edited(data, **fields)], {cause})
        for at, text in (
            (0, b"XM"),
            (0, b"YL"),
            (2, b"\0"),
            (2, b"\2"),
            (22, b"\1"),
            (23, b"\x80"),
        ):
            wrong = reseal(data[:at] + text + data[at + len(text) :])
            cases.fault(f"{text!r} at {at}", [wrong], {"HEADER"})
        for count in (64 * 40, (1 << 32) - 1):
            # Known when the last word is through the decoder: what follows at once may go with it.
            long = edited(data, count=count)
            cases.add(f"count {count}", ([long], [Stream()], {"LENGTH"}), after)
            cases.add(f"count {count}", ([long, FOLLOW[k]], [Stream(), LOST[k]], {"LENGTH"}), after)
        small = Stream(None, None)
        for count in (1, 64, 65):
            # Too small a count leaves words over, which nobody looks at.
            phase = ([edited(data, count=count)], [small], {"NONE"})
            cases.add(f"count {count}", phase, after)


def add_schedules(cases: Cases, shuffled: int) -> None:
    """Orders of blocks that no decoder can follow, or nothing in a string; with a right CRC."""
    rng = random.Random(5)
    shapes = [([0] * 12 + [1] * 9, (6, 6)), ([1] * 12 + [0] * 12, (2, 3))]
    shapes += [([kind] * n, (2, 2)) for kind in (0, 1) for n in (2, 5, 40)]
    for _ in range(shuffled):
        values, indexes = rng.randint(1, 14), rng.randint(1, 14)
        kinds = [0] * values + [1] * indexes
        rng.shuffle(kinds)
        shapes.append((kinds, (rng.randint(1, 17), rng.randint(1, 17))))
    causes = {"NONE", "LENGTH", "SCHEDULE"}
    for number, (kinds, first) in enumerate(shapes):
        for count in (64, 64 * 170, 64 * 999):
            k = number % 2
            bad = [hand_made(FORMATS[k], count, kinds, first=first)]
            name = f"{count}, {kinds}, {first}"
            unknown = Stream(None, None)
            then = ([FOLLOW[k]], [AFTER[k]], {"NONE"})
            cases.add(name, (bad, [unknown], causes), then)
            cases.add(name, ([*bad, FOLLOW[k]], [unknown, LOST[k]], causes), then)
    for form in FORMATS:
        for other in (0, 1):
            for n in range(2, 17, 2):
                # The last words of one string fill its queue, and nothing more comes.
                first = (n, n)
                bad = [hand_made(form, 64 * 999, [other] + [1 - other] * 5, first=first)]
                cases.add(f"full {other} {n}", (bad, [Stream()], {"SCHEDULE", "LENGTH"}))
    for k, data in enumerate(STREAMS):
        for bit in range(2, 32):
            changed = reseal(flipped(data, 8 * WEIGHT_HEADER_BYTES + bit))
            # Beyond the last block, bits of the schedule mean nothing.
            cases.add(f"schedule bit {bit}", ([changed], [good(FORMATS[k], data)], {"NONE"}))


@pytest.mark.build
def test_axi_decoder_ends_what_has_a_wrong_shape() -> None:
    cases = Cases()
    add_shapes(cases)
    add_headers(cases)
    cases.run()


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [0, 60])
def test_axi_decoder_ends_impossible_schedules(shuffled: int) -> None:
    cases = Cases()
    add_schedules(cases, shuffled)
    cases.run()


def add_combinations(cases: Cases, count: int) -> None:
    """Good and bad streams in every order, in packets of one or several; stuck outputs."""
    rng = random.Random(7)
    long = [weight_stream(form, 40, 64, 9) for form in FORMATS]
    bad = [flipped(data, 8 * len(data) - 1) for data in (*STREAMS, *long)]
    bad += [flipped(data, bit) for data in STREAMS for bit in (0, 70, 100, 200)]
    bad += [data[: 4 * n] for data in long for n in (1, 6, 9, 33)]
    rights = [(form, data) for form, data in zip(FORMATS * 3, STREAMS + FOLLOW + long, strict=True)]
    for number in range(count):
        packets: list[bytes] = []
        streams: list[Stream] = []
        for _ in range(rng.randint(1, 5)):
            if rng.randrange(2):
                chosen = [rng.choice(rights) for _ in range(rng.randint(1, 3))]
                packets.append(b"".join(data for _, data in chosen))
                # A fault takes nothing with it but the rest of its own packet.
                streams += [good(*pair) for pair in chosen]
            else:
                packets.append(rng.choice(bad) + rng.choice([b"", b"", FOLLOW[0]]))
                streams.append(Stream())
        k = number % 2
        patterns = {key: rng.choice(["none", "random", "bursts"]) for key in ("source", "sink")}
        first = {"stuck": 2000} if number % 4 == 0 else {}
        causes = {"NONE", "CRC", "HEADER", "NETWORK", "TRUNCATED"}
        then = ([FOLLOW[k]], [AFTER[k]], {"NONE"})
        cases.add(
            f"mix {number}", (packets, streams, causes), then, first=first, seed=number, **patterns
        )


def add_aborts(cases: Cases) -> None:
    """Software gives up, or a reset comes, after every so many clocks."""
    for key in ("abort", "reset"):
        for number, clock in enumerate(range(1, 150, 3)):
            k = number % 2
            streams = [good(FORMATS[k], STREAMS[k], must=False), LOST[k]] * 2
            phase = ([STREAMS[k] + FOLLOW[k], STREAMS[k], FOLLOW[k]], streams, {"NONE", "ABORTED"})
            then = ([FOLLOW[k]], [AFTER[k]], {"NONE"})
            sink = ("none", "bursts", "slow")[number // 2 % 3]
            first: dict[str, Any] = {key: clock}
            if number % 5 == 0:
                first["stuck"] = 400
            cases.add(f"{key} {clock}", phase, then, first=first, sink=sink, source="random")


@pytest.mark.build
@pytest.mark.parametrize("count", [16, pytest.param(400, marks=pytest.mark.slow)])
def test_axi_decoder_takes_good_and_bad_streams_in_any_order(count: int) -> None:
    cases = Cases()
    add_combinations(cases, count)
    cases.run()


@pytest.mark.slow
def test_axi_decoder_aborts_and_resets_at_any_time() -> None:
    cases = Cases()
    add_aborts(cases)
    cases.run()


@pytest.mark.build
def test_axi_decoder_holds_many_short_streams_while_stalled() -> None:
    cases = Cases()
    ones = [(form, weight_stream(form, 1, 64, k)) for k, form in enumerate(FORMATS * 8)]
    streams = [good(form, data) for form, data in ones]
    for packets in ([data for _, data in ones], [b"".join(data for _, data in ones)]):
        cases.add("short streams", (packets, streams, {"NONE"}), first={"stuck": 600})
    cases.run()


@pytest.mark.build
@pytest.mark.parametrize(
    # The proof of the join is about any number.
    "faults",
    [2, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)],
)
def test_axi_decoder_closes_a_packet_though_a_second_fault_comes_meanwhile(faults: int) -> None:
    cases = Cases()
    for k, form in enumerate(FORMATS):
        long = weight_stream(form, 12, 64, 2)
        bad = [flipped(long, 8 * len(long) - 1), flipped(STREAMS[k], 0), flipped(STREAMS[k], 0)]
        lost = [Stream()] * faults
        for stuck in range(35, 90, 5):
            phase = ([*bad[:faults], FOLLOW[k]], [*lost, AFTER[k]], {"CRC"})
            cases.add(f"stuck for {stuck}", phase, first={"stuck": stuck}, sink="x" * 60 + ".")
    cases.run()
