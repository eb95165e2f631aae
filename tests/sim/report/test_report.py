# SPDX-License-Identifier: Apache-2.0
"""The report: what of which JSON it shows, and what it refuses."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from xorloom.sim.cli.console import output
from xorloom.sim.cli.console.output import with_command
from xorloom.sim.report.figures.bits import PARTS, kept_figure
from xorloom.sim.report.figures.datapath import datapath_figure
from xorloom.sim.report.figures.figure import label, number, short_names, shorten
from xorloom.sim.report.figures.timeline import timeline_figure
from xorloom.sim.report.page import sections, tiles, write_report
from xorloom.sim.report.results.input import read_pieces
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.index.rate_distortion import share_bound

from tests.helpers.cli import refuses, xorloom
from tests.helpers.report import BLOCK, EXAMPLES, HOSTILE, TENSOR, timeline, written


class Page(HTMLParser):
    """Elements of a page with their attributes, and the texts of some."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open[-1]][-1] += data

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass


@pytest.fixture(scope="module")
def page_text(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    written(folder)
    xorloom("report", folder, "-o", folder / "out.html", "--title", "a <title> & more")
    return (folder / "out.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(page_text: str) -> Page:
    return Page(page_text)


def figures(folder: Path, *names: str, **changed: Any) -> dict[str, Any]:
    found = sections(read_pieces(written(folder, *names, **changed)))
    return {figure.key: figure for section in found for figure in section.figures}


ALL = (
    *("rate", "rate-2", "datapath", "datapath-2"),
    "timeline",
    "bits",
    "bits-2",
    "total",
    "kept",
    "efficiency",
    "curve",
    "area-lut",
    "area-fmax_mhz",
    "ratio",
    "units",
    "boards",
    "pareto",
    "roofline",
    "memories",
    "cycles",
    "table",
)


def test_page_has_a_figure_of_every_kind_with_its_commands(page: Page) -> None:
    articles = [attrs["id"] for tag, attrs in page.elements if tag == "article"]
    assert articles == list(ALL)
    links = {attrs["href"] for tag, attrs in page.elements if tag == "a"}
    assert {f"#{key}" for key in ALL} <= links
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert links <= {f"#{key}" for key in ids}
    commands = {text.strip() for text in page.texts["code"]}
    values = [v if isinstance(v, list) else [v] for v in EXAMPLES.values()]
    assert commands == {item["command"] for value in values for item in value}
    assert len(page.texts["table"]) == len(page.texts["details"]) == len(ALL)


def test_page_escapes_names_and_titles(page: Page, page_text: str) -> None:
    assert page.texts["title"][0] == "a <title> & more"
    assert page.texts["h1"] == ["a <title> & more"]
    assert "alert(1)" in page_text
    assert not [text for text in page.texts["script"] if text.strip() == "alert(1)"]
    assert len(page.texts["script"]) == 3
    assert any(HOSTILE in text for text in page.texts["th"])
    charts = json.loads(page.texts["script"][1])
    shown = json.dumps(charts["bits-2"])
    assert label("</script><scri") in shown
    assert "<script" not in shown


def test_charts_are_valid_plotly(page: Page) -> None:
    charts = json.loads(page.texts["script"][1])
    assert set(charts) == set(ALL) - {"datapath", "datapath-2", "timeline", "table"}
    for key, chart in charts.items():
        text = json.dumps(chart)
        # The page puts in the style sheet's colours; here any will do.
        go.Figure(json.loads(re.sub(r'"--[\w-]+"', '"#123456"', text)))
        assert chart["data"], key
        assert all(axis["fixedrange"] for k, axis in chart["layout"].items() if "axis" in k)


def test_report_bytes_depend_on_the_input_only(page_text: str, tmp_path: Path) -> None:
    files = written(tmp_path)
    write_report(sorted(files), tmp_path / "one.html", "a <title> & more")
    assert (tmp_path / "one.html").read_text(encoding="utf-8") == page_text
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".json"] == ["one.html"]


def test_sections_appear_only_with_their_data(tmp_path: Path) -> None:
    assert set(figures(tmp_path, "value")) == {"efficiency"}
    assert set(figures(tmp_path, "units")) == {"units"}
    assert set(figures(tmp_path, "speed")) == {"table"}
    assert set(figures(tmp_path, "compress")) == {"datapath", "bits", "kept"}
    write_report(written(tmp_path, "speed"), tmp_path / "small.html", "t")
    assert (tmp_path / "small.html").stat().st_size < 20_000  # no chart, so no script


def test_bits_are_stacked_to_the_total_with_the_bound_as_a_mark(tmp_path: Path) -> None:
    figure = figures(tmp_path, "demo")["bits"]
    bars = [trace for trace in figure.chart["data"] if trace["type"] == "bar"]
    assert [bar["name"] for bar in bars] == list(PARTS.values())
    first = {bar["name"]: bar["x"][1] for bar in bars}
    assert first["control"] == pytest.approx(0.010)  # the 0.010 of the patches are not in it
    assert first["patches"] == pytest.approx(0.010)
    assert sum(first.values()) == pytest.approx(0.29)
    (bound,) = [trace for trace in figure.chart["data"] if trace["type"] == "scatter"]
    assert bound["x"][1] == pytest.approx(0.585)
    assert figure.table.rows[0][:3] == ("all", "2,000", "10.0 %")


def test_bits_of_one_file_from_two_commands_are_drawn_once(tmp_path: Path) -> None:
    same = EXAMPLES["inspect"] | {"tensors": EXAMPLES["demo"]["bits"]}
    found = figures(tmp_path, "demo", inspect=same)
    assert "bits-2" not in found
    assert found["bits"].commands == ("xorloom demo", "xorloom inspect m.safetensors")


def test_kept_figure_draws_the_shannon_bound_of_the_density(tmp_path: Path) -> None:
    pieces = read_pieces(written(tmp_path, "index"))
    figure = kept_figure(pieces, "kept")
    assert figure is not None
    line = figure.chart["data"][0]
    assert line["name"] == "Shannon bound, Gaussian, density 0.09"
    sample = np.abs(np.random.default_rng(1).standard_normal(200_000))
    for x, y in list(zip(line["x"], line["y"], strict=True))[::8]:
        assert y == pytest.approx(share_bound(sample, 0.09, x), abs=0.01)
    assert {trace["name"] for trace in figure.chart["data"][1:]} >= {
        "trellis",
        "low-rank, local search",
    }


def test_of_two_files_of_one_command_the_later_counts(tmp_path: Path) -> None:
    newer = [row | {"efficiency": 0.5} for row in EXAMPLES["value"]]
    other = [row | {"command": "xorloom bench value --weights 9"} for row in EXAMPLES["value"]]
    figure = figures(tmp_path, "value", znewer=newer, other=other)["efficiency"]
    shown = sorted(row[5] for row in figure.table.rows)
    assert shown == sorted(["0.5000"] * 3 + ["0.9970", "0.9940", "0.6900"])


def test_tiles_are_the_key_figures(tmp_path: Path) -> None:
    pieces = read_pieces(written(tmp_path))
    found = {tile.name: tile for tile in tiles(pieces)}
    assert found["bits per weight, all counted"].value == "0.290"
    assert found["smaller"].value == "55 x"
    assert found["magnitude kept"].value == "79.0 %"
    assert found["weights per cycle"].value == "246.6"
    assert found["MHz, median"].value == "199"
    assert found["decoded output"].value == "bit-exact"
    assert not found["decoded output"].bad


def test_what_is_not_bit_exact_is_said_loudly(tmp_path: Path) -> None:
    wrong = {
        **{"command": "xorloom simulate", "case": "c", "bit_exact": False, "bus_bits": 64},
        **{"weights": 1, "mismatch": "slice 3 bit 7"},
    }
    pieces = read_pieces(written(tmp_path, "value", simulate=wrong))
    (tile,) = [tile for tile in tiles(pieces) if tile.name == "decoded output"]
    assert (tile.value, tile.bad) == ("NOT bit-exact", True)
    assert figures(tmp_path, simulate=wrong)["cycles"].notes == ("NOT BIT-EXACT: c: slice 3 bit 7",)


def texts_of(svg: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", svg)


def test_datapath_has_the_numbers_of_its_configuration(tmp_path: Path) -> None:
    found = figures(tmp_path, "demo", "block")
    texts = texts_of(found["datapath-2"].drawing + found["datapath"].drawing)
    for text in (
        "one linear stream of 64-bit words",
        "words to chunks of 32 bits",
        "the newest 512 seed bits",
        "256 shared",
        "XORs of 4 bits",
        "1 window bit and 3 parities",
        "rate word per frame: 128 slices",
        "per beat 80 seed bits",
        "to 512 mask bits",
        "trellis index",
        "3 lanes: XOR network",
        "1 patch per lane and clock, 8 bits each",
        "600 bits per beat",
    ):
        assert text in texts
    patched = EXAMPLES["demo"] | {"config": EXAMPLES["demo"]["config"] | {"patches": 1}}
    assert "patch unit" in texts_of(figures(tmp_path, demo=patched)["datapath"].drawing)


def test_each_of_several_decoders_has_its_datapath(tmp_path: Path) -> None:
    one = dict(EXAMPLES["inspect"])
    decoders = [{"config": one.pop("config")}, {"config": BLOCK}]
    found = figures(tmp_path, several=one | {"decoders": decoders})
    assert "3 lanes: XOR network" in texts_of(found["datapath-2"].drawing)


@pytest.mark.parametrize("name", ["inspect", "block"])
def test_datapath_stays_inside_its_picture(name: str, tmp_path: Path) -> None:
    (piece, *_) = read_pieces(written(tmp_path, name))
    svg = datapath_figure(piece, "d").drawing
    width, height = map(int, re.findall(r'viewBox="0 0 (\d+) (\d+)" role', svg)[0])
    boxes = re.findall(r'<rect [^>]*x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"', svg)
    assert len(boxes) >= 5
    for x, y, w, h in (tuple(map(int, box)) for box in boxes):
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height


def test_timeline_shows_chunks_rate_word_and_slices(tmp_path: Path) -> None:
    figure = figures(tmp_path, "simulate")["timeline"]
    rows = {row[0]: row[1] for row in figure.table.rows}
    assert rows["chunk with the rate word"] == "1"
    assert rows["chunk of seeds, then a slice"] == "18"
    assert rows["chunk of seeds only"] == "20"
    assert rows["no chunk: header, or nothing there"] == "2"
    assert figure.drawing.count('<rect class="clock rate"') == 1
    assert figure.drawing.count('<rect class="clock ') == 41
    assert figure.drawing.count("<svg") == 4
    assert figure.drawing.count(">R</text>") == 1
    assert figure.drawing.count('class="lane"') == 3 * 7
    # The rate word is the first chunk, the others follow in order.
    assert re.findall('class="value"[^>]*>([^<]*)<', figure.drawing)[:4] == ["R", "1", "2", "3"]
    # m_axis valid of clocks 0 to 11 rises in clock 9: low until there, then high every other one.
    lows = re.findall('class="signal" points="([^"]*)"', figure.drawing)[4]
    levels = [point.split(",")[1] for point in lows.split()[::2]]
    assert levels == [*["116"] * 9, "104", "116", "104"]
    assert figure.commands == ("xorloom simulate --timeline",)


def test_timeline_without_its_signals_or_slices_is_refused(tmp_path: Path) -> None:
    (piece,) = [p for p in read_pieces(written(tmp_path, "simulate")) if p.kind == "timeline"]
    lacking = replace(piece, rows=({"step": "01"},))
    with pytest.raises(FormatError, match=r"simulate.json: timeline has no in_valid, in_ready, o"):
        timeline_figure(lacking, "t")
    never = replace(piece, rows=(timeline() | {"has_slice": "0" * 42},))
    with pytest.raises(FormatError, match="timeline shows no slice, expected a frame of them"):
        timeline_figure(never, "t")


def changed(name: str, **values: Any) -> Any:
    value = EXAMPLES[name]
    if isinstance(value, list):
        return [value[0] | values, *value[1:]]
    return {key: v for key, v in (value | values).items() if v is not ...}


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        ([], FormatError, "x.json: an empty list, expected the rows of a command"),
        (3, FormatError, "x.json: expected an object, found int"),
        ([1], FormatError, "x.json: row 0: expected an object, found int"),
        ({"a": 1}, FormatError, 'x.json: no "command" (expected what xorloom ... --json writes'),
        ({"command": 3}, FormatError, 'x.json: no "command"'),
        ({"command": "xorloom 'demo"}, FormatError, 'command "xorloom \'demo" is damaged'),
        (
            {"command": "xorloom compose"},
            ConfigError,
            "x.json: the report shows nothing of 'xorloom compose' (expected one of bandwidth, ",
        ),
        (changed("demo", bits=...), FormatError, "x.json: no 'bits', expected an object"),
        (changed("demo", kept=3), FormatError, "x.json: kept must be a list, found 3"),
        (changed("inspect", tensors={}), FormatError, "x.json: no tensors, expected bits of"),
        (
            changed("inspect", tensors={"w": TENSOR | {"seeds": -1}}),
            FormatError,
            "x.json: w: seeds must be an integer from 0, found -1",
        ),
        (changed("value", sparsity="a"), FormatError, "x.json: row 0: sparsity must be a number"),
        (changed("value", lossless=1), FormatError, "lossless must be true or false, found 1"),
        (changed("value", codec=None), FormatError, "codec must be a text, found None"),
        (changed("area", lut="many"), FormatError, "lut must be a number or null, found 'many'"),
        (changed("bus", of_memory=None), FormatError, "row 0: of_memory must be a number, found"),
        (
            changed("bandwidth", bits_per_weight={"csr": 1.7}),
            FormatError,
            "x.json: rows[0]: mweights_per_s: no 'csr', expected a number",
        ),
        (
            changed("simulate", timeline={"step": "01", "in_valid": "0"}),
            FormatError,
            "timeline must be an object of equally long texts of 0 and 1",
        ),
        (
            changed("demo", config=BLOCK | {"n_in": 99}),
            FormatError,
            "x.json: config: n_in must be between 1 and 64, not 99",
        ),
        (changed("demo", config={"window": 1}), FormatError, "window codec parameters do not fit"),
    ],
)
def test_report_refuses_json(value: Any, error: type[Exception], text: str, tmp_path: Path) -> None:
    written(tmp_path, "speed", x=value)
    with pytest.raises(error, match=re.escape(text)):
        write_report([tmp_path / "x.json"], tmp_path / "out.html", "t")
    assert not (tmp_path / "out.html").exists()


@pytest.mark.parametrize("text", ["", "{", '{"command": NaN}', "[" * 100_000, "\x00", "\xff\xfe"])
def test_report_refuses_what_is_not_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(text, encoding="latin-1")
    with pytest.raises(FormatError, match=r"bad.json: not JSON: .* \(expected what a command with"):
        read_pieces([tmp_path])


def test_report_refuses_files_and_folders_that_are_not_there(tmp_path: Path) -> None:
    refuses("no such file or folder", "report", tmp_path / "no.json")
    (tmp_path / "empty").mkdir()
    refuses("no .json file in this folder (run make report)", "report", tmp_path / "empty")
    (file,) = written(tmp_path, "speed")
    refuses("output must end in .html, not 'out.pdf'", "report", file, "-o", tmp_path / "out.pdf")
    with pytest.raises(ConfigError, match="name at least one JSON file or folder"):
        write_report([], tmp_path / "out.html", "t")


def test_report_says_what_it_made(tmp_path: Path) -> None:
    written(tmp_path, "value", "speed")
    out, err = xorloom("report", tmp_path, "-o", tmp_path / "new" / "r.html")
    assert re.fullmatch(r"\S+r.html: 2 figures, \d\.\d MB, one file\n", out)
    assert err == ""


def test_results_name_their_command(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["xorloom", "bench", "value", "--json", "-t", "a b"]
    monkeypatch.setattr(output.sys, "argv", words)
    line = "xorloom bench value -t 'a b'"
    assert with_command({"command": "x", "a": 1}) == {"command": line, "a": 1}
    assert list(with_command({"a": 1})) == ["command", "a"]
    # A row may have come from a command of its own.
    assert with_command([{"a": 1}, {"command": "x"}]) == [
        {"command": line, "a": 1},
        {"command": "x"},
    ]


def test_texts_of_numbers_and_names() -> None:
    assert [number(v) for v in (None, True, 1234, 1234.5, 0.123456, 98.76)] == [
        "-",
        "yes",
        "1,234",
        "1,234",
        "0.1235",
        "98.76",
    ]
    assert short_names(["a.b.1.w", "a.b.2.w"]) == ["1", "2"]
    assert short_names(["x.w", "x.y.w"]) == ["w", "y.w"]
    assert short_names(["only.one"]) == ["only.one"]
    assert len(shorten("x" * 99)) == 42
    assert label("<a> & b") == "&lt;a&gt; &amp; b"
