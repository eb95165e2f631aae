# SPDX-License-Identifier: Apache-2.0
"""The IP blocks as Verilog, manifest and register map."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from xorloom.hw.ip.csr import MAP
from xorloom.hw.units import IP_UNITS, generate_unit
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.spec.config import BlockConfig, WindowConfig
from xorloom.sw.spec.index_config import BitmapConfig, TrellisConfig
from xorloom.sw.spec.layout import network_id, weights_network_id

from tests.helpers.cli import refuses, xorloom
from tests.hw.verilog.any_process import printed

pytestmark = pytest.mark.long

SMALL = BlockConfig(n_in=7, n_out=41, lanes=2, patches_per_cycle=2, bus_bits=32, block_groups=2)
WINDOW = WindowConfig(n_in=16, n_out=64, window=64, shared=32, frame=16, bus_bits=32)
INDEXES = (
    TrellisConfig(n_in=8, n_out=32, window=8, bus_bits=32),
    BitmapConfig(n_out=32, bus_bits=32),
)
REGISTERS = ["xorloom_registers.md", "xorloom_registers.py", "xorloom_registers.h"]
DRIVER = ["xorloom.h", "xorloom.c"]


@pytest.mark.parametrize("unit", IP_UNITS)
def test_generate_ip_manifest_tells_planes_codecs_and_networks(unit: str) -> None:
    memory = {"align_bytes": 4, "outstanding": 2} if unit == "ip" else {}
    verilog = generate_unit(unit, WINDOW, indexes=INDEXES, planes=2, masked=False, memory=memory)
    manifest = verilog.manifest
    assert verilog.name == manifest["top"] == IP_UNITS[unit]
    assert f"module {verilog.name} (\n" in verilog.text
    reader = {"address_bits": 32, "outstanding": 2, "max_burst": 256, "align_bytes": 4}
    assert manifest["config"] == WINDOW.to_dict() | {
        "planes": 2,
        "masked": False,
        "reader": unit == "ip",
        "beats": "packed",
        "pipeline": "fast",
    } | (reader if memory else {})
    assert manifest["network_id"] == f"{network_id(WINDOW):08x}"
    assert manifest["indexes"] == [
        {
            "codec": index.codec,
            "config": index.to_dict(),
            "kind": kind,
            "network_id": f"{weights_network_id(WINDOW, 2, index):08x}",
        }
        for index, kind in zip(INDEXES, (20, 17), strict=True)
    ]
    assert manifest["register_map"] == 1
    assert manifest["sha256"] == hashlib.sha256(verilog.text.encode()).hexdigest()
    ports = manifest["ports"]
    assert ports["m_axis_tdata"] == {"direction": "out", "bits": 64 + 32}
    assert ports["m_axis_tkeep"] == {"direction": "out", "bits": 8 + 4}
    assert ports["irq"] == {"direction": "out", "bits": 1}
    assert ports["s_axil_awaddr"]["direction"] == "in"
    assert ("m_axi_araddr" in ports, "s_axis_tdata" in ports) == (unit == "ip", unit != "ip")


def test_generate_ip_with_planar_beats_has_no_tkeep() -> None:
    verilog = generate_unit("stream-ip", WINDOW, indexes=INDEXES, planes=2, beats="planar")
    assert verilog.manifest["config"]["beats"] == "planar"
    assert verilog.manifest["ports"]["m_axis_tdata"]["bits"] == 64 + 32
    assert "m_axis_tkeep" not in verilog.manifest["ports"]


def test_generate_ip_gives_same_bytes_in_any_process() -> None:
    code = (
        "import hashlib; from xorloom.hw.units import generate_unit;"
        "from xorloom.sw.spec.config import WindowConfig;"
        "from xorloom.sw.spec.index_config import BitmapConfig, TrellisConfig;"
        f"v = generate_unit('ip', {WINDOW!r}, indexes={INDEXES!r}, planes=2);"
        "print(hashlib.sha256(v.text.encode()).hexdigest())"
    )
    assert len(printed(code).strip()) == 64


def test_generate_ip_writes_the_register_map_beside_the_verilog(tmp_path: Path) -> None:
    arguments = ("generate", "--unit", "ip", "-o", tmp_path, "--planes", 2, "--address-bits", 40)
    sizes = ("--n-in", 16, "--n-out", 64, "--window", 64, "--bus-bits", 32)
    codecs = ("--index", "entropy", "--index", "trellis", "--index-bits", 0.25)
    out, _ = xorloom(*arguments, *sizes, *codecs)
    listed = [Path(line).name for line in out.split()]
    top = listed[0].removesuffix(".v")
    assert re.fullmatch(r"xorloom_ip_[0-9a-f]{6}", top)
    names = [f"{top}.v", f"{top}.json", f"{top}.toml", *REGISTERS, *DRIVER]
    assert listed[: len(names)] == names  # what else comes, see test_generate.py
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(listed)
    manifest = json.loads((tmp_path / f"{top}.json").read_text())
    assert manifest["config"]["address_bits"] == 40
    assert [index["codec"] for index in manifest["indexes"]] == ["entropy", "trellis"]
    assert manifest["indexes"][1]["config"]["n_in"] == 8  # 0.25 of 32 weights
    tables = (tmp_path / "xorloom_registers.md").read_text()
    assert tables.startswith("# Registers of the xorloom decoder\n")
    assert "#define XORLOOM_CONTROL 0x20u\n" in (tmp_path / "xorloom_registers.h").read_text()
    constants: dict[str, int] = {}
    exec((tmp_path / "xorloom_registers.py").read_text(), constants)
    assert constants["CONTROL"] == MAP["CONTROL"].offset
    model = ("generate", "--unit", "stream-ip", "-o", tmp_path / "s", *sizes, "--index", "bitmap")
    xorloom(*model)
    assert list((tmp_path / "s").glob("xorloom_stream_ip_??????.v"))


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            ["--unit", "stream-ip", "--max-burst", 16, "--align-bytes", 4],
            "--max-burst, --align-bytes goes with --unit ip, which reads memory, not stream-ip",
        ),
        (["--outstanding", 2], "--outstanding goes with --unit ip, which reads memory, not decode"),
        (["--beats", "planar"], "--beats goes with --unit ip or stream-ip, not decoder"),
        (["--unit", "ip", "--beats", "wide"], "beats must be packed or planar, not 'wide'"),
        (["--unit", "ip", "--align-bytes", 3], "align_bytes must be a power of two"),
        (["--unit", "ip", "--outstanding", 0], "outstanding must be at least 1, not 0"),
        (
            ["--unit", "ip", "--value", "block"],
            "needs the window or direct value codec, not block",
        ),
        (["--unit", "ip", *["--index", "trellis"] * 2], "one index of each of one or more codecs"),
        (
            ["--unit", "index", "--index", "trellis", "--index", "bitmap"],
            "--unit index has one index; --unit ip and stream-ip take several",
        ),
        (["--unit", "ip", "--index", "bitmap", "--index-bits", 0.2], "has a rate of its own"),
        (
            ["--unit", "weights"],
            "unit must be one of decoder, value, control, network, not 'weights'",
        ),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_generate_ip_refuses(options: list[object], text: str, tmp_path: Path) -> None:
    refuses(text, "generate", "-o", tmp_path / "rtl", *options)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_generate_unit_ip_refuses() -> None:
    with pytest.raises(ConfigError, match="needs the window or direct value codec, not block"):
        generate_unit("ip", SMALL, indexes=INDEXES)
    with pytest.raises(ConfigError, match="max_burst: only unit ip reads memory, not stream-ip"):
        generate_unit("stream-ip", WINDOW, indexes=INDEXES, planes=2, memory={"max_burst": 4})
    with pytest.raises(ConfigError, match="a decoder has one index of each of one or more codecs"):
        generate_unit("ip", WINDOW)
