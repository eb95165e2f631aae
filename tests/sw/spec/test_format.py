# SPDX-License-Identifier: Apache-2.0
"""FORMAT.md's worked examples, decoded with what the text says and no more."""

import zlib
from pathlib import Path

import numpy as np
import xorloom.sw
from xorloom.sw.index.plane import encode_index
from xorloom.sw.memory.weight_stream import join_streams, split_stream
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import BitmapConfig, TrellisConfig
from xorloom.sw.spec.weight_format import WeightFormat
from xorloom.sw.value.direct.codec import decode
from xorloom.sw.value.direct.stream import unpack_direct
from xorloom.sw.value.window import codec as window_codec
from xorloom.sw.value.window import stream as window_stream

CONFIG = WindowConfig(
    n_in=8,
    n_out=64,
    window=64,
    own_taps=1,
    shared_taps=2,
    shared=16,
    parity_taps=3,
    frame=16,
    bus_bits=32,
    network_seed=1,
)


def example(title: str = "9.2 Window codec") -> dict[str, str]:
    """Read an example's lines; continuation lines and remarks are cut off."""
    path = Path(xorloom.sw.__file__).with_name("FORMAT.md")
    text = path.read_text(encoding="utf-8").split(f"### {title}")[1].split("```")[1]
    facts: dict[str, str] = {}
    key = ""
    for line in text.strip("\n").splitlines():
        key = line[:10].strip() or key
        facts[key] = facts.get(key, "") + " " + line[10:].split("   ")[0].strip()
    return {key: value.strip() for key, value in facts.items()}


def test_window_example_is_what_the_encoder_writes() -> None:
    facts = example()
    mask = np.array([bit == "1" for bit in facts["mask"]])
    codes = np.array([0 if code == "." else int(code) for code in facts["codes"]], np.uint8)
    encoded = window_codec.encode(mask, codes, 2, CONFIG, order="skewed")
    data, _ = window_stream.pack_window(encoded, CONFIG)
    assert data == bytes.fromhex(facts["stream"])
    rows = [f"{row:016x}" for row in CONFIG.network.rows]
    assert facts["rows"].split() == [*rows[:4], "...", rows[-1]]
    network = CONFIG.network
    for key, value in (("parities", network.parities), ("own", network.own)):
        shown = facts[key].removesuffix("...").split()
        assert shown == [",".join(map(str, taps)) for taps in value[: len(shown)]]


def test_window_example_decodes_by_hand() -> None:
    facts = example()
    data = bytes.fromhex(facts["stream"])
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little")
    assert zlib.crc32(CONFIG.identity.encode()) == int.from_bytes(data[8:12], "little")
    payload = data[16:-4]
    rows = CONFIG.network.rows
    # Rate word 0: a slice a step. W - n_in bits enter before, so slice k sees chunks k .. k + 7.
    for k, want in enumerate(facts["slices"].split()):
        window = int.from_bytes(payload[k : k + 8], "little")
        bits = sum(((row & window).bit_count() & 1) << j for j, row in enumerate(rows))
        assert f"{bits:016x}" == want
        for lane in range(32 if k == 0 else 18):
            length = 2 if lane < 18 else 1
            start = 2 * lane if lane < 18 else 18 + lane
            turn = (40503 * lane % 65536) * length // 65536
            code = facts["codes"][start + (k + turn) % length]
            assert code == "." or int(code) == bits >> (2 * lane) & 3


def test_trellis_example_is_the_code_and_decodes_by_hand() -> None:
    facts = example("9.3 Trellis index")
    config = TrellisConfig(
        n_in=4, n_out=10, window=6, minterms=4, classes=4, period=16, bus_bits=32, network_seed=1
    )
    code = config.code
    shown = {
        "steps": [str(u) for u in code.steps],
        "picks": [",".join(map(str, hand)) for hand in code.picks],
        "tables": [f"{table:x}" for table in code.tables],
        "gates": [",".join(map(str, gate)) for gate in code.gates],
    }
    assert facts["steps"].split() == shown["steps"]
    for key in ("picks", "tables", "gates"):
        assert facts[key].split() == [*shown[key][:4], "...", shown[key][-1]]
    own, following = facts["own"].removesuffix("...").split("|")
    known = [",".join(map(str, parity)) for parity in code.parities[0]]
    assert known == own.split() + facts["known"].removeprefix("...").split()
    assert ",".join(map(str, code.parities[1][0])) == following.strip()
    data = bytes.fromhex(facts["stream"])
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little")
    assert zlib.crc32(b"4,10,6,4,4,16,1") == int.from_bytes(data[8:12], "little")
    payload = int.from_bytes(data[16:-4], "little")
    classes = [payload >> 2 * j & 3 for j in range(10)]
    seeds = payload >> 20 << 5  # five zeros come before the stream
    for beat, want in enumerate(facts["mask"].split()):
        for j, bit in enumerate(want):
            window = seeds >> 4 * beat + code.steps[j]
            taps = [code.parities[code.steps[j]][pick] for pick in code.picks[j]]
            p = sum((sum(window >> t & 1 for t in taps[k]) & 1) << k for k in range(4))
            x, y, z, t = (window >> at & 1 for at in code.gates[j])
            found = code.tables[j] >> p & 1
            found &= x ^ y if classes[j] & 1 else 1
            found &= z & t if classes[j] & 2 else 1
            assert found == int(bit)


def test_weight_example_is_what_the_encoder_writes() -> None:
    window, facts = example(), example("9.6 Weight stream")
    index = BitmapConfig(n_out=32, bus_bits=32)
    mask = np.array([bit == "1" for bit in window["mask"]])
    streams = bytes.fromhex(window["stream"]), bytes.fromhex(facts["index"])
    assert encode_index(mask, index, "skewed", 0).streams == streams[1]
    form = WeightFormat(CONFIG, 2, index)
    data, payload_bits = join_streams(*streams, form)
    assert data == bytes.fromhex(facts["stream"])
    assert payload_bits == 5 * 32
    assert split_stream(data, form) == streams


def test_weight_example_comes_apart_by_hand() -> None:
    window, facts = example(), example("9.6 Weight stream")
    data = bytes.fromhex(facts["stream"])
    value, index = bytes.fromhex(window["stream"]), bytes.fromhex(facts["index"])
    assert data[:8] == b"XL\x01\x11" + (100).to_bytes(4, "little")
    network = zlib.crc32(b"8,64,64,1,2,16,3,16,0,1/2/1/32")
    assert int.from_bytes(data[8:12], "little") == network
    crc = zlib.crc32(data[:16] + bytes(4) + data[20:])
    assert int.from_bytes(data[16:20], "little") == crc
    blocks, (f_value, f_index) = int.from_bytes(data[12:16], "little"), data[20:22]
    assert (blocks, f_value, f_index) == (2, 2 + (3 - 2) % 16, 2)
    assert len(data) == 4 * (6 + 1 + f_value + f_index)
    assert data[24:28] == bytes([0b10, 0, 0, 0])
    assert data[28:40] == value[16:-4]
    assert data[40:] == index[16:-4]
    # Rate word 0: slice 0 takes eight chunks, slice 1 a ninth.
    ends = [8, 9]
    value_dates = [min(e for e in (0, 1) if 32 * w // 8 <= ends[e]) for w in range(3)]
    index_dates = [32 * w // 32 for w in range(2)]
    shown = [[int(date) for date in part.split()] for part in facts["dates"].split("|")]
    assert shown == [value_dates, index_dates]


def test_direct_example_decodes_by_hand() -> None:
    facts = example("9.8 Direct codec")
    config = DirectConfig(n_in=6, n_out=12, planes=3, window=6, taps=3, bus_bits=32, network_seed=1)
    hands = [[tuple(map(int, h.split(","))) for h in facts[f"phase {p}"].split()] for p in (0, 1)]
    assert config.network.rows == tuple(tuple(hand) for hand in hands)
    steps = [int(step) for step in facts["steps"].split()]
    data = bytes.fromhex(facts["stream"])
    assert zlib.crc32(data[:-4]) == int.from_bytes(data[-4:], "little")
    assert zlib.crc32(b"6,12,3,6,3,1") == int.from_bytes(data[8:12], "little")
    levels = np.frombuffer(data[16:24], np.int8)
    assert levels.tolist() == [-127, -76, -43, -14, 14, 43, 76, 127]
    seeds = int.from_bytes(data[24:28], "little") << 5  # five zeros come before the stream
    codes = []
    for beat, want in enumerate(facts["slices"].split()):
        found = 0
        for lane, step in enumerate(steps):
            window = seeds >> 6 * beat + step
            bits = [sum(window >> t & 1 for t in hand) & 1 for hand in hands[lane % 2]]
            codes.append(sum(bit << b for b, bit in enumerate(bits)))
            found |= codes[-1] << 3 * lane
        assert f"{found:x}" == want
    assert codes[:10] == [int(code) for code in facts["codes"].split()]
    read = unpack_direct(data, config, order="column", weights=10, slices_per_stream=3)
    assert decode(read, (5, 2), config).T.reshape(-1).tolist() == codes[:10]
