# SPDX-License-Identifier: Apache-2.0
"""Files of all commands: no input is written over, and only plain files are written."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from safetensors.numpy import save_file
from xorloom.sim.cli.console.files import INPUTS, OUTPUTS, file_parameters
from xorloom.sim.cli.main import app

from tests.helpers.cli import WINDOW, refuses, xorloom

FOLDERS = {("boards",), ("demo",), ("generate",)}
"""Commands that write into a folder."""


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield all commands by their words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))
FILES = {words: file_parameters(command.callback) for words, command in COMMANDS.items()}
PAIRS = [
    (words, output, read)
    for words, names in FILES.items()
    for output in names
    for read in names
    if output in OUTPUTS and read in INPUTS and words not in FOLDERS
]
WRITTEN = [(words, name) for words, names in FILES.items() for name in names if name in OUTPUTS]


def label(part: str | tuple[str, ...]) -> str:
    return part if isinstance(part, str) else " ".join(part)


def argv(words: tuple[str, ...], tmp_path: Path, **files: Path) -> list[str]:
    """Return a command with some files, and what else it cannot do without."""
    line = list(words)
    for parameter in COMMANDS[words].params:
        if parameter.name in files:
            value = files[parameter.name]
        elif parameter.required:
            value = tmp_path / f"{parameter.name}.safetensors"
        else:
            continue
        line += [str(value)] if parameter.param_type_name == "argument" else []
        line += [] if parameter.param_type_name == "argument" else [parameter.opts[0], str(value)]
    return line


def test_every_option_that_names_a_file_says_whether_it_is_read_or_written() -> None:
    assert len(COMMANDS) > 20
    named = {name for names in FILES.values() for name in names}
    assert named == {*INPUTS, *OUTPUTS}, "sim/cli/console/files.py lists them all, and no others"
    assert not {*INPUTS} & {*OUTPUTS}


def test_all_commands_that_read_and_write_are_walked() -> None:
    found = {(words[-1], output, read) for words, output, read in PAIRS}
    assert found >= {
        ("compress", "output", "model"),
        ("compress", "output", "masks"),
        ("compress", "output", "choices"),
        ("compress", "save_choices", "model"),
        ("compress", "save_choices", "choices"),
        ("compress", "output", "codes"),
        ("compress", "output", "saliency"),
        ("decompress", "output", "model"),
        ("explore", "output", "model"),
        ("explore", "plot", "model"),
        ("image", "c_header", "model"),
        ("image", "output", "model"),
        ("image", "table", "model"),
        ("report", "output", "files"),
        ("simulate", "waves", "model"),
    }


@pytest.mark.parametrize("spelling", ["same", "relative", "symlink", "hard link", "open file"])
@pytest.mark.parametrize(("words", "output", "read"), PAIRS, ids=label)
def test_no_command_writes_over_what_it_reads(
    words: tuple[str, ...],
    output: str,
    read: str,
    spelling: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    source, link = tmp_path / "model.safetensors", tmp_path / "link.safetensors"
    source.write_bytes(b"precious")
    given = {"same": source, "relative": Path(source.name)}.get(spelling, link)
    if spelling == "symlink":
        link.symlink_to(source.name)
    elif spelling == "hard link":
        link.hardlink_to(source)
    with source.open("rb") as opened:
        if spelling == "open file":
            given = Path(f"/dev/fd/{opened.fileno()}")
        text = "is the input"
        refuses(text, *argv(words, tmp_path, **{output: source, read: given}))
    assert source.read_bytes() == b"precious"


@pytest.mark.parametrize(("words", "output"), WRITTEN, ids=label)
def test_every_command_refuses_a_bad_output_before_its_work(
    words: tuple[str, ...], output: str, tmp_path: Path
) -> None:
    fifo, plain = tmp_path / "fifo", tmp_path / "plain"
    os.mkfifo(fifo)
    plain.write_bytes(b"")
    source = {name: tmp_path / "m.json" for name in ("model", "files") if name in FILES[words]}
    (tmp_path / "m.json").write_bytes(b"")
    bad = {fifo: "is no folder", plain: "is no folder", plain / "new": "is no folder"}
    if words not in FOLDERS:
        bad = {
            fifo: f"cannot write {fifo}: it is a FIFO (name a file)",
            Path("/dev/null"): "cannot write /dev/null: it is a device (name a file)",
            tmp_path: f"cannot write {tmp_path}: it is a folder (name a file)",
            plain / "new": f"cannot write {plain / 'new'}: ",
        }
    for path, text in bad.items():
        refuses(text, *argv(words, tmp_path, **source | {output: path}), code=1)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("suffix", [".fst", ".vcd"])
def test_simulate_does_not_write_a_view_over_its_model(suffix: str, tmp_path: Path) -> None:
    model = tmp_path / "run.gtkw"
    model.write_bytes(b"precious")
    waves = tmp_path / f"run{suffix}"
    refuses(f"{model} is the input", "simulate", model, "--waves", waves)


def test_image_does_not_write_its_table_over_its_model(tmp_path: Path) -> None:
    model = tmp_path / "model.json"
    model.write_bytes(b"precious")
    refuses(f"{model} is the input", "image", model, "-o", tmp_path / "model.bin")
    long = tmp_path / ("a" * 251 + ".bin")
    text = f"the name of {long} is too long to end in .json: give --table"
    refuses(text, "image", model, "-o", long)


def test_a_report_may_lie_beside_its_results_but_not_over_them(tmp_path: Path) -> None:
    result = tmp_path / "verify.json"
    out, _ = xorloom(
        "bandwidth", "--bits-per-weight", 1, "--json"
    )  # the quickest command that prints a result
    result.write_text(out)
    refuses(f"{result} is the input", "report", tmp_path, "-o", result)
    page = tmp_path / "new" / "report.html"
    assert "report.html: " in xorloom("report", tmp_path, "-o", page)[0]
    assert "report.html: " in xorloom("report", tmp_path, "-o", tmp_path / "report.html")[0]


def test_generate_does_not_write_over_its_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "rtl"
    xorloom("generate", "-o", folder, "--unit", "decoder", *WINDOW)
    (config,) = folder.glob("*.toml")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    refuses(f"{config} is the input", "generate", "--config", config, "-o", folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    other = tmp_path / "again"
    xorloom("generate", "--config", config, "-o", other)
    assert {path.name: path.read_bytes() for path in other.iterdir()} == {
        path.name: data for path, data in before.items()
    }


@pytest.mark.parametrize("word", ["--sources", "--seeds=1"])
def test_boards_does_not_write_over_its_checkpoint(word: str, tmp_path: Path) -> None:
    board = "arty-a7" if word == "--sources" else "ulx3s"
    checkpoint = tmp_path / board / "weights.xl.safetensors"
    checkpoint.parent.mkdir()
    save_file({"w": np.ones((2, 2), np.float32)}, checkpoint)
    words = ["boards", "--board", board, "--checkpoint", checkpoint, "-o", tmp_path, word]
    refuses(f"the input {checkpoint} lies in {checkpoint.parent}", *words)
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_no_part_of_a_checkpoint_in_several_files_is_written_over(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    names = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for number, name in enumerate(names):
        save_file({f"w{number}": np.ones((64, 64), np.float32)}, folder / name)
    index = folder / "model.safetensors.index.json"
    weights = {f"w{number}": name for number, name in enumerate(names)}
    index.write_text(json.dumps({"metadata": {}, "weight_map": weights}))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for part in (*folder.iterdir(), folder / "new"):
        text = f"{part} lies in the input {folder}: write it elsewhere"
        refuses(text, "explore", folder, "-o", part)
    for part in (folder / name for name in names):
        text = f"{part} is the input: give the output another name"
        refuses(text, "explore", index, "-o", part)
        refuses(text, "compress", index, "-o", part)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_files_of_a_model_keep_their_modes_and_links(tmp_path: Path) -> None:
    weights = np.random.default_rng(1).normal(size=(64, 64)).astype("f4")
    np.savez(tmp_path / "m.npz", w=weights)
    made, link = tmp_path / ("m" * 243 + ".safetensors"), tmp_path / "link.safetensors"
    link.symlink_to(made.name)
    made.touch(0o600)
    xorloom("compress", tmp_path / "m.npz", "-o", link, "--min-size", 1)
    assert link.is_symlink()
    assert made.stat().st_mode & 0o777 == 0o600
    assert made.stat().st_size > 500
    assert len(list(tmp_path.iterdir())) == 3
