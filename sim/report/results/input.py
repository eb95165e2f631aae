# SPDX-License-Identifier: Apache-2.0
"""Input of the report: JSON of commands, cut into pieces of one kind each."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.model.metrics import TensorBits

from .schema import KINDS, TENSOR, Kind, check, check_row

__all__ = ["Piece", "read_pieces", "result_files"]


@dataclass(frozen=True)
class Piece:
    """Piece: what one command measured of one kind.

    Parameters
    ----------
    kind : str
        Kind of result; decides its place in the report.
    command : str
        The command that made it.
    source : str
        Name of the file.
    rows : tuple of dict
        Checked: every key that the report reads is there and of its type.
    facts : dict
        Facts that hold for all rows.
    bits : dict of TensorBits
        By tensor, of kind ``bits``.
    errors : dict of float or None
        Relative squared errors of these.
    """

    kind: str
    command: str
    source: str
    rows: tuple[dict[str, Any], ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    bits: Mapping[str, TensorBits] = field(default_factory=dict)
    errors: Mapping[str, float | None] = field(default_factory=dict)


def read_pieces(paths: Sequence[Path]) -> list[Piece]:
    """Read JSON files, and all of those in folders by name.

    Of two files of the same command, the later one counts.

    Raises
    ------
    ConfigError
        If there is no file, or the report does not know the command of one.
    FormatError
        If a file is damaged, or lacks a key that its command writes.
    """
    files: list[Path] = []
    for path in paths:
        found = result_files(path)
        if not found:
            raise ConfigError(f"{path}: no .json file in this folder (run make report)")
        if not found[0].is_file():
            raise ConfigError(f"{path}: no such file or folder")
        files += found
    by_command: dict[tuple[str, str], list[Piece]] = {}
    for path in files:
        pieces = list(_pieces(path))
        for key in {(piece.kind, piece.command) for piece in pieces}:
            by_command.pop(key, None)
        for piece in pieces:
            by_command.setdefault((piece.kind, piece.command), []).append(piece)
    return [piece for pieces in by_command.values() for piece in pieces]


def result_files(path: Path) -> list[Path]:
    """Return a file itself, and of a folder its results by name."""
    if not path.is_dir():
        return [path]
    return [file for file in sorted(path.glob("*.json")) if file.is_file()]


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FormatError(
            f"{path}: not JSON: {error} (expected what a command with --json wrote)"
        ) from error


def _pieces(path: Path) -> Iterator[Piece]:
    """Yield the pieces of one file."""
    value = _load(path)
    items = value if isinstance(value, list) else [value]
    if not items:
        raise FormatError(f"{path}: an empty list, expected the rows of a command")
    commands: dict[str, list[tuple[str, Any]]] = {}
    for number, item in enumerate(items):
        place = f"{path}: row {number}" if isinstance(value, list) else f"{path}"
        if not isinstance(item, dict):
            raise FormatError(f"{place}: expected an object, found {type(item).__name__}")
        command = item.get("command")
        if not isinstance(command, str) or not command.strip():
            raise FormatError(
                f'{place}: no "command" (expected what xorloom ... --json writes, which names its '
                "command)"
            )
        commands.setdefault(command, []).append((place, item))
    for command, group in commands.items():
        kind = _kind(path, command, group[0][1])
        if isinstance(value, list) or kind.one:
            rows = []
            for place, item in group:
                check_row(item, kind, place)
                rows.append(item)
            facts = rows[0] if kind.one else {}
            yield Piece(kind.name, command, path.name, tuple(rows), facts)
            if "timeline" in rows[0] and rows[0]["timeline"]:
                check(rows[0], {"timeline": "wave", "config": "map"}, group[0][0])
                yield Piece("timeline", command, path.name, (rows[0]["timeline"],), rows[0])
        else:
            yield from _object(kind, command, path, group[0][1])


def _kind(path: Path, command: str, item: Mapping[str, Any]) -> Kind:
    """Return the kinds of result that a command makes."""
    try:
        words = [word for word in shlex.split(command) if not word.startswith("-")]
    except ValueError as error:
        raise FormatError(f"{path}: command {command!r} is damaged: {error}") from error
    verbs = [" ".join(words[1:n]) for n in (3, 2)]
    for kind in KINDS:
        if set(verbs) & set(kind.verbs) and (kind.mark in item or not kind.mark):
            return kind
    known = sorted({verb for kind in KINDS for verb in kind.verbs})
    raise ConfigError(
        f"{path}: the report shows nothing of {command!r} (expected one of {', '.join(known)})"
    )


def _object(kind: Kind, command: str, path: Path, item: Mapping[str, Any]) -> Iterator[Piece]:
    """Yield the pieces of an object: rows, tensors, or several kinds."""
    name = path.name
    check(item, kind.facts, f"{path}")
    if kind.name == "demo":
        yield _bits(command, path, item, item["bits"])
        yield _rows("kept", command, path, item, "kept")
        yield _rows("synthesis", command, path, item, "synthesis")
        simulation = item["simulation"]
        check_row(simulation, _kind_named("simulation"), f"{path}: simulation")
        yield Piece("simulation", command, name, (simulation,), simulation)
    elif kind.name == "bits":
        if "config" not in item:  # several decoders
            check(item, {"decoders": "list"}, f"{path}")
            for number, decoder in enumerate(item["decoders"]):
                check(decoder, {"config": "map"}, f"{path}: decoders[{number}]")
        yield _bits(command, path, item, item["tensors"])
        if item.get("kept"):
            yield _rows("kept", command, path, item, "kept")
    else:
        yield _rows(kind.name, command, path, item, kind.rows)


def _kind_named(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def _rows(name: str, command: str, path: Path, item: Mapping[str, Any], key: str) -> Piece:
    check(item, {key: "list"}, f"{path}")
    for number, row in enumerate(item[key]):
        check_row(row, _kind_named(name), f"{path}: {key}[{number}]")
        if name == "bandwidth":
            cases = dict.fromkeys(item["bits_per_weight"], "number")
            check(item["bits_per_weight"], cases, f"{path}: bits_per_weight")
            check(row["mweights_per_s"], cases, f"{path}: {key}[{number}]: mweights_per_s")
    return Piece(name, command, path.name, tuple(item[key]), item)


def _bits(
    command: str, path: Path, item: Mapping[str, Any], tensors: Mapping[str, Mapping[str, Any]]
) -> Piece:
    names = {f.name for f in fields(TensorBits)}
    bits = {}
    for name, row in tensors.items():
        check(row, TENSOR, f"{path}: {name}")
        bits[name] = TensorBits(**{key: row[key] for key in names if key in row})
    if not bits:
        raise FormatError(f"{path}: no tensors, expected bits of at least one")
    errors = {name: row["error"] for name, row in tensors.items()}
    return Piece("bits", command, path.name, facts=item, bits=bits, errors=errors)
