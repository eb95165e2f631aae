# SPDX-License-Identifier: Apache-2.0
"""Layers: tensors of a model that differ in their numbers only, told together."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.direct import DirectConfig

__all__ = ["Layer", "pattern_of", "stem_of", "words_of"]

_NUMBER = re.compile(r"(?<![^./_\[-])\d+(?![^./_\]-])")
"""A number that is a part of a name by itself."""


@dataclass(frozen=True)
class Layer:
    """Tensors of one shape that become the same, with their sums.

    Parameters
    ----------
    name : str
        Of a tensor, or a pattern: ``{0..31}`` for all of these numbers, ``*`` for some.
    tensors, blocks : int
        How many there are, and how many row blocks they are cut into, if they are.
    shape : tuple of int
        Of one tensor.
    dtype : str
    becomes : str
        Codecs in a few words; empty: it passes through.
    weights : int
    kept : float
        Weights that are kept.
    stored : float
        Bytes of streams and scales, or what passes through.
    cpu, decode : float
        CPU seconds to compress and to decompress.
    memory : float
        Bytes that a thread has for one of them, or a block, while it compresses it.
    """

    name: str
    tensors: int
    blocks: int
    shape: tuple[int, ...]
    dtype: str
    becomes: str
    weights: int
    kept: float
    stored: float
    cpu: float
    decode: float
    memory: float

    @property
    def bits_per_weight(self) -> float:
        """Stored bits for each weight."""
        return 8 * self.stored / max(1, self.weights)


def stem_of(name: str) -> str:
    """Return what names of tensors that are alike have in common."""
    return _NUMBER.sub("#", name)


def pattern_of(names: Sequence[str]) -> str:
    """Return one name for several with the same stem."""
    numbers = [_NUMBER.findall(name) for name in names]
    parts = _NUMBER.split(names[0])
    found = parts[0]
    for column, part in zip(zip(*numbers, strict=True), parts[1:], strict=True):
        different = sorted({int(number) for number in column})
        first, last = different[0], different[-1]
        if first == last:
            found += column[0]
        else:
            whole = last - first + 1 == len(different)
            found += f"{{{first}..{last}}}" if whole else "*"
        found += part
    return found


def words_of(plan: TensorPlan, kept: float) -> str:
    """Return what tensors become, in a few words."""
    if isinstance(plan.config, DirectConfig):
        return f"direct, {plan.config.rate} bits"
    index = "bitmap" if plan.index is None else plan.index.codec
    planes = plan.quantizer.planes
    codes = f"{planes} bit{'' if planes == 1 else 's'}"
    values = "" if plan.config.codec == "window" else f"{plan.config.codec}, "
    return f"{values}{index} index, {codes} of {100 * kept:.3g} %"
