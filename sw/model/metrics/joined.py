# SPDX-License-Identifier: Apache-2.0
"""Reports of tensors that are compressed in row blocks, out of those of the blocks."""

from collections.abc import Sequence
from dataclasses import replace

from xorloom.sw.model.metrics import TensorReport, note_kind
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.model.prepare import CutModel

__all__ = ["joined_report"]


def joined_report(
    cut: CutModel, name: str, plan: TensorPlan, reports: Sequence[TensorReport]
) -> TensorReport:
    """Return the report of a tensor that was cut; say so if it has scales as it would not whole.

    Parameters
    ----------
    cut : CutModel
    name : str
    plan : TensorPlan
        Of the tensor.
    reports : sequence of TensorReport
        Of its blocks.
    """
    report = _sum(reports, plan)
    if report.quantizer is None:
        return report
    info, rows = cut.joined[name], lambda shape: plan.quantizer.scale_shape(shape)[0]
    found, whole = sum(rows(cut.model[block].shape) for block in info.blocks), rows(info.shape)
    if found == whole:
        return report
    note = f"has {found:,} scale rows, not {whole:,}: each of its row blocks has its own"
    return replace(report, notes=(*report.notes, note))


def _sum(blocks: Sequence[TensorReport], plan: TensorPlan) -> TensorReport:
    """Return the report of a tensor out of those of its row blocks.

    Its error is that of all its weights. Of what blocks may have each of its own the first stands:
    decoder, origin, quantizer (one with float32 scales, if there is one), fewer planes.
    """
    first = blocks[0]
    energy = sum(block.energy for block in blocks)
    errors = [block.error for block in blocks]
    error = None
    if None not in errors:
        lost = sum(block.energy * (block.error or 0) for block in blocks)
        error = lost / energy if energy else 0.0
    quantizers = [block.quantizer for block in blocks]
    wide = [q for q in quantizers if q is not None and q.scale_dtype == "float32"]
    return replace(
        first,
        bits=sum((block.bits for block in blocks[1:]), start=first.bits),
        plan=plan,
        quantizer=wide[0] if wide else first.quantizer,
        zeros=sum(block.zeros for block in blocks),
        error=error,
        better=next((block.better for block in blocks if block.better is not None), None),
        notes=_block_notes(blocks),
        energy=energy,
        blocks=len(blocks),
    )


def _block_notes(blocks: Sequence[TensorReport]) -> tuple[str, ...]:
    """Return the notes of blocks: of one kind the first, and in how many blocks there is one."""
    kinds: dict[str, list[str]] = {}
    for block in blocks:
        for note in block.notes:
            kinds.setdefault(note_kind(note), []).append(note)
    return tuple(
        f"{found[0]} (one of its {len(blocks)} row blocks; {len(found)} have such a note)"
        for found in kinds.values()
    )
