# SPDX-License-Identifier: Apache-2.0
"""Pairs of weights and mask, as ``torch.nn.utils.prune`` saves them: one pruned tensor each."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from xorloom.sw.base.errors import ConfigError

from .model import Checkpoint, ModelTensor, listed, reader

__all__ = ["MASK_OF", "ORIGINAL", "join_pairs"]

ORIGINAL, MASK_OF = "_orig", "_mask"
"""Suffixes. Ref: torch.nn.utils.prune.BasePruningMethod.apply."""
_MASK_DTYPES = frozenset(("BOOL", "U8", "I8", "I32", "I64", "F16", "BF16", "F32", "F64"))


def join_pairs(model: Checkpoint) -> Checkpoint:
    """Return a checkpoint in which ``X_orig`` and ``X_mask`` of one shape became ``X``.

    ``X`` is their product, in the dtype of ``X_orig``; its zeros are its mask.

    Raises
    ------
    ConfigError
        If the checkpoint has a tensor ``X`` as well.
    """
    whole = dict(model.tensors)
    for alias, holder in model.ties.items():
        whole[alias] = replace(model.tensors[holder], name=alias)
    pairs = dict.fromkeys(name for name in whole if _is_pair(name, whole))
    if not pairs:
        return model
    originals = {name.removesuffix(ORIGINAL): name for name in pairs}
    for name, original in originals.items():
        if name in whole:
            raise ConfigError(
                f"{whole[name].label} is there beside {original!r} and its mask: which of them "
                "are the weights? Rename or remove one"
            )
    masks = {name + MASK_OF for name in originals}
    parts = masks | pairs.keys()
    # What was tied to a part of a pair has its own data from here on.
    ties = {a: h for a, h in model.ties.items() if a not in parts and h not in parts}
    tensors: dict[str, ModelTensor] = {}
    for name, tensor in whole.items():
        if name in pairs:
            joined = name.removesuffix(ORIGINAL)
            tensors[joined] = _joined(joined, tensor, whole[joined + MASK_OF])
        elif name not in masks and name not in ties:
            tensors[name] = tensor
    note = (
        f"pruned pairs X{ORIGINAL}, X{MASK_OF} read as one tensor X each, their product: "
        f"{listed(originals)}"
    )
    return replace(model, tensors=tensors, ties=ties, notes=(*model.notes, note))


def _is_pair(name: str, tensors: Mapping[str, ModelTensor]) -> bool:
    stem = name.removesuffix(ORIGINAL)
    mask = tensors.get(stem + MASK_OF)
    return (
        stem not in ("", name)
        and mask is not None
        and tensors[name].is_float
        and not mask.foreign
        and mask.dtype in _MASK_DTYPES
        and mask.shape == tensors[name].shape
    )


def _joined(name: str, original: ModelTensor, mask: ModelTensor) -> ModelTensor:
    def product() -> np.ndarray:
        values, kept = original.load(), mask.load()
        # Not a plain product: a pruned infinity would be no zero, but not a number.
        with np.errstate(invalid="ignore"):
            scaled = values * kept.astype(values.dtype)
        return np.where(kept != 0, scaled, values.dtype.type(0))

    load: Callable[[], np.ndarray] = reader(f"{original.source}: tensor {name!r}", product)
    return replace(original, name=name, load=load, pruned=True, span=None)
