# SPDX-License-Identifier: Apache-2.0
"""Decoders of a model's tensors: one for all whose plans ask for the same codecs."""

from collections.abc import Mapping, Sequence
from functools import partial

from xorloom.sw.base.progress import Progress
from xorloom.sw.base.workers import Workers, in_order
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.value.search import Plane, cut_sample, search_block, search_window, window_for

from .aside import PackedPart, PutAside
from .maker import naming_errors, part_of, wanted_count
from .unit import Unit

__all__ = ["decoders_of"]


def decoders_of(
    units: Mapping[str, Unit], aside: PutAside | None, workers: Workers, progress: Progress
) -> dict[str, Decoder]:
    """Return the decoder of every unit: one for all whose plans ask for the same codecs.

    Parameters
    ----------
    units : mapping of name to Unit
    aside : PutAside, optional
        Where units are put that a search has quantized; needed if a plan waits for one.
    workers : Workers
    progress : callable
        Called with ``search`` and a name for every unit that a search has seen.
    """
    groups: dict[tuple[ValueConfig, bool, int, IndexConfig | None], list[Unit]] = {}
    for unit in units.values():
        plan = unit.plan
        wanted = (plan.config, plan.searches, plan.quantizer.planes, plan.index)
        groups.setdefault(wanted, []).append(unit)
    decoders: dict[str, Decoder] = {}
    for (config, search, planes, index), group in groups.items():
        total = sum(unit.tensor.size for unit in group)
        value = config
        if search and not group[0].plan.waits:
            assert isinstance(config, WindowConfig)
            counts = [partial(workers.run, wanted_count, unit) for unit in group]
            with in_order(counts, workers) as found:
                value = window_for(sum(found) / max(1, total), config)
        elif search:
            assert aside is not None
            sample: list[Plane] = []
            cuts = [partial(_cut, unit, aside, planes, total, workers) for unit in group]
            with in_order(cuts, workers) as planes_of:
                for unit, own in zip(group, planes_of, strict=True):
                    sample += own
                    progress("search", unit.name)
            value = _search(sample, config)
            del sample
        decoder = Decoder(value, index or index_for(value, planes))
        decoders |= {unit.name: decoder for unit in group}
    return decoders


def _cut(unit: Unit, aside: PutAside, planes: int, total: int, workers: Workers) -> list[Plane]:
    """Make a part and put it aside, but for the user's own; return its part of the sample."""
    with naming_errors(unit.tensor):
        packed, sample = workers.run(_sampled, unit, planes, total)
    if packed is not None:
        aside.put(unit.name, packed)
    return sample


def _sampled(unit: Unit, planes: int, total: int) -> tuple[PackedPart | None, list[Plane]]:
    """Make a part; return it, if it is not the user's own, and what a search sees of it."""
    part = part_of(unit)
    q = part.quantized
    packed = None if unit.is_given else PackedPart.of(part)
    return packed, cut_sample((q.mask, q.codes, planes), total)


def _search(sample: Sequence[Plane], config: ValueConfig) -> ValueConfig:
    """Choose the value decoder's free parameters for a sample of all tensors."""
    if isinstance(config, BlockConfig):
        return search_block(sample, config).config
    assert isinstance(config, WindowConfig)  # a codec that chooses the values has no search
    return search_window(sample, config)
