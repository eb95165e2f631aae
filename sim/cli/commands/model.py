# SPDX-License-Identifier: Apache-2.0
"""Commands on models: compress, decompress, inspect, verify."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from xorloom.sim.cli.console.options import config_options
from xorloom.sim.cli.console.output import Json, print_json, print_table, progress_bar
from xorloom.sim.generate.options import ConfigOptions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from xorloom.sw.model.metrics import TensorBits
    from xorloom.sw.model.verify import Verdict
    from xorloom.sw.spec.config import ValueConfig

__all__ = ["BITS_COLUMNS", "COMMANDS", "bits_rows", "compress", "decompress", "inspect", "verify"]

Compressed = Annotated[Path, typer.Argument(help="A compressed model (.safetensors).")]
BITS_COLUMNS = (
    "tensor",
    "weights",
    "kept",
    "index",
    "seeds",
    "control",
    "scales",
    "overhead",
    "total",
    "bound",
    "value eff.",
)


def bits_rows(bits: "Mapping[str, TensorBits]") -> list[tuple[object, ...]]:
    """Return table rows of bits per weight, with the sum last."""
    total = sum(list(bits.values())[1:], start=next(iter(bits.values())))
    rows: list[tuple[object, ...]] = []
    for name, b in [*bits.items(), ("all", total)]:
        p = b.per_weight()
        parts = ("index", "seeds", "control", "scales", "overhead", "total", "bound")
        cells = [f"{p[key]:.4f}" for key in parts]
        kept = f"{100 * b.kept / max(1, b.weights):.1f} %"
        rows.append((name, f"{b.weights:,}", kept, *cells, f"{p['value_efficiency']:.3f}"))
    return rows


def _bits_json(bits: "Mapping[str, TensorBits]") -> dict[str, object]:
    total = sum(list(bits.values())[1:], start=next(iter(bits.values())))
    return {"tensors": {n: b.to_dict() for n, b in bits.items()}, "all": total.to_dict()}


def _report(
    title: str,
    config: "ValueConfig",
    bits: "Mapping[str, TensorBits]",
    as_json: bool,
    kept: "Sequence[dict[str, Any]]" = (),
    verdicts: "Sequence[Verdict]" = (),
) -> None:
    if as_json:
        report = {"codec": config.codec, "config": config.to_dict()} | _bits_json(bits)
        report |= {"kept": list(kept)} if kept else {}
        print_json(report | ({"verify": _verdicts_json(verdicts)} if verdicts else {}))
        return
    print_table(f"{title}: bits per weight", BITS_COLUMNS, bits_rows(bits))
    if kept:
        from xorloom.sw.model.kept import KEPT_COLUMNS

        rows = [[row[key] for key in KEPT_COLUMNS] for row in kept]
        print_table("chosen masks, beside the bound and N:M at the same bits", KEPT_COLUMNS, rows)
    typer.echo(describe(config))
    if verdicts:
        _print_verdicts(verdicts)


def describe(config: "ValueConfig") -> str:
    """Return one line on a decoder's parameters."""
    return f"{config.codec} decoder: " + ", ".join(f"{k} {v}" for k, v in config.to_dict().items())


_FRAME_COLUMNS = (
    "tensor",
    "order",
    "streams",
    "slices",
    "frames",
    "fewest",
    "median",
    "most",
    "steps",
    "patches",
)


def _frame_rows(frames: "Mapping[str, dict[str, Any]]") -> list[tuple[object, ...]]:
    """Return table rows of the frames' rates; ``steps`` is all of them."""
    rows: list[tuple[object, ...]] = []
    for name, facts in frames.items():
        steps = sorted(facts["steps"]) or [0]
        rates = [steps[k] / facts["frame_slices"] for k in (0, len(steps) // 2, -1)]
        cells = [f"{rate:.3f}" for rate in rates]
        counts = (facts["streams"], facts["slices"], len(facts["steps"]))
        rows.append(
            (
                name,
                facts["order"],
                *(f"{n:,}" for n in counts),
                *cells,
                f"{sum(facts['steps']):,}",
                f"{sum(facts['patches']):,}",
            )
        )
    return rows


def _arrays(path: Path | None, what: str, kinds: str = "bui") -> "dict[str, np.ndarray]":
    """Read a file of the user's own masks, codes or saliencies."""
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.tensors.checkpoint import open_model

    if path is None:
        return {}
    arrays = {name: tensor.load() for name, tensor in open_model(path).items()}
    for name, array in arrays.items():
        if array.dtype.kind not in kinds:
            wanted = "floating point" if kinds == "f" else "bool or integer"
            raise ConfigError(f"{path}: {what} of {name!r} is {array.dtype}, not {wanted}")
    return arrays


@config_options("model", "stages")
def compress(
    model: Annotated[
        Path, typer.Argument(help="Checkpoint: .safetensors, .npz, .onnx, or .pt with torch.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Compressed .safetensors file.")],
    sparsity: Annotated[
        float | None, typer.Option(help="Share of pruned weights, in [0, 1).", show_default="0.9")
    ] = None,
    density: Annotated[
        float | None, typer.Option(help="Share of kept weights: 1 - sparsity.")
    ] = None,
    index: Annotated[
        str | None,
        typer.Option(
            help="bitmap or entropy: any mask; trellis or lowrank: choose the mask.",
            show_default="bitmap; trellis with index bits",
        ),
    ] = None,
    index_bits: Annotated[
        float | None, typer.Option(help="Index bits per weight, where the index chooses the mask.")
    ] = None,
    bits_per_weight: Annotated[
        float | None,
        typer.Option(
            help="All bits per weight: choose density and index for the most energy in it."
        ),
    ] = None,
    index_window: Annotated[
        int, typer.Option(help="trellis: seed bits in view, 6 to 16; one more doubles the time.")
    ] = 14,
    index_classes: Annotated[
        int, typer.Option(help="trellis: density classes of lanes, 1 or 4.")
    ] = 1,
    importance: Annotated[
        str,
        typer.Option(
            help="What a chosen mask keeps most of: magnitude or energy.",
            show_default="magnitude; energy with bits per weight",
        ),
    ] = "",
    saliency: Annotated[
        Path | None,
        typer.Option(help="Your own importance of every weight, by tensor name."),
    ] = None,
    scope: Annotated[str, typer.Option(help="Prune per tensor, row, or global.")] = "tensor",
    quantizer: Annotated[
        str, typer.Option(help="binary, alternating, ternary or uniform.")
    ] = "binary",
    planes: Annotated[int, typer.Option(help="Bits per kept weight, 1 to 8.")] = 1,
    scale: Annotated[str, typer.Option(help="Scale per tensor, row or group.")] = "row",
    group: Annotated[int, typer.Option(help="Weights per group.")] = 128,
    scale_dtype: Annotated[str, typer.Option(help="float16 or float32.")] = "float16",
    tensors: Annotated[
        list[str] | None,
        typer.Option(
            "--tensors", "-t", help="Exact names, or globs over matrices; default: all matrices."
        ),
    ] = None,
    min_size: Annotated[int, typer.Option(help="Fewest elements of a matrix.")] = 4096,
    masks: Annotated[
        Path | None, typer.Option(help="Your own masks, by tensor name (non-zero = kept).")
    ] = None,
    codes: Annotated[
        Path | None, typer.Option(help="Your own uint8 codes, by tensor name; need masks.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Then decode the file and check it, as verify does.")
    ] = False,
    order: Annotated[
        str,
        typer.Option(
            help="window: auto, row, column, strided, strided-column, skewed, skewed-column."
        ),
    ] = "auto",
    *,
    options: ConfigOptions,
    as_json: Json = False,
) -> None:
    """Prune, quantize and encode a model; what is not given of the decoder is chosen to fit it."""
    import numpy as np
    from xorloom.sw.base.errors import ConfigError
    from xorloom.sw.model.compress import compress_model
    from xorloom.sw.model.kept import KeptReport
    from xorloom.sw.model.request import IndexRequest
    from xorloom.sw.model.selection import UserArrays, select
    from xorloom.sw.model.spec import CompressSpec
    from xorloom.sw.tensors.checkpoint import open_model
    from xorloom.sw.tensors.quantize import Quantizer

    if output.suffix != ".safetensors":
        raise ConfigError(f"output must end in .safetensors, not {output.name!r}")
    if output.resolve() == model.resolve():
        raise ConfigError("output must not be the input file")
    config = options.config()
    if order != "auto" and config.codec == "block":
        raise ConfigError("--order belongs to --value window, not block")
    if sparsity is not None and density is not None:
        raise ConfigError("give either --sparsity or --density")
    source = open_model(model)
    patterns = tuple(tensors or ())
    request = IndexRequest(
        index, index_bits, bits_per_weight, density, sparsity, index_window, index_classes
    )
    how = Quantizer(quantizer, planes, scale, group, scale_dtype)
    names = select(source, patterns, min_size)
    kept_density, index_of = request.resolve(source, names, config, how)
    spec = CompressSpec(
        sparsity=1 - kept_density,
        scope=scope,
        quantizer=how,
        config=config,
        order=order,
        search=(options.n_out if config.codec == "block" else options.n_in) is None,
        include=patterns,
        min_size=min_size,
        index=index_of,
        importance=importance or ("magnitude" if bits_per_weight is None else "energy"),
    )
    given = UserArrays(
        masks=_arrays(masks, "mask"),
        codes={n: c.astype(np.uint8) for n, c in _checked(_arrays(codes, "codes")).items()},
        saliency=_arrays(saliency, "saliency", "f"),
    )
    kept = KeptReport(source)
    passes = 2 if spec.search and not spec.chooses else 1
    with progress_bar("compress", len(names) * passes) as step:
        config, bits = compress_model(
            source,
            output,
            spec,
            names=names,
            given=given,
            progress=step,
            done=kept if spec.chooses else lambda name, quantized, bits: None,
        )
    verdicts = _verified(output, golden=False) if verify else []
    _report(str(output), config, bits, as_json, kept.rows, verdicts)
    _exit_if_failed(verdicts)


def _checked(codes: "dict[str, np.ndarray]") -> "dict[str, np.ndarray]":
    """Refuse codes that uint8 cannot hold, before they are narrowed."""
    from xorloom.sw.base.errors import ConfigError

    for name, array in codes.items():
        if array.size and (int(array.min()) < 0 or int(array.max()) > 255):
            raise ConfigError(f"codes of {name!r} must be between 0 and 255")
    return codes


def decompress(
    model: Compressed,
    output: Annotated[Path, typer.Option("-o", "--output", help="Plain .safetensors file.")],
) -> None:
    """Decode a compressed model into plain weights, checking everything on the way."""
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.decompress import decompress_model

    with progress_bar("decompress", len(read_container(model).tensors)) as step:
        shapes = decompress_model(model, output, step)
    typer.echo(f"{output}: {len(shapes)} tensors decoded")


def inspect(
    model: Compressed,
    tensor: Annotated[str | None, typer.Option("--tensor", "-t", help="One tensor only.")] = None,
    as_json: Json = False,
) -> None:
    """Show where the bits of a compressed model go, beside the entropy bound."""
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.inspect import FIFO_COLUMNS, fifo_rows, tensor_bits, tensor_frames

    container = read_container(model)
    names = list(container.tensors) if tensor is None else [tensor]
    with progress_bar("inspect", len(names)) as step:
        bits, frames = {}, {}
        for name in names:
            bits[name] = tensor_bits(container, name)
            rates = tensor_frames(container, name)
            if rates is not None:
                frames[name] = rates
            step(name)
    fifos = [row for row in fifo_rows(container) if row["tensor"] in names]
    if as_json:
        report: dict[str, Any] = container.decoder(names).to_dict()
        print_json(report | _bits_json(bits) | {"frames": frames, "fifos": fifos})
        return
    decoder = container.decoder(names)
    _report(str(model), decoder.value, bits, as_json=False)
    if frames:
        print_table("frames: steps per slice", _FRAME_COLUMNS, _frame_rows(frames))
    if fifos:
        cells = [
            [row["tensor"], *(f"{row[key]:,.0f}" for key in FIFO_COLUMNS[1:])] for row in fifos
        ]
        print_table("index FIFO at constant supply beyond the mean", FIFO_COLUMNS, cells)
    index = ", ".join(f"{k} {v}" for k, v in decoder.index.to_dict().items())
    typer.echo(f"{decoder.index.codec} index: {index}")


def verify(
    model: Compressed,
    golden: Annotated[
        bool, typer.Option(help="Decode with the slow golden model as well, and compare.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Decode everything and check it against the checksums of what was compressed."""
    verdicts = _verified(model, golden)
    if as_json:
        print_json(_verdicts_json(verdicts))
    else:
        _print_verdicts(verdicts, " with the fast decoder and the golden model" if golden else "")
    _exit_if_failed(verdicts)


def _verified(model: Path, golden: bool) -> "list[Verdict]":
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.verify import verify_model

    container = read_container(model)
    count = len(container.tensors) + len(container.untouched)
    with progress_bar("verify", count) as step:
        return verify_model(container, golden=golden, progress=step)


def _verdicts_json(verdicts: "Sequence[Verdict]") -> dict[str, object]:
    return {"ok": all(v.ok for v in verdicts), "tensors": [asdict(v) for v in verdicts]}


def _print_verdicts(verdicts: "Sequence[Verdict]", how: str = "") -> None:
    for verdict in verdicts:
        if not verdict.ok:
            typer.echo(f"FAILED {verdict.message}")
    good = sum(verdict.ok for verdict in verdicts)
    typer.echo(f"{good} of {len(verdicts)} tensors are bit-exact{how}")


def _exit_if_failed(verdicts: "Sequence[Verdict]") -> None:
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)


COMMANDS = (compress, decompress, inspect, verify)
