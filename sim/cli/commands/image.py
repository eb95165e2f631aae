# SPDX-License-Identifier: Apache-2.0
"""Command that writes what a decoder's memory holds: weight streams and where they lie."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from xorloom.sw.memory.image import MemoryImage

__all__ = ["COMMANDS", "image", "image_registers"]

_NAME_BYTES_MAX = 255  # Ref: Linux, limits.h, NAME_MAX


def image_registers(image: "MemoryImage") -> list[dict[str, Any]]:
    """Return what the registers of a decoder must say that can read an image.

    A decoder fits if ``value`` is what each register has in the bits of ``mask``.
    """
    from xorloom.hw.ip.csr import MAGIC, MAP, VERSION
    from xorloom.sw.spec.layout import network_id

    config = image.value
    expected: dict[str, dict[str, int]] = {
        "ID": {"MAGIC": MAGIC, "VERSION": VERSION},
        "CONFIG": {"BUS_BITS": config.bus_bits, "PLANES": image.planes},
        "SHAPE": {"N_OUT": config.n_out},
        "KINDS": {"VALUE": image.kinds},
        "NETWORK": {"VALUE": network_id(config)},
    }
    rows = []
    for name, fields in expected.items():
        value = MAP[name].pack(**fields)
        # Of KINDS only our own bits count: a decoder may have other codecs as well.
        mask = value if name == "KINDS" else sum(MAP[name][field].mask for field in fields)
        rows.append({"name": name, "offset": MAP[name].offset, "mask": mask, "value": value})
    return rows


def image(
    model: Annotated[
        Path, typer.Argument(help="A compressed model: a .safetensors file, or a folder.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Flat memory image.")],
    tensor: Annotated[
        list[str] | None,
        typer.Option("--tensor", "-t", help="Names or globs, in this order; default: all."),
    ] = None,
    align: Annotated[
        int, typer.Option(help="Offsets are multiples of so many bytes, a power of two.")
    ] = 64,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Where the tensors lie, and for which decoder, as JSON.",
            show_default="OUTPUT with .json",
        ),
    ] = None,
    c_header: Annotated[
        Path | None, typer.Option("--c-header", help="The same for C: name, offset, length, kind.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the weight streams of a compressed model as a memory image, and a table beside it."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.base.host import write_all
    from xorloom.sw.base.outputs import check_outputs
    from xorloom.sw.memory.image import memory_image
    from xorloom.sw.model.container import read_container

    if table is None:
        table = output.with_suffix(".json")
        if len(os.fsencode(table.name)) > _NAME_BYTES_MAX >= len(os.fsencode(output.name)):
            raise ConfigError(f"the name of {output} is too long to end in .json: give --table")
    check_outputs([path for path in (output, table, c_header) if path is not None], [model])
    container = read_container(model)
    tensor = container.matching(tensor or ())
    with progress_bar("image", len(tensor or container.tensors)) as step:
        made = memory_image(container, tensor, align_bytes=align, progress=step)
    facts = made.table() | {"registers": image_registers(made)}
    files: dict[Path, bytes | str] = {table: json.dumps(facts, indent=2) + "\n"}
    if c_header is not None:
        try:
            files[c_header] = made.c_header()
        except ConfigError as error:
            raise ConfigError(f"{model}: {error}") from None
    # The image last: where it is, its table is too.
    write_all(files | {output: made.data})
    if as_json:
        print_json(facts)
        return
    columns = ("tensor", "offset", "length", "weights", "slices", "streams", "CRC-32", "index")
    print_table(
        f"{output}: {len(made.data):,} bytes",
        columns,
        [
            (
                region.name,
                *(f"{n:,}" for n in (region.offset, region.length, region.weights)),
                *(f"{n:,}" for n in (region.slices, region.streams)),
                f"{region.crc32:08x}",
                region.form.index.codec,
            )
            for region in made.regions
        ],
    )
    indexes = ", ".join(f"{f.index.codec} (network id {f.network:08x})" for f in made.forms)
    typer.echo(
        f"for a decoder with index {indexes}, {made.planes} bits per weight, "
        f"{made.value.bus_bits}-bit bus"
    )
    typer.echo(f"table: {table}")


COMMANDS = (image,)
