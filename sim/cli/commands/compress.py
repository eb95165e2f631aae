# SPDX-License-Identifier: Apache-2.0
"""Command ``compress``: a checkpoint to a compressed model."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from xorloom.sim.cli.console.choices import check_chosen, write_choices
from xorloom.sim.cli.console.given import as_bytes, read_arrays, read_masks
from xorloom.sim.cli.console.model_options import recipe_of
from xorloom.sim.cli.console.model_report import (
    bits_json,
    decoder_lines,
    decoders_json,
    exit_if_failed,
    print_bits,
    print_verdicts,
    verdicts_json,
    verified,
)
from xorloom.sim.cli.console.options import MaxShardSize, config_options
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar, say
from xorloom.sim.generate.options import ConfigOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xorloom.sw.model.compress import CompressedModel
    from xorloom.sw.model.metrics import TensorBits
    from xorloom.sw.model.verify import Verdict
    from xorloom.sw.tensors.quantize import Quantized

__all__ = ["COMMANDS", "compress"]


@config_options("model", "tensor", "stages")
def compress(
    context: typer.Context,
    model: Annotated[
        Path,
        typer.Argument(
            help="Checkpoint: .safetensors, .npz, .onnx, .pt with torch, a folder of them, or a "
            "compressed model, to which more tensors are added."
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="Compressed .safetensors file; of a folder, a new folder."
        ),
    ],
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="What each tensor becomes: see docs/usage.md, Recipes."
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="transformer or convolution: leave alone what usually is left alone."),
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(
            help="Share of pruned weights, in [0, 1); zeros count.",
            show_default="0.9; tensors that are mostly zeros: their own",
        ),
    ] = None,
    density: Annotated[
        float | None, typer.Option(help="Share of kept weights: 1 - sparsity.")
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(
            help="bitmap or entropy: any mask; trellis or lowrank: choose the mask; hashed: a "
            "random mask, for training after pruning; none: keep every weight.",
            show_default="bitmap; trellis with index bits",
        ),
    ] = None,
    index_bits: Annotated[
        float | None, typer.Option(help="Index bits per weight, where the index chooses the mask.")
    ] = None,
    bits_per_weight: Annotated[
        float | None,
        typer.Option(
            help="All bits per weight: choose the value codec, unless --value or --index does; its "
            "rate, or density and index."
        ),
    ] = None,
    trained: Annotated[
        bool,
        typer.Option(
            "--trained",
            help="The network is trained under what is stored: bits per weight buy more values and "
            "less index; no word on large errors.",
        ),
    ] = False,
    index_window: Annotated[
        int, typer.Option(help="trellis: seed bits in view, 6 to 16; one more doubles the time.")
    ] = 14,
    index_classes: Annotated[
        int, typer.Option(help="trellis: density classes of lanes, 1 or 4.")
    ] = 1,
    importance: Annotated[
        str | None,
        typer.Option(
            help="What a chosen mask keeps most of: magnitude or energy.",
            show_default="magnitude; energy with bits per weight",
        ),
    ] = None,
    saliency: Annotated[
        Path | None,
        typer.Option(
            help="Your own importance of every weight, by tensor name; direct: of its error."
        ),
    ] = None,
    scope: Annotated[str, typer.Option(help="Prune per tensor, row, or global.")] = "tensor",
    quantizer: Annotated[
        str | None,
        typer.Option(
            help="binary, alternating, ternary or uniform.", show_default="binary; direct: its own"
        ),
    ] = None,
    planes: Annotated[
        int | None,
        typer.Option(
            help="Bits of a code, 1 to 8; direct: 1 to 6.",
            show_default="1; direct: the best one found",
        ),
    ] = None,
    scale: Annotated[str, typer.Option(help="Scale per tensor, row or group.")] = "row",
    axis: Annotated[int, typer.Option(help="Dimension that scales of rows run along.")] = 0,
    group: Annotated[int, typer.Option(help="Weights per group.")] = 128,
    scale_dtype: Annotated[
        str, typer.Option(help="float32, or float16: then float32 where float16 cannot hold them.")
    ] = "float16",
    tensors: Annotated[
        list[str] | None,
        typer.Option(
            "--tensors", "-t", help="Exact names, or globs over matrices; default: all matrices."
        ),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Names or globs of tensors to leave alone.")
    ] = None,
    min_size: Annotated[
        int | None, typer.Option(help="Fewest elements of a matrix.", show_default="4096")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="direct: second moments of the matrices' inputs, by tensor name; columns make up "
            "for each other's errors.",
        ),
    ] = None,
    rotate: Annotated[
        bool | None,
        typer.Option(
            "--rotate/--no-rotate",
            help="direct: rotate weights first, undone by decompress.",
            show_default="with a calibration",
        ),
    ] = None,
    rotation_seed: Annotated[
        int | None, typer.Option(help="direct: seed of the rotation.", show_default="0")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Your own masks, by tensor name (non-zero = kept).")
    ] = None,
    choices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Masks that an index chose before: they and their streams go in as they are.",
        ),
    ] = None,
    save_choices: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            help="Write the masks that are chosen now, for training under them and --choices.",
        ),
    ] = None,
    codes: Annotated[
        Path | None,
        typer.Option(help="Your own uint8 or int8 codes, by tensor name; need masks."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Then decode the file and check it, as verify does.")
    ] = False,
    tell_kept: Annotated[
        bool,
        typer.Option("--kept", help="Tell what chosen masks keep, beside bound and N:M patterns."),
    ] = False,
    order: Annotated[
        str,
        typer.Option(
            help="window, direct: auto, row, column, strided, strided-column, skewed, "
            "skewed-column."
        ),
    ] = "auto",
    jobs: Annotated[
        int | None,
        typer.Option(
            help="Threads, each with a tensor or block of its own: fewer take less memory.",
            show_default="all cores",
        ),
    ] = None,
    block_weights: Annotated[
        int,
        typer.Option(
            help="Cut tensors of over three times as many weights into row blocks, each compressed "
            "by itself; 0: none."
        ),
    ] = 1 << 22,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Keep what is done in OUTPUT.resume until all is; go on from there if a run ended "
            "early.",
        ),
    ] = False,
    max_shard_size: MaxShardSize = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Have Dask workers encode: tcp://HOST:PORT of a scheduler, local:N, slurm:N, "
            "lsf:N.",
        ),
    ] = None,
    *,
    options: ConfigOptions,
    as_json: Json = False,
) -> None:
    """Prune, quantize and encode a model; what is not given of the decoder is chosen to fit it."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.base.outputs import check_outputs
    from xorloom.sw.model.calibration.file import load
    from xorloom.sw.model.compress import compress_model
    from xorloom.sw.model.folders import beside_notes, folder_bytes, place_of
    from xorloom.sw.model.notes import loss_warning, report_notes
    from xorloom.sw.model.plan.given import UserArrays
    from xorloom.sw.model.plan.plans import plan_source
    from xorloom.sw.model.plan.source import open_source
    from xorloom.sw.model.prepare import UnitStore, block_sizes
    from xorloom.sw.model.reports.kept import KeptReport
    from xorloom.sw.remote.clusters import check_address, workers_at
    from xorloom.sw.tensors.checkpoint.model import listed

    if cluster is not None and jobs is not None:
        raise ConfigError("--jobs are threads of this machine: with --cluster, leave it out")
    if cluster is not None:
        check_address(cluster)
    shard_bytes = folder_bytes(model, output, max_shard_size)

    wanted = recipe_of(context)
    given = UserArrays(
        masks=read_masks(masks, choices),
        codes=as_bytes(read_arrays(codes, "codes")),
        saliency=read_arrays(saliency, "saliency", "f"),
        calibration=None if calibration is None else load(calibration),
    )
    source = open_source(model)
    read = [path for path in (calibration, choices) if path is not None]
    written = [output] if shard_bytes is None else []
    written += [] if save_choices is None else [save_choices]
    check_outputs(written, [*source.model.files, *read])
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        say(text)

    for text in (*source.notes, *(beside_notes(model) if shard_bytes is not None else ())):
        note(text)
    plans, settings = plan_source(source, wanted, given, note=note)
    if save_choices is not None:
        check_chosen(save_choices, plans)
    if unused := given.unused(plans):
        note(f"{calibration}: not used, as they are not compressed so: {listed(unused, 3)}")
    if save_choices is not None and block_weights:
        if whole := block_sizes(source.model, plans, given, block_weights):
            note(f"--save-choices writes whole masks, so these are not cut: {listed(whole, 3)}")
        block_weights = 0
    blocks = block_sizes(source.model, plans, given, block_weights)
    store = UnitStore.beside(output) if resume else None
    kept = KeptReport(source.model)
    if tell_kept and (cut := [name for name in blocks if plans[name].chooses]):
        note(f"--kept tells of whole tensors only, not of those in row blocks: {listed(cut, 3)}")

    def done(name: str, quantized: "Quantized", bits: "TensorBits") -> None:
        if name in plans and plans[name].chooses:
            kept(name, quantized, bits)

    place = place_of(model, source.model.files, output, shard_bytes, compressed=True)
    sizes = {
        unit: n
        for name in plans
        for unit, n in blocks.get(name, {name: source.model[name].size}).items()
    }
    waits = {unit for name in plans if plans[name].waits for unit in blocks.get(name, (name,))}
    waiting = {unit: n for unit, n in sizes.items() if unit in waits}
    with (
        place as out,
        nullcontext() if cluster is None else workers_at(cluster, say) as workers,
        progress_bar("compress", weights=[waiting, sizes]) as step,
    ):
        made = compress_model(
            source.model,
            out,
            plans,
            given=given,
            base=source.base,
            jobs=jobs,
            workers=workers,
            block_weights=block_weights,
            store=store,
            shard_bytes=shard_bytes,
            progress=step,
            done=done if tell_kept else None,
        )
    if store is not None:
        store.remove()
    if store is not None and store.found:
        more = ": --kept does not tell of them" if tell_kept else ""
        note(f"{store.folder}: {len(store.found)} tensors and blocks were done already{more}")
    if save_choices is not None:
        note(write_choices(output, save_choices, plans))
    for text in report_notes(made.tensors, settings):
        note(text)
    if text := loss_warning(made.tensors, settings):
        note(text)
    verdicts = verified(output, golden=False, max_weights=sys.maxsize) if verify else []
    facts = {"recipe": wanted.to_dict(), "notes": notes}
    _report(output, made, facts, kept.rows, verdicts, as_json)
    exit_if_failed(verdicts)


def _report(
    output: Path,
    made: "CompressedModel",
    facts: dict[str, Any],
    kept: "Sequence[dict[str, Any]]",
    verdicts: "Sequence[Verdict]",
    as_json: bool,
) -> None:
    if as_json:
        decoders = made.decoders
        more = {
            name: report.to_dict() | {"decoder": decoders.index(report.decoder)}
            for name, report in made.tensors.items()
        }
        report = decoders_json(decoders) | bits_json(made.bits, made.errors, more)
        report |= facts | ({"kept": list(kept)} if kept else {})
        print_json(report | ({"verify": verdicts_json(verdicts)} if verdicts else {}))
        return
    print_bits(str(output), made.bits, made.errors)
    if kept:
        from xorloom.sw.model.reports.kept import KEPT_COLUMNS

        rows = [[row[key] for key in KEPT_COLUMNS] for row in kept]
        print_table("chosen masks, beside the bound and N:M at the same bits", KEPT_COLUMNS, rows)
    for line in decoder_lines({name: report.decoder for name, report in made.tensors.items()}):
        typer.echo(line)
    if verdicts:
        print_verdicts(verdicts)


COMMANDS = (compress,)
