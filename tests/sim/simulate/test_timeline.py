# SPDX-License-Identifier: Apache-2.0
"""``simulate --timeline``: what it records is what the rate words say."""

import json

from xorloom.sim.report.page import write_report
from xorloom.sw.golden.bus import bus_words, payload
from xorloom.sw.spec.config import WindowConfig

from tests.helpers.cli import refuses, xorloom

SMALL = ["--n-in", 8, "--n-out", 64, "--window", 64, "--frame", 16, "--bus-bits", 32]
CONFIG = WindowConfig(n_in=8, n_out=64, window=64, shared=32, frame=16, bus_bits=32)


def slices_by_chunk(stream: bytes, slices: int) -> list[bool]:
    """Spread slices over the first frame's chunks as FORMAT.md tells."""
    _, words = payload(CONFIG, bus_words(stream, 32))
    rate = next(words) & ((1 << CONFIG.rate_bits) - 1)
    steps = 16 + (rate << CONFIG.rate_shift)
    made, chunk = [], 0
    while sum(made) < slices:
        # The window is full after 7 chunks; slice k comes at chunk 7 + ceil((k + 1) steps / 16).
        made.append(chunk + 1 == 7 + -(-(sum(made) + 1) * steps // 16))
        chunk += 1
    return made


def test_timeline_is_what_the_rate_word_says(tmp_path, monkeypatch):
    from xorloom.sim.simulate import cases as simulate_cases

    streams = []
    case = simulate_cases.iid_case

    def kept(*args, **more):
        found = case(*args, **more)
        streams.extend(found.streams)
        return found

    monkeypatch.setattr(simulate_cases, "iid_case", kept)
    out, _ = xorloom("simulate", "--iid", 0.6, "--weights", 3000, *SMALL, "--timeline", "--json")
    row = json.loads(out)
    assert row["bit_exact"]
    lines = row["timeline"]
    (clocks,) = {len(line) for line in lines.values()}
    left = [v == r == "1" for v, r in zip(lines["out_valid"], lines["out_ready"], strict=True)]
    assert sum(left) == CONFIG.frame
    assert left[-1]
    steps = [n for n in range(clocks - 1) if lines["step"][n] == "1"]
    made = [lines["has_slice"][n + 1] == "1" for n in steps]
    expected = slices_by_chunk(streams[0], CONFIG.frame)
    assert made[: len(expected)] == expected
    opened = [number for number, n in enumerate(steps) if lines["opens_frame"][n + 1] == "1"]
    assert opened[0] == 0
    assert opened[1:] in ([], [len(expected)])
    path = tmp_path / "timeline.json"
    path.write_text(out)
    write_report([path], tmp_path / "report.html", "t")
    assert "one frame, 32 a row" in (tmp_path / "report.html").read_text()


def test_timeline_is_of_the_window_decoder_only():
    text = "--timeline shows the window decoder's frames, not --value block"
    refuses(text, "simulate", "--value", "block", "--weights", 1000, "--timeline")
