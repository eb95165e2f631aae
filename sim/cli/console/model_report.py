# SPDX-License-Identifier: Apache-2.0
"""Reports on compressed models: tables and JSON of compress, inspect and verify."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .output import print_table, progress_bar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xorloom.sw.model.metrics import TensorBits
    from xorloom.sw.model.verify import Verdict
    from xorloom.sw.spec.weight_format import Decoder

__all__ = [
    "BITS_COLUMNS",
    "FRAME_COLUMNS",
    "bits_json",
    "bits_rows",
    "decoder_lines",
    "decoders_json",
    "exit_if_failed",
    "frame_rows",
    "print_bits",
    "print_verdicts",
    "verdicts_json",
    "verified",
]

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
    "error",
    "of dense bound",
)
FRAME_COLUMNS = (
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


def _total(bits: "Mapping[str, TensorBits]") -> "TensorBits":
    return sum(list(bits.values())[1:], start=next(iter(bits.values())))


def bits_rows(
    bits: "Mapping[str, TensorBits]", errors: "Mapping[str, float | None]"
) -> list[tuple[object, ...]]:
    """Return table rows of bits per weight and errors, with all of them last.

    A dash stands where no error is told.
    """
    from xorloom.sw.model.metrics import loss_row, mean_error

    rows: list[tuple[object, ...]] = []
    every = [(name, b, errors.get(name)) for name, b in bits.items()]
    for name, b, error in [*every, ("all", _total(bits), mean_error(bits, errors))]:
        p = b.per_weight()
        parts = ("index", "seeds", "control", "scales", "overhead", "total", "bound")
        cells = [f"{p[key]:.4f}" for key in parts]
        kept = f"{100 * b.kept / max(1, b.weights):.1f} %"
        cells.append(f"{p['value_efficiency']:.3f}")
        cells += ["-" if loss is None else f"{loss:.4f}" for loss in loss_row(b, error).values()]
        rows.append((name, f"{b.weights:,}", kept, *cells))
    return rows


def print_bits(
    title: str, bits: "Mapping[str, TensorBits]", errors: "Mapping[str, float | None]"
) -> None:
    """Print where bits go, with relative squared errors, see :func:`bits_rows`."""
    print_table(f"{title}: bits per weight", BITS_COLUMNS, bits_rows(bits, errors))


def bits_json(
    bits: "Mapping[str, TensorBits]",
    errors: "Mapping[str, float | None]",
    more: "Mapping[str, Mapping[str, Any]]",
) -> dict[str, object]:
    """Return every tensor's bits and error, with ``more`` of each, and the same of all."""
    from xorloom.sw.model.metrics import loss_row, mean_error

    tensors = {
        name: b.to_dict() | loss_row(b, errors.get(name)) | dict(more[name])
        for name, b in bits.items()
    }
    total = _total(bits)
    return {"tensors": tensors, "all": total.to_dict() | loss_row(total, mean_error(bits, errors))}


def decoders_json(decoders: "Sequence[Decoder]") -> dict[str, Any]:
    """Return all decoders; codec, parameters and index at the top if there is one."""
    found = [decoder.to_dict() for decoder in decoders]
    return (found[0] if len(found) == 1 else {}) | {"decoders": found}


def decoder_lines(decoders: "Mapping[str, Decoder]") -> list[str]:
    """Return two lines for each decoder of tensors; with their names, if there are several."""
    from xorloom.sw.tensors.checkpoint.model import listed

    users: dict[Decoder, list[str]] = {}
    for name, decoder in decoders.items():
        users.setdefault(decoder, []).append(name)
    lines = []
    for decoder, names in users.items():
        for part, what in ((decoder.value, "decoder"), (decoder.index, "index")):
            values = ", ".join(f"{k} {v}" for k, v in part.to_dict().items())
            lines.append(f"{part.codec} {what}: {values}")
        if len(users) > 1:
            lines[-2] = f"{listed(names, 3)}: {lines[-2]}"
    return lines


def frame_rows(frames: "Mapping[str, dict[str, Any]]") -> list[tuple[object, ...]]:
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


def verified(model: Path, golden: bool, max_weights: int | None) -> "list[Verdict]":
    """Decode and check a file, with progress."""
    from xorloom.sw.model.container import read_container
    from xorloom.sw.model.verify import verify_model

    container = read_container(model, max_weights)
    with progress_bar("verify", weights=[container.sizes]) as step:
        return verify_model(container, golden=golden, progress=step)


def verdicts_json(verdicts: "Sequence[Verdict]") -> dict[str, object]:
    """Return verdicts, and whether all are good."""
    return {"ok": all(v.ok for v in verdicts), "tensors": [asdict(v) for v in verdicts]}


def print_verdicts(verdicts: "Sequence[Verdict]", how: str = "") -> None:
    """Print what failed, and how many did not."""
    for verdict in verdicts:
        if not verdict.ok:
            typer.echo(f"FAILED {verdict.message}")
    good = sum(verdict.ok for verdict in verdicts)
    typer.echo(f"{good} of {len(verdicts)} tensors are bit-exact{how}")


def exit_if_failed(verdicts: "Sequence[Verdict]") -> None:
    """End with exit code 1 if a tensor failed."""
    if not all(verdict.ok for verdict in verdicts):
        raise typer.Exit(1)
