# SPDX-License-Identifier: Apache-2.0
"""Plans of layers: what the weights of a module become, and which weights a plan is for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.model.plan.selection import MIN_SIZE
from xorloom.sw.tensors.checkpoint.model import listed

__all__ = ["MASKS", "PLANES_MAX", "VALUES", "LayerPlan", "Plans", "Weight", "resolve", "weights_of"]

MASKS = ("all", "magnitude", "trellis", "lowrank", "hashed", "n:m")
"""Ways to a mask."""
VALUES = ("window", "block", "direct")
"""Value codecs."""
CHOSEN = ("trellis", "lowrank", "hashed")
"""Masks that an index codec chooses."""
PLANES_MAX = 3


@dataclass(frozen=True)
class LayerPlan:
    """What a weight becomes.

    Parameters
    ----------
    mask : str
        ``all``: every weight is kept; ``magnitude``: the largest; ``trellis``, ``lowrank``,
        ``hashed``: what the index codec of that name chooses; ``n:m``: ``pattern``.
    density : float in (0, 1)
        Share of kept weights; not of ``all`` and ``n:m``.
    index_bits : float, optional
        Index bits per weight, of ``trellis`` and ``lowrank``.
    pattern : (int, int)
        Of ``n:m``: n of every m weights in a row are kept, the largest.
    planes : int, 1 to 3
        Bits of a kept weight: a sum of so many scales, each with a sign.
    scale : str
        ``tensor`` or ``row``: what shares scales.
    value : str
        ``window``, ``block`` or ``direct``, the value codec. With ``direct`` nothing is pruned, and
        ``rate``, ``window`` and ``taps`` say the network.
    rate : Fraction, optional
        Of ``direct``: seed bits per weight.
    window, taps : int, optional
        Of the network of ``direct``; ``window`` also of the trellis index.
    seed : int
        Of the network of ``direct``.

    Raises
    ------
    ConfigError
        If a parameter is out of range, or two do not go together.
    """

    mask: str = "trellis"
    density: float = 0.1
    index_bits: float | None = None
    pattern: tuple[int, int] = (2, 4)
    planes: int = 1
    scale: str = "tensor"
    value: str = "window"
    rate: Fraction | None = None
    window: int | None = None
    taps: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("mask", MASKS),
            ("scale", ("tensor", "row")),
            ("value", VALUES),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
                )
        if not 0 < self.density < 1:
            raise ConfigError(
                f"density must be in (0, 1), not {self.density!r} (mask all keeps every weight)"
            )
        check_range("planes", self.planes, 1, PLANES_MAX)
        if self.index_bits is not None and self.mask not in ("trellis", "lowrank"):
            raise ConfigError(
                f"index_bits goes with the masks trellis and lowrank, not {self.mask} (leave it "
                "out)"
            )
        for own in ("window", "taps"):
            if getattr(self, own) is not None:
                check_range(own, getattr(self, own), 1, 64)
        if self.window is not None and self.value != "direct" and self.mask != "trellis":
            raise ConfigError(
                f"window goes with value direct and mask trellis, not {self.mask} (leave it out)"
            )
        if len(self.pattern) != 2:
            raise ConfigError(f"pattern must be (n, m), not {self.pattern}")
        kept, of = self.pattern
        if not 1 <= check_range("n of pattern", kept, 1, 1 << 16) < of:
            raise ConfigError(f"pattern must be (n, m) with 1 <= n < m, not {self.pattern}")
        if self.value == "block" and self.mask in CHOSEN:
            raise ConfigError(
                f"the {self.mask} index goes with the window value codec, not block (use value "
                "window, or mask magnitude)"
            )
        if self.value == "direct" and self.mask != "all":
            raise ConfigError(f"value direct keeps every weight: mask must be all, not {self.mask}")
        if self.value != "direct" and (self.rate is not None or self.taps is not None):
            raise ConfigError(f"rate and taps go with value direct, not {self.value}")

    @property
    def kept(self) -> float:
        """Share of weights that are kept."""
        if self.mask == "all":
            return 1.0
        return self.pattern[0] / self.pattern[1] if self.mask == "n:m" else self.density


Plans = LayerPlan | Mapping[str, LayerPlan | None]
"""One plan for all weights, or plans by glob patterns of names; ``None`` leaves a weight alone."""


@dataclass(frozen=True)
class Weight:
    """Weight of a module.

    Parameters
    ----------
    names : tuple of str
        As in the state dict; more than one where it is tied. The first is the one that a file has.
    places : tuple of (module, str)
        The modules that own it and what they call it, one for each name.
    kind : str
        Class of the first module.
    parameter : torch.nn.Parameter
    """

    names: tuple[str, ...]
    places: tuple[tuple[Any, str], ...]
    kind: str
    parameter: Any

    @property
    def name(self) -> str:
        """Name in a file."""
        return self.names[0]


_KINDS = ("Linear", "Conv1d", "Conv2d", "Embedding", "LSTM", "GRU", "RNN", "MultiheadAttention")
"""Classes of torch.nn whose weights one plan for all is for."""


def weights_of(module: Any) -> list[Weight]:
    """Return all parameters of two dimensions or more, in the order of the state dict.

    Those that are pruned already are not among them.
    """
    found: dict[int, Weight] = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        if "parametrizations" in prefix.split("."):
            continue
        for own, parameter in part.named_parameters(recurse=False):
            if parameter.ndim < 2:
                continue
            name = f"{prefix}.{own}" if prefix else own
            known = found.get(id(parameter))
            if known is None:
                found[id(parameter)] = Weight((name,), ((part, own),), _kind(part), parameter)
                continue
            places = known.places
            if not any(part is there and own == called for there, called in places):
                places = (*places, (part, own))
            found[id(parameter)] = Weight((*known.names, name), places, known.kind, parameter)
    return list(found.values())


def _kind(part: Any) -> str:
    import torch

    for kind in _KINDS:
        if isinstance(part, getattr(torch.nn, kind)):
            return kind
    return type(part).__name__


def resolve(module: Any, plan: Plans) -> list[tuple[Weight, LayerPlan]]:
    """Return the weights that a plan is for, each with its own plan.

    One plan is for the weights of Linear, Conv1d, Conv2d, Embedding, recurrent layers and
    MultiheadAttention that have at least
    :data:`xorloom.sw.model.plan.selection.MIN_SIZE` elements. Patterns are for any parameter of two
    dimensions or more, of any size; a name without wildcards comes before patterns.

    Raises
    ------
    ConfigError
        If a plan names no weight, or one that is pruned already or cannot be; if two patterns name
        the same one and their plans differ.
    """
    there = weights_of(module)
    taken = _parametrized(module)
    if isinstance(plan, LayerPlan):
        chosen = [w for w in there if w.kind in _KINDS and w.parameter.numel() >= MIN_SIZE]
        if not chosen:
            raise ConfigError(
                f"the plan names no weight: {type(module).__name__} has none of {MIN_SIZE:,} "
                f"elements or more in layers of {', '.join(_KINDS)} (give patterns of names)"
            )
        _refuse(taken)
        return [(_checked(weight), plan) for weight in chosen]
    if not isinstance(plan, Mapping):
        raise ConfigError(f"a plan is a LayerPlan or a mapping of them by name, not {plan!r}")
    _refuse([name for name in taken if _own([name], plan) is not None])
    found: list[tuple[Weight, LayerPlan]] = []
    names = [*taken, *(name for weight in there for name in weight.names)]
    unused = [p for p in plan if not any(fnmatchcase(name, p) for name in names)]
    for weight in there:
        own = _own(weight.names, plan)
        if own is not None:
            found.append((_checked(weight), own))
    if unused or not found:
        what = f"{unused[0]!r} names" if unused else "the plan names"
        raise ConfigError(
            f"{what} no weight of {type(module).__name__}: there are "
            f"{listed(name for weight in there for name in weight.names) or 'none'} (of two "
            "dimensions or more)"
        )
    return found


def _own(names: Sequence[str], plan: Mapping[str, LayerPlan | None]) -> LayerPlan | None:
    """Return the plan of a weight, by its names."""
    matches = [p for p in plan if any(fnmatchcase(name, p) for name in names)]
    exact = [p for p in matches if p in names] or matches
    if len({plan[p] for p in exact}) > 1:
        raise ConfigError(
            f"{names[0]}: {' and '.join(map(repr, exact))} both name it and differ (give its own "
            "name, which comes before patterns)"
        )
    own = plan[exact[0]] if exact else None
    if own is not None and not isinstance(own, LayerPlan):
        raise ConfigError(f"{names[0]}: its plan must be a LayerPlan, not {own!r}")
    return own


def _parametrized(module: Any) -> list[str]:
    """Return the names of weights that are pruned, or parametrized otherwise."""
    from torch.nn.utils import parametrize

    return [
        f"{prefix}.{own}" if prefix else own
        for prefix, part in module.named_modules(remove_duplicate=False)
        if parametrize.is_parametrized(part)
        for own in part.parametrizations
    ]


def _refuse(taken: Sequence[str]) -> None:
    if taken:
        raise ConfigError(
            f"{listed(taken)}: pruned already, or parametrized otherwise (bake(module) makes "
            "pruned weights plain ones; give a plan for others by their names, None for these)"
        )


def _checked(weight: Weight) -> Weight:
    parameter = weight.parameter
    if not parameter.numel() or not parameter.is_floating_point() or parameter.is_meta:
        what = "the meta device" if parameter.is_meta else f"shape {tuple(parameter.shape)}"
        raise ConfigError(
            f"{weight.name} is {parameter.dtype} of {what}: only floating-point weights with "
            "elements can be pruned (leave it out, give it the plan None)"
        )
    return weight
