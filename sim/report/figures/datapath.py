# SPDX-License-Identifier: Apache-2.0
"""Datapath figure of the report: the decoder as its configuration makes it."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from xorloom.sim.report.results.input import Piece
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.spec.config import BlockConfig, WindowConfig

from .figure import Figure, Table

__all__ = ["datapath_figure"]

_HEAD = "arrow-head"
_WIDTH = 380
"""Width of the drawing: a phone's, so that text keeps its size there."""


def _box(x: int, y: int, width: int, height: int, title: str, *lines: str, kind: str = "") -> str:
    """Draw a box with a title and lines of text in its middle."""
    middle = x + width / 2
    top = y + height / 2 - 8 * len(lines)
    texts = [f'<text class="name" x="{middle}" y="{top + 5:g}">{escape(title)}</text>']
    texts += [
        f'<text class="fact" x="{middle}" y="{top + 21 + 16 * n:g}">{escape(line)}</text>'
        for n, line in enumerate(lines)
    ]
    return (
        f'<rect class="box {kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="7"/>'
        + "".join(texts)
    )


def _arrow(points: Sequence[tuple[int, int]], text: str = "", dx: int = 8, dy: int = 0) -> str:
    """Draw a line through points with a head at its end, and a text beside its first stretch."""
    path = "M" + " L".join(f"{x} {y}" for x, y in points)
    (x0, y0), (x1, y1) = points[:2]
    words = (
        f'<text class="wire" x="{(x0 + x1) / 2 + dx:g}" y="{(y0 + y1) / 2 + 4 + dy:g}">'
        f"{escape(text)}</text>"
        if text
        else ""
    )
    return f'<path class="arrow" d="{path}" marker-end="url(#{_HEAD})"/>{words}'


def _svg(parts: Sequence[str], height: int, title: str) -> str:
    head = (
        f'<defs><marker id="{_HEAD}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path class="head" d="M0 0 L8 4 L0 8 z"/></marker></defs>'
    )
    return (
        f'<svg class="datapath" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="{escape(title)}">{head}{"".join(parts)}</svg>'
    )


def _window_parts(config: WindowConfig, y: int, x: int, width: int) -> tuple[list[str], int]:
    """Draw the window decoder in a column; return its parts and the y of its output."""
    middle = x + width // 2
    left, right = x + width // 4, x + 3 * width // 4
    rate = "rate word per frame"
    parts = [
        _box(x, y, width, 44, "reader", f"words to chunks of {config.n_in} bits"),
        _arrow([(middle, y + 44), (middle, y + 78)], f"{config.n_in} bits per step"),
        _box(x, y + 78, width, 60, "window", f"the newest {config.window} seed bits", kind="state"),
    ]
    y += 138
    if config.shared:
        parts += [
            _arrow([(left, y), (left, y + 38)], f"{config.parity_taps} of {config.window} each"),
            _box(
                x,
                y + 38,
                width // 2 - 8,
                60,
                "parities",
                f"{config.shared} shared",
                f"XORs of {config.parity_taps} bits",
            ),
            _arrow([(left, y + 98), (left, y + 134)], f"{config.shared_taps} each"),
        ]
    parts += [
        _arrow([(right, y), (right, y + 134)], f"{config.own_taps} of {config.window} each"),
        _box(
            x,
            y + 134,
            width,
            60,
            "network",
            f"{config.n_out} outputs, each the XOR of",
            _count(config.own_taps, "window bit", "window bits")
            + (f" and {_count(config.shared_taps, 'parity', 'parities')}" if config.shared else ""),
        ),
    ]
    y += 194
    if config.patches:
        parts += [
            _arrow([(middle, y), (middle, y + 30)]),
            _box(x, y + 30, width, 44, "patch unit", f"flips {config.patches} bit per slice"),
        ]
        y += 74
    parts += [
        _arrow([(middle, y), (middle, y + 34)], f"{config.n_out} bits per slice"),
        _box(
            x,
            y + 34,
            width,
            60,
            "rate control",
            f"{rate}: {config.frame} slices",
            "which steps yield a slice",
            kind="state",
        ),
    ]
    return parts, y + 94


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def _index_text(index: Mapping[str, Any] | None) -> tuple[str, list[str]] | None:
    """Return codec and facts of an index decoder."""
    if not index or "n_out" not in index:
        return None
    codec = str(index.get("codec", ""))
    if "minterms" in index:
        facts = [
            f"per beat {index['n_in']} seed bits",
            f"to {index['n_out']} mask bits",
            f"window of {index['window']} bits",
            f"{index['minterms']} of 16 minterms",
        ]
        return codec or "trellis", facts
    facts = ["per beat", f"{index['n_out']} mask bits"]
    facts += [f"{key} {index[key]}" for key in ("lanes", "rank") if key in index]
    return codec or "bitmap", facts


def _whole(config: WindowConfig, index: tuple[str, list[str]] | None) -> tuple[list[str], int]:
    """Draw memory, the value decoder, the index decoder beside it, and the output."""
    wide = _WIDTH - 20
    parts = [_box(10, 6, wide, 44, "memory", f"one linear stream of {config.bus_bits}-bit words")]
    if index is None:
        inner, y = _window_parts(config, 96, 10, wide)
        parts.append(_arrow([(_WIDTH // 2, 50), (_WIDTH // 2, 96)], f"{config.bus_bits} bits"))
        parts += inner
        parts.append(_arrow([(_WIDTH // 2, y), (_WIDTH // 2, y + 38)], "m_axis"))
        parts.append(_box(10, y + 38, wide, 44, "accelerator", f"{config.n_out} bits per beat"))
        return parts, y + 90
    codec, facts = index
    split, left = 228, 10
    inner, y = _window_parts(config, 146, left, split - left)
    x, width = split + 14, _WIDTH - 10 - split - 14
    parts += [
        _arrow([(_WIDTH // 2, 50), (_WIDTH // 2, 76)], f"{config.bus_bits} bits, AXI4"),
        _box(10, 76, wide, 44, "stream parser", "header, schedule, CRC-32; values and index apart"),
        _arrow([(left + (split - left) // 2, 120), (left + (split - left) // 2, 146)], "values"),
        _arrow([(x + width // 2, 120), (x + width // 2, 180)], "index"),
        *inner,
    ]
    height = 40 + 17 * len(facts)
    parts.append(_index_box(x, 180, width, height, f"{codec} index", facts))
    parts += [
        _arrow([(left + (split - left) // 2, y), (left + (split - left) // 2, y + 38)], "codes"),
        _arrow([(x + width // 2, 180 + height), (x + width // 2, y + 38)], "mask"),
        _box(
            10,
            y + 38,
            wide,
            44,
            "join, m_axis",
            f"{config.n_out} bits of codes and their mask per beat",
        ),
    ]
    return parts, y + 90


def _index_box(x: int, y: int, width: int, height: int, title: str, facts: list[str]) -> str:
    box = f'<rect class="box index" x="{x}" y="{y}" width="{width}" height="{height}" rx="7"/>'
    middle = x + width / 2
    box += f'<text class="name" x="{middle}" y="{y + 22}">{escape(title)}</text>'
    return box + "".join(
        f'<text class="small" x="{middle}" y="{y + 42 + 16 * n}">{escape(fact)}</text>'
        for n, fact in enumerate(facts)
    )


def _block_parts(config: BlockConfig) -> tuple[list[str], int]:
    """Draw the paper's block decoder."""
    wide, middle = _WIDTH - 20, _WIDTH // 2
    heads = [
        ("memory", f"one linear stream of {config.bus_bits}-bit words", f"{config.bus_bits} bits"),
        (
            "stream parser",
            f"n_patch fields of {config.block_groups} groups share a width",
            f"{config.lanes} x {config.n_in} seed bits",
        ),
        (
            f"{config.lanes} lanes: XOR network",
            f"{config.n_in} seed bits to {config.n_out} slice bits, fixed, random",
            f"{config.lanes} x {config.n_out} bits",
        ),
        (
            "patch unit",
            f"{_count(config.patches_per_cycle, 'patch', 'patches')} per lane and clock, "
            f"{config.position_bits} bits each",
            "m_axis",
        ),
        ("accelerator", f"{config.lanes * config.n_out} bits per beat", ""),
    ]
    parts: list[str] = []
    for n, (title, line, wire) in enumerate(heads):
        y = 6 + 84 * n
        parts.append(_box(10, y, wide, 46, title, line))
        if wire:
            parts.append(_arrow([(middle, y + 46), (middle, y + 84)], wire))
    return parts, 6 + 84 * len(heads) - 30


def datapath_figure(piece: Piece, key: str) -> Figure:
    """Draw the decoder of a result that has a configuration.

    Raises
    ------
    FormatError
        If the configuration is not a decoder's.
    """
    values = piece.facts["config"]
    kind = WindowConfig if "window" in values else BlockConfig
    try:
        config = kind.from_dict(values)
    except (ConfigError, TypeError) as error:
        raise FormatError(f"{piece.source}: config: {error}") from error
    given = piece.facts.get("index")
    index = None
    if isinstance(given, dict):
        inner = given.get("config", given)
        index = _index_text({"codec": given.get("codec", ""), **inner})
    if isinstance(config, WindowConfig):
        parts, height = _whole(config, index)
        what = f"window decoder, n_in {config.n_in}, n_out {config.n_out}"
    else:
        parts, height = _block_parts(config)
        what = f"block decoder, n_in {config.n_in}, n_out {config.n_out}"
    rows = [(name, str(value)) for name, value in values.items()]
    if isinstance(given, dict):
        inner = given.get("config", given)
        rows += [(f"index {name}", str(value)) for name, value in inner.items()]
    return Figure(
        key,
        "Datapath",
        "Follow the bits downwards: what the memory delivers, what is made of it each clock, and "
        "what leaves. All numbers are this decoder's.",
        (piece.command,),
        Table(("parameter", "value"), tuple(rows)),
        drawing=_svg(parts, height, f"datapath of the {what}").replace(_HEAD, f"{key}-head"),
    )
