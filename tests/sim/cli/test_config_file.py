# SPDX-License-Identifier: Apache-2.0
"""Parameters from a TOML file: the same as flags, which win, and errors that name the file."""

import json
import tomllib
from pathlib import Path

import pytest
from xorloom.sim.cli.console.config_file import KEYS, read_config
from xorloom.sw.base.errors import ConfigError

from tests.helpers.cli import refuses, xorloom

SMALL = "n-in = 16\nn-out = 64\nwindow = 64\nframe = 16\nbus-bits = 32\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "decoder.toml"
    path.write_text(text, encoding="utf-8")
    return path


def generated(folder: Path, *arguments: object) -> dict[str, object]:
    xorloom("generate", "-o", folder, *arguments)
    return tomllib.loads(next(folder.glob("*.toml")).read_text(encoding="utf-8"))


def test_config_sets_what_flags_do_not(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "unit = 'network'\nclock = 75\nnetwork_seed = 7\n")
    found = generated(tmp_path / "a", "--config", path, "--network-seed", 9, "--n-in", 32)
    assert found == {
        "unit": "network",
        "clock": 75.0,
        "value": "window",
        "n-in": 32,
        "n-out": 64,
        "window": 64,
        "own-taps": 1,
        "shared-taps": 3,
        "shared": 32,
        "parity-taps": 4,
        "frame": 16,
        "patches": 0,
        "bus-bits": 32,
        "network-seed": 9,
    }


def test_config_holds_the_block_codec_and_its_stages(tmp_path: Path) -> None:
    path = written(tmp_path, "value = 'block'\nunit = 'network'\nn-out = 41\nstages = 2\n")
    found = generated(tmp_path / "a", "--config", path)
    assert (found["value"], found["n-out"], found["lanes"], found["stages"]) == ("block", 41, 3, 2)


@pytest.mark.long
def test_config_holds_lists_and_the_read_masters_parameters(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "unit = 'ip'\nindex = ['bitmap', 'entropy']\nplanes = 2\n")
    found = generated(tmp_path / "a", "--config", path, "--max-burst", 16)
    assert found["index"] == ["bitmap", "entropy"]
    assert (found["planes"], found["max-burst"], found["outstanding"]) == (2, 16, 4)
    other = generated(tmp_path / "b", "--config", path, "--index", "bitmap")
    assert other["index"] == ["bitmap"], "flags win"


@pytest.mark.synth
def test_synth_takes_the_same_file(tmp_path: Path) -> None:
    path = written(tmp_path, SMALL + "unit = 'network'\nclock = 75\n")
    out, _ = xorloom("synth", "--config", path, "--target", "ice40", "--seeds", 0, "--json")
    assert json.loads(out)["config"]["n_out"] == 64
    assert json.loads(out)["rows"][0]["design"] == "xorloom_window_network"


def test_a_models_path_is_relative_to_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "model = 'sub/model.safetensors'\n")
    assert read_config(path) == {"model": str(tmp_path / "sub" / "model.safetensors")}
    refuses(str(tmp_path / "sub"), "generate", "--config", path, "-o", tmp_path / "no")


def test_every_key_is_a_flag() -> None:
    out, _ = xorloom("generate", "--help")
    assert all(f"--{key.replace('_', '-')}" in out for key in KEYS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n-inn = 3", "unknown key n-inn: did you mean n-in?"),
        ("zzzzz = 3", "unknown key zzzzz: keys are flags without --"),
        ("n-in = 8\nn_in = 8", "key n-in is given twice, with - and with _"),
        ("n-in = ", "not a TOML file: Invalid value (at end of document)"),
        ("n-in = '16'", 'n-in must be an integer, not "16"'),
        ("n-in = true", "n-in must be an integer, not true"),
        ("n-in = 16.0", "n-in must be an integer, not 16.0"),
        ("clock = 'fast'", 'clock must be a number, not "fast"'),
        ("density = [1]", "density must be a number, not [1]"),
        ("value = 3", "value must be a string, not 3"),
        ("model = 3", "model must be a string, not 3"),
        ("index = 'trellis'", 'index must be a list of strings, not "trellis"'),
        ("index = [1]", "index must be a list of strings, not [1]"),
        ("planes = 9", "planes must be between 1 and 8, not 9"),
        ("stages = 3", "stages must be between 1 and 2, not 3"),
        ("n-in = 512", "n_in must be a power of two between 8 and 256, not 512"),
        ("bus-bits = 48", "bus_bits must be one of 32, 64, 128, 256, 512, not 48"),
        ("value = 'mlw'", "value codec must be block, window, direct, not 'mlw'"),
        ("lanes = 2", "--lanes belongs to --value block, not window"),
        ("clock = 0", "clock must be between 1 and 2000 MHz, not 0"),
        ("unit = 'chip'", "unit must be one of decoder, value, control, network, not 'chip'"),
        ("max-burst = 4", "--max-burst goes with --unit ip, which reads memory, not decoder"),
    ],
)
def test_config_errors_name_key_file_and_range(text: str, message: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    refuses(f"{path}: {message}", "generate", "--config", path, "-o", tmp_path / "no")
    assert not (tmp_path / "no").exists()


def test_config_is_not_blamed_for_a_flag(tmp_path: Path) -> None:
    path = written(tmp_path, "n-out = 64\n")
    _, err = xorloom("generate", "--config", path, "-o", tmp_path / "no", "--n-in", 512, code=2)
    assert err.startswith("xorloom: n_in must be a power of two between 8 and 256, not 512")


def test_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: cannot be read: No such file or dir"):
        read_config(tmp_path / "no.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not a TOML file: 'utf-8' codec"):
        read_config(binary)
