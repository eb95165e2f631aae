# SPDX-License-Identifier: Apache-2.0
"""Register map: no overlaps, and every text says what the map says."""

import re
import subprocess
from pathlib import Path

import pytest
from xorloom.hw.ip.csr import (
    ADDRESS_BITS,
    CAUSES,
    COUNTERS,
    MAGIC,
    MAP,
    REGISTERS,
    Cause,
    c_header,
    identity,
    markdown,
    python_constants,
)

SIZES = {"bus_bits": 64, "n_out": 256, "planes": 4, "kinds": 0x70, "network": 0xDEADBEEF}
SIZES |= {"levels": 0, "planar": 0}
READER = {"reader": 1, "address_bits": 40, "align_bytes": 8, "queue": 4}


def constants() -> dict[str, int]:
    """Return what both generated texts must define, from the map by other means."""
    values = {"MAGIC": 0x4C58, "MAP_VERSION": 1}
    for register in REGISTERS:
        values[register.name] = register.offset
        for field in register.fields:
            if field.name != "VALUE":
                stem = f"{register.name}_{field.name}"
                values[f"{stem}_SHIFT"] = field.low
                ones = range(field.low, field.low + field.bits)
                values[f"{stem}_MASK"] = sum(1 << bit for bit in ones)
    return values | {f"CAUSE_{cause.name}": int(cause) for cause in Cause}


def test_map_has_no_overlaps_and_fits_the_port() -> None:
    offsets = [register.offset for register in REGISTERS]
    assert offsets == sorted(set(offsets))
    assert all(offset % 4 == 0 and offset < 1 << ADDRESS_BITS for offset in offsets)
    for register in REGISTERS:
        masks = [field.mask for field in register.fields]
        assert sum(masks) == sum({*masks}) <= 0xFFFFFFFF
        union = 0
        for mask in masks:
            assert not union & mask, register.name
            union |= mask
        assert all(field.access in ("ro", "rw", "w1c", "wo") for field in register.fields)
    assert len(MAP) == len(REGISTERS)


def test_offsets_of_version_1_stay() -> None:
    """Software in the field knows these numbers."""
    assert {name: MAP[name].offset for name in MAP} == {
        "ID": 0x00,
        "CONFIG": 0x04,
        "SHAPE": 0x08,
        "KINDS": 0x0C,
        "NETWORK": 0x10,
        "CONTROL": 0x20,
        "STATUS": 0x24,
        "IRQ_ENABLE": 0x28,
        "ADDRESS_LO": 0x30,
        "ADDRESS_HI": 0x34,
        "LENGTH": 0x38,
        "CYCLES": 0x40,
        "WORDS": 0x44,
        "STARVED": 0x48,
        "BLOCKED": 0x4C,
        "STALLED": 0x50,
        "BEATS": 0x54,
        "STREAMS": 0x58,
    }
    assert list(Cause) == list(range(12))
    assert MAP["STATUS"].pack(BUSY=1, DONE=1, ERROR=1, CAUSE=9, QUEUE_SPACE=4) == 0x497
    assert MAP["STATUS"]["IDLE"].mask == 8


def test_counters_are_one_block_of_eight() -> None:
    """The RTL finds a counter by the low three bits of its word address."""
    assert [MAP[name].offset // 4 % 8 for name in COUNTERS] == list(range(len(COUNTERS)))
    assert len({MAP[name].offset // 32 for name in COUNTERS}) == 1


def test_interrupt_enables_stand_where_status_has_the_bits() -> None:
    for field in MAP["IRQ_ENABLE"].fields:
        assert MAP["STATUS"][field.name].mask == field.mask


def test_pack_and_unpack_are_inverse() -> None:
    fields = {"BUS_BITS": 512, "PLANES": 8, "ADDRESS_BITS": 64, "READER": 1, "QUEUE": 4}
    assert MAP["CONFIG"].unpack(MAP["CONFIG"].pack(**fields)) == fields
    with pytest.raises(AssertionError, match=r"STATUS\.CAUSE"):
        MAP["STATUS"].pack(CAUSE=16)


def test_identity_tells_how_a_decoder_was_built() -> None:
    words = identity(**SIZES, **READER)
    assert words["ID"].to_bytes(4, "little") == b"XL\1\0"
    assert words["CONFIG"] == 64 | 4 << 12 | 40 << 20 | 1 << 27 | 4 << 28
    assert words["SHAPE"] == 256 | 8 << 16
    assert (words["KINDS"], words["NETWORK"]) == (0x70, 0xDEADBEEF)
    for flag, bit in (("levels", 29), ("planar", 30)):
        assert identity(**(SIZES | {flag: 1}), **READER)["SHAPE"] == words["SHAPE"] | 1 << bit
    words = identity(**SIZES, **(READER | {"reader": 0}))
    assert words["CONFIG"] == 64 | 4 << 12
    assert words["SHAPE"] == 256


def test_texts_are_the_same_every_time() -> None:
    for text in (markdown, c_header, python_constants):
        assert text() == text()
        assert text().endswith("\n")
        assert text().isascii()
        assert all(line == line.rstrip() for line in text().splitlines())


def test_markdown_has_every_field_and_cause() -> None:
    rows = [
        [cell.strip(" `") for cell in line.split("|")[1:-1]]
        for line in markdown().splitlines()
        if line.startswith("| ")
    ]
    fields = [(f"0x{r.offset:02x}", r.name, f.access) for r in REGISTERS for f in r.fields]
    assert [(row[0], row[1], row[4]) for row in rows if row[0].startswith("0x")] == fields
    causes = [(row[0], row[1]) for row in rows if row[0].isdigit()]
    assert causes == [(str(int(cause)), cause.name) for cause in Cause]
    assert "| `0x24` | `STATUS` | 7:4 | `CAUSE` | ro |" in markdown()
    assert list(CAUSES) == list(Cause)


def test_python_constants_are_those_of_the_map() -> None:
    scope: dict[str, object] = {}
    exec(python_constants(), scope)
    del scope["__builtins__"], scope["__doc__"]
    assert scope == constants()
    assert scope["MAGIC"] == MAGIC


def test_c_header_compiles_without_warnings_and_has_the_values_of_the_map(tmp_path: Path) -> None:
    names = constants()
    (tmp_path / "registers.h").write_text(c_header())
    lines = [f'    printf("{name} %lu\\n", (unsigned long)XORLOOM_{name});' for name in names]
    text = "\n".join(
        [
            '#include "registers.h"',
            '#include "registers.h" /* the guard */',
            "#include <stdio.h>",
            "int main(void)",
            "{",
            *lines,
            "    return 0;",
            "}",
            "",
        ]
    )
    (tmp_path / "main.c").write_text(text)
    flags = ["-Wall", "-Wextra", "-Werror", "-std=c99", "-pedantic"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    out = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    assert {line.split()[0]: int(line.split()[1]) for line in out.splitlines()} == names
    defined = set(re.findall(r"#define XORLOOM_(\w+) ", c_header()))
    assert defined == {name for name in names if not name.startswith("CAUSE_")}
