# SPDX-License-Identifier: Apache-2.0
"""Commands on compressed models: decompress, inspect, verify."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from xorloom.sim.cli.console.model_report import (
    FRAME_COLUMNS,
    bits_json,
    decoder_lines,
    decoders_json,
    exit_if_failed,
    frame_rows,
    print_bits,
    print_verdicts,
    verdicts_json,
    verified,
)
from xorloom.sim.cli.console.options import MaxShardSize, MaxWeights
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar, say
from xorloom.sw.remote.urls import named_as_given

__all__ = ["COMMANDS", "decompress", "inspect", "verify"]

Compressed = Annotated[
    Path, typer.Argument(help="A compressed model: a .safetensors file, or a folder.")
]


def decompress(
    model: Compressed,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="Plain .safetensors file, with --into one of its type; of a folder, a new folder.",
        ),
    ],
    into: Annotated[
        Path | None,
        typer.Option(
            help="The model that was compressed (.onnx, .npz, .safetensors, or a folder): write it "
            "with the decoded weights in place of its own."
        ),
    ] = None,
    max_weights: MaxWeights = None,
    max_shard_size: MaxShardSize = None,
    *,
    keep_rotation: Annotated[
        bool,
        typer.Option(
            "--keep-rotation",
            help="Leave rotated weights rotated, for hardware that rotates their inputs alike.",
        ),
    ] = False,
) -> None:
    """Decode a compressed model into plain weights, checking everything on the way."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.model.container import read_container, rotations
    from xorloom.sw.model.decompress import decompress_into, decompress_model
    from xorloom.sw.model.folders import beside_notes, folder_bytes, place_of

    if into is not None and max_shard_size is not None:
        raise ConfigError("--max-shard-size does not go with --into, which keeps the model's files")
    hint = "with --into MODEL it is of the model's type; "
    shard_bytes = None if into else folder_bytes(model, output, max_shard_size, hint)
    container = read_container(model)
    seeds = rotations(container)
    how: dict[str, Any] = {"keep_rotation": keep_rotation, "max_weights": max_weights}
    place = place_of(model, container.files, output, shard_bytes, compressed=False)
    if output.suffix != ".safetensors":
        for text in beside_notes(into or model):
            say(text)
    sizes = {name: size for name, size in container.sizes.items() if name in container.tensors}
    with place as out, progress_bar("decompress", weights=[sizes]) as step:
        if into is None:
            made = decompress_model(model, out, step, shard_bytes=shard_bytes, **how)
            count = len(made)
        else:
            count = decompress_into(model, into, out, step, **how)
    if keep_rotation and seeds:
        found = ", ".join(map(str, sorted(set(seeds.values()))))
        say(f"{len(seeds)} tensors stay rotated, seed {found}: rotate their inputs alike")
    elif keep_rotation:
        say("--keep-rotation is not used: no tensor is rotated")
    typer.echo(named_as_given(f"{output}: {count} tensor{'' if count == 1 else 's'} decoded"))


def inspect(
    model: Compressed,
    tensor: Annotated[
        list[str] | None, typer.Option("--tensor", "-t", help="Names or globs; default: all.")
    ] = None,
    max_weights: MaxWeights = None,
    as_json: Json = False,
) -> None:
    """Show where the bits of a compressed model go, beside the entropy bound."""
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.reports.inspect import (
        FIFO_COLUMNS,
        by_original,
        fifo_rows,
        joined_frames,
        tensor_bits,
        tensor_frames,
    )

    container = read_container(model, max_weights)
    names = container.matching(tensor or ())
    groups = by_original(container, names)
    sizes = {name: container.sizes[name] for name in names}
    with progress_bar("inspect", weights=[sizes]) as step:
        bits, frames = {}, {}
        for name, blocks in groups.items():
            counts, rates = [], []
            for block in blocks:
                counts.append(tensor_bits(container, block))
                rates.append(tensor_frames(container, block))
                step(block)
            bits[name] = sum(counts[1:], start=counts[0])
            if found := [facts for facts in rates if facts is not None]:
                frames[name] = joined_frames(found)
    fifos = fifo_rows(container, names)
    infos = {name: container.tensor(blocks[0]) for name, blocks in groups.items()}
    errors = {name: container.error(name) for name in groups}
    if as_json:
        decoders = list(dict.fromkeys(info.decoder for info in infos.values()))
        more = {
            name: {
                "quantizer": asdict(info.quantizer) if info.quantizer else None,
                "decoder": decoders.index(info.decoder),
                "blocks": len(groups[name]),
            }
            | ({"rotation": info.rotation} if info.decoder.value.chooses_values else {})
            for name, info in infos.items()
        }
        report = decoders_json(decoders) | bits_json(bits, errors, more)
        print_json(report | {"frames": frames, "fifos": fifos})
        return
    print_bits(str(model), bits, errors)
    if frames:
        print_table("frames: steps per slice", FRAME_COLUMNS, frame_rows(frames))
    if fifos:
        cells = [
            [row["tensor"], *(f"{row[key]:,.0f}" for key in FIFO_COLUMNS[1:])] for row in fifos
        ]
        print_table("index FIFO at constant supply beyond the mean", FIFO_COLUMNS, cells)
    for line in decoder_lines({name: info.decoder for name, info in infos.items()}):
        typer.echo(line)


def verify(
    model: Compressed,
    golden: Annotated[
        bool, typer.Option(help="Decode with the slow golden model as well, and compare.")
    ] = False,
    max_weights: MaxWeights = None,
    as_json: Json = False,
) -> None:
    """Decode everything and check it against the checksums of what was compressed."""
    verdicts = verified(model, golden, max_weights)
    if as_json:
        print_json(verdicts_json(verdicts))
    else:
        print_verdicts(verdicts, " with the fast decoder and the golden model" if golden else "")
    exit_if_failed(verdicts)


COMMANDS = (decompress, inspect, verify)
