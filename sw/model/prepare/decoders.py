# SPDX-License-Identifier: Apache-2.0
"""Decoders of a model's tensors: one for all whose plans ask for the same codecs."""

from collections.abc import Mapping, Sequence
from functools import partial

from xorloom.sw.base.progress import Progress
from xorloom.sw.base.workers import in_order
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.config import BlockConfig, ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import Decoder, index_for
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.value.search import Plane, cut_sample, search_block, search_window, window_for

from .aside import PutAside
from .maker import naming_errors, wanted_count

__all__ = ["decoders_of"]


def decoders_of(
    model: Mapping[str, ModelTensor],
    plans: Mapping[str, TensorPlan],
    given: UserArrays,
    aside: PutAside | None,
    jobs: int,
    progress: Progress,
) -> dict[str, Decoder]:
    """Return the decoder of every tensor: one for all whose plans ask for the same codecs."""
    groups: dict[tuple[ValueConfig, bool, int, IndexConfig | None], list[str]] = {}
    for name, plan in plans.items():
        wanted = (plan.config, plan.searches, plan.quantizer.planes, plan.index)
        groups.setdefault(wanted, []).append(name)
    decoders: dict[str, Decoder] = {}
    for (config, search, planes, index), names in groups.items():
        total = sum(model[name].size for name in names)
        value = config
        if search and not plans[names[0]].waits:
            assert isinstance(config, WindowConfig)
            counts = [partial(wanted_count, model[n], plans[n], given) for n in names]
            with in_order(counts, jobs) as found:
                value = window_for(sum(found) / max(1, total), config)
        elif search:
            assert aside is not None
            cut = partial(_cut, model, given, aside, planes, total)
            sample: list[Plane] = []
            with in_order([partial(cut, name) for name in names], jobs) as cuts:
                for name, planes_of in zip(names, cuts, strict=True):
                    sample += planes_of
                    progress("search", name)
            value = _search(sample, config)
            del sample
        decoder = Decoder(value, index or index_for(value, planes))
        decoders |= dict.fromkeys(names, decoder)
    return decoders


def _cut(
    model: Mapping[str, ModelTensor],
    given: UserArrays,
    aside: PutAside,
    planes: int,
    total: int,
    name: str,
) -> list[Plane]:
    """Make a tensor and put it aside, but for the user's own; return its part of the sample."""
    with naming_errors(model[name]):
        here = name in given.codes or name in given.quantized
        q = (aside.take if here else aside.put)(name).quantized
    return cut_sample((q.mask, q.codes, planes), total)


def _search(sample: Sequence[Plane], config: ValueConfig) -> ValueConfig:
    """Choose the value decoder's free parameters for a sample of all tensors."""
    if isinstance(config, BlockConfig):
        return search_block(sample, config).config
    assert isinstance(config, WindowConfig)  # a codec that chooses the values has no search
    return search_window(sample, config)
