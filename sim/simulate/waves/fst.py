# SPDX-License-Identifier: Apache-2.0
"""Waveform files: a simulator's dump as FST, with names of states in it, or as VCD."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pylibfst import ffi, lib
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.base.host import replaced

from .names import StateNames
from .vcd import Header, Variable, cut, first_rise, read_header

__all__ = ["WAVES", "Waveform", "check_waves", "fst_to_vcd", "write_waveform"]

WAVES = (".fst", ".vcd")
"""Formats that :func:`write_waveform` writes."""
_BEAT = "m_axis_tvalid"
"""Port of every decoder that is 1 while it offers a beat."""
_NO_CHANGES = b"\xff" + bytes(8)
"""Head of the block that the library begins and never ends where nothing changes."""
_SCALARS = frozenset(b"01xzXZ")


@dataclass(frozen=True)
class Waveform:
    """Contents of a written waveform.

    Parameters
    ----------
    path : Path
    variables : tuple of Variable
    ticks : int
        Time of the last change.
    first_beat : int, optional
        Time of the first beat that the decoder offers, in ticks.
    named : frozenset of str
        Variables with names for their states.
    """

    path: Path
    variables: tuple[Variable, ...]
    ticks: int
    first_beat: int | None
    named: frozenset[str]


def check_waves(path: Path, cycles: int | None = None) -> None:
    """Check the name of a waveform, and its number of clock cycles.

    Raises
    ------
    ConfigError
        If the name does not tell the format, or there are no cycles.
    """
    if cycles is not None and cycles < 1:
        raise ConfigError(f"a waveform has at least 1 cycle, not {cycles}")
    if path.suffix not in WAVES:
        raise ConfigError(f"a waveform's name ends in {' or '.join(WAVES)}, not {path.name!r}")


def fst_to_vcd(source: Path, target: Path) -> None:
    """Turn an FST file into VCD.

    Raises
    ------
    FormatError
        If it is not an FST file.
    """
    reader = lib.fstReaderOpen(str(source).encode())
    if reader == ffi.NULL:
        raise FormatError(f"{source}: no FST waveform")
    with target.open("wb") as out:
        lib.fstReaderProcessHier(reader, out)
        lib.fstReaderSetFacProcessMaskAll(reader)
        lib.fstReaderIterBlocks(reader, ffi.NULL, ffi.NULL, out)
    lib.fstReaderClose(reader)


@contextmanager
def _fst(path: Path, timescale: bytes) -> Iterator[object]:
    """Yield a writer of an FST file without a date: the same waveform gives the same bytes."""
    writer = lib.fstWriterCreate(str(path).encode(), 1)
    if writer == ffi.NULL:
        raise ConfigError(f"{path.parent}: the waveform cannot be written there")
    try:
        lib.fstWriterSetPackType(writer, lib.FST_WR_PT_LZ4)
        lib.fstWriterSetTimescaleFromString(writer, timescale)
        lib.fstWriterSetVersion(writer, b"xorloom")
        lib.fstWriterSetDate(writer, b"-")
        yield writer
    finally:
        lib.fstWriterClose(writer)


def _enum_table(writer: object, names: StateNames, bits: int) -> int:
    """Put an enumeration in an FST file; return its number."""
    values = [ffi.new("char[]", value.encode()) for value in names.values]
    literals = [ffi.new("char[]", name.encode()) for name in names.values.values()]
    return int(
        lib.fstWriterCreateEnumTable(
            writer,
            names.name.encode(),
            len(values),
            bits,
            ffi.new("char *[]", literals),
            ffi.new("char *[]", values),
        )
    )


def _define(
    writer: object, header: Header, names: Mapping[str, StateNames]
) -> dict[bytes, tuple[int, int]]:
    """Write the definitions; return handle and bits of every variable by its key."""
    handles: dict[bytes, tuple[int, int]] = {}
    tables: dict[tuple[str, ...], int] = {}
    for item in header.items:
        if item.scope:
            lib.fstWriterSetScope(writer, lib.FST_ST_VCD_MODULE, item.scope, ffi.NULL)
        elif item.variable is None:
            lib.fstWriterSetUpscope(writer)
        else:
            bits = item.variable.bits
            states = names.get(item.variable.name)
            if states is not None:
                same = (states.name, *states.values, *states.values.values())
                if same not in tables:
                    tables[same] = _enum_table(writer, states, bits)
                lib.fstWriterEmitEnumTableRef(writer, tables[same])
            text = item.word if bits == 1 else item.word + b" [%d:0]" % (bits - 1)
            kind = lib.FST_VT_SV_ENUM if states else lib.FST_VT_VCD_WIRE
            direction = lib.FST_VD_IMPLICIT
            alias = handles.get(item.key, (0, 0))[0]
            handle = lib.fstWriterCreateVar(writer, kind, direction, bits, text, alias)
            handles.setdefault(item.key, (handle, bits))
    return handles


def _changes(
    lines: Iterator[bytes], writer: object, handles: Mapping[bytes, tuple[int, int]]
) -> int:
    """Write changes; return the time of the last one."""
    emit, time = lib.fstWriterEmitValueChange, 0
    for line in lines:
        head = line[0]
        if head == ord("#"):
            time = int(line[1:])
            lib.fstWriterEmitTimeChange(writer, time)
        elif head == ord("b"):
            value, key = line[1:].split()
            if key in handles:
                handle, bits = handles[key]
                fill = b"0" if value[:1] == b"1" else value[:1]
                emit(writer, handle, value.rjust(bits, fill))
        elif head in _SCALARS and (key := line[1:-1]) in handles:
            emit(writer, handles[key][0], line[:1])
    return time


def _copy(lines: Iterator[bytes], target: IO[bytes]) -> int:
    """Write changes unchanged; return the time of the last one."""
    time = 0
    for line in lines:
        if line[:1] == b"#":
            time = int(line[1:])
        target.write(line)
    return time


def _write_fst(
    out: IO[bytes], header: Header, lines: Iterator[bytes], names: Mapping[str, StateNames]
) -> int:
    """Write an FST file; return the time of the last change.

    The library opens files by name, so it gets a folder that only we can write to.
    """
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        made = Path(name) / "waves.fst"
        with _fst(made, header.timescale) as writer:
            ticks = _changes(lines, writer, _define(writer, header, names))
        with made.open("rb") as file:
            _check_whole(file, made)
            shutil.copyfileobj(file, out)
    return ticks


def _check_whole(file: IO[bytes], path: Path) -> None:
    """Check that an FST file ends where its last block does: the library tells of no full disk.

    Raises
    ------
    OSError
        If it does not.
    """
    # Ref: Hutterer, FST file format: type (1 byte), length from here on (8 bytes, big endian)
    size, end, block = file.seek(0, os.SEEK_END), 0, b""
    while end < size and block != _NO_CHANGES:
        file.seek(end)
        block = file.read(9)
        end += 1 + max(8, int.from_bytes(block[1:], "big"))
    if not size or (end != size and block != _NO_CHANGES):
        raise OSError(errno.ENOSPC, f"cannot write the waveform: is {path.parent.parent} full?")
    file.seek(0)


def write_waveform(
    source: Path,
    target: Path,
    *,
    names: Mapping[str, StateNames],
    stop: int | None = None,
) -> Waveform:
    """Write a simulator's dump in the format of the target's name.

    A dump in FST is first turned into VCD, which all simulators share. The FST that is written has
    names of states, and leaves out wires that tools made up; VCD cannot hold names, and keeps all
    wires.

    Parameters
    ----------
    source : Path
        VCD or FST.
    target : Path
        Appears whole or not at all. Its folder is made if it is missing.
    names : mapping of str to StateNames
        Enumerations by full names of variables.
    stop : int, optional
        Keep changes before this many ticks only.

    Raises
    ------
    ConfigError
        If the target's name does not tell a format.
    FormatError
        If the source is damaged.
    OSError
        If the target cannot be written, or the folder for temporary files is full; an old file
        stays.
    """
    check_waves(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix == ".fst":
        vcd = source.with_name(source.name + ".vcd")
        fst_to_vcd(source, vcd)
        source = vcd
    with source.open("rb") as file, replaced(target) as out:
        header = read_header(file, source)
        body = file.tell()
        variables = {item.variable: item.key for item in header.variables if item.variable}
        beat = [key for var, key in variables.items() if var.name.split(".")[1:] == [_BEAT]]
        first = first_rise(file, beat[0]) if beat else None
        file.seek(body)
        lines = cut(file, stop)
        if target.suffix == ".vcd":
            out.writelines(header.lines)
            ticks = _copy(lines, out)
        else:
            ticks = _write_fst(out, header, lines, names)
    named = frozenset(v.name for v in variables) & set(names) if target.suffix == ".fst" else ()
    return Waveform(target, tuple(variables), ticks, first, frozenset(named))
