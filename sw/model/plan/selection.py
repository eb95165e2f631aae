# SPDX-License-Identifier: Apache-2.0
"""Selection: which tensors of a model are compressed, and why the others are not.

Presets say what is usually left alone in models of a kind.
"""

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.checkpoint.model import listed

__all__ = ["MIN_SIZE", "PRESETS", "select", "spared"]

MIN_SIZE = 4096
"""Fewest elements of a tensor that is compressed though nobody named it."""

_TRANSFORMER = (
    # embeddings, and the head that shares their matrix: BERT, Llama, GPT-2, GPT-NeoX, T5, ViT
    *("*embed*", "*wte.*", "*wpe.*", "*shared.weight", "*lm_head*", "*cls_token*"),
    *("*norm*", "*ln_*", "*.ln?.*"),
    "*pooler*",
    "*bias*",
)
_FIRST_CHANNELS = (1, 3)


def _transformer(name: str, tensor: ModelTensor) -> bool:
    """Embeddings, the head that shares them, norms, pooler and biases, by their usual names."""
    return any(fnmatchcase(name.lower(), pattern) for pattern in _TRANSFORMER)


def _convolution(name: str, tensor: ModelTensor) -> bool:
    """Filters that see 1 or 3 channels: depthwise convolutions, and the first layer.

    Ref: Elsen et al., 2020, "Fast sparse ConvNets", section 3: these stay dense.
    """
    return len(tensor.shape) >= 3 and tensor.shape[1] in _FIRST_CHANNELS


PRESETS: dict[str, Callable[[str, ModelTensor], bool]] = {
    "transformer": _transformer,
    "convolution": _convolution,
}
"""Whether a preset leaves a tensor alone, by the preset's name."""


def spared(preset: str | None) -> Callable[[str, ModelTensor], bool]:
    """Return the function that tells whether a preset leaves a tensor alone; none leaves nothing.

    Raises
    ------
    ConfigError
        If there is no such preset.
    """
    if preset is None:
        return lambda name, tensor: False
    if preset not in PRESETS:
        raise ConfigError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
    return PRESETS[preset]


def _unfit(tensor: ModelTensor) -> str:
    """Tell why a tensor cannot be compressed at all; empty if it can."""
    if tensor.foreign or not tensor.is_float:
        return f"{tensor.dtype}, not floating point"
    return "" if tensor.size else "empty"


def _unasked(tensor: ModelTensor, min_size: int) -> str:
    """Tell why a tensor that can be compressed is not unless it is named; empty if it is."""
    if len(tensor.shape) < 2:
        return "of fewer than two dimensions"
    if tensor.size < min_size:
        return f"of fewer than {min_size} elements"
    return ""


def select(
    model: Mapping[str, ModelTensor],
    include: Sequence[str] = (),
    min_size: int = MIN_SIZE,
    *,
    exclude: Sequence[str] = (),
    preset: str | None = None,
    done: Sequence[str] = (),
    note: Callable[[str], None] = lambda text: None,
) -> list[str]:
    """Return the names of the tensors to compress, in the model's order.

    Parameters
    ----------
    include : sequence of str
        Names of tensors, or globs over those that qualify: floating point, two or more dimensions,
        at least ``min_size`` elements, not left alone by the preset. Empty: all that qualify. An
        exact name needs not qualify.
    min_size : int
    exclude : sequence of str
        Names, or globs over all tensors of the model.
    preset : str, optional
        One of :data:`PRESETS`.
    done : sequence of str
        Tensors of the file that are compressed already; ``model`` does not have them.
    note : callable
        Called with a line for what the preset leaves alone, or that it is nothing.

    Raises
    ------
    ConfigError
        If nothing qualifies, a pattern matches nothing, or a name is of a tensor that cannot be
        compressed.
    """
    path, ties = getattr(model, "path", None), getattr(model, "ties", {})
    where = f"{path}: " if path else ""
    reasons = {name: _unfit(t) or _unasked(t, min_size) for name, t in model.items()}
    leaves = spared(preset)
    known_as = {name: [name] for name in model}
    for other, name in ties.items():
        known_as.setdefault(name, []).append(other)
    alone = [
        name
        for name, tensor in model.items()
        if not reasons[name] and any(leaves(other, tensor) for other in known_as[name])
    ]
    reasons |= dict.fromkeys(alone, f"left alone by the preset {preset}")
    qualified = [name for name, reason in reasons.items() if not reason]
    names: set[str] = set()
    for pattern in include:
        exact = ties.get(pattern, pattern)
        if exact in done:
            raise ConfigError(
                f"{where}tensor {pattern!r} is compressed already: leave it out, or decompress the "
                "file first"
            )
        if exact in model:
            unfit = _unfit(model[exact])
            if unfit:
                shape = f" of shape {model[exact].shape}" if unfit == "empty" else ""
                raise ConfigError(f"{where}tensor {pattern!r}{shape} is {unfit}")
            names.add(exact)
            continue
        found = {name for name in qualified if fnmatchcase(name, pattern)}
        if not found:
            raise ConfigError(
                f"{where}no matrix matches {pattern!r} ({_known(pattern, model, reasons)})"
            )
        names |= found
    names = names or set(qualified)
    gone = _excluded(model, include, exclude, done, ties, where)
    if not names - gone:
        reasons |= dict.fromkeys(names & gone, "excluded")
        raise ConfigError(f"{where}no tensor to compress: {_skipped(reasons, done)}")
    names -= gone
    left = [name for name in alone if name not in names]
    if preset and not alone:
        note(f"the preset {preset} leaves alone nothing that qualifies without it")
    if left:
        note(f"the preset {preset} leaves {len(left)} alone: {listed(left, 3)}")
    return [name for name in model if name in names]


def _known(pattern: str, model: Mapping[str, ModelTensor], reasons: Mapping[str, str]) -> str:
    """Tell what there is instead of a pattern that matches nothing."""
    near = [name for name in reasons if fnmatchcase(name, pattern)]
    if near:
        hint = "" if _unfit(model[near[0]]) else ": name it in full to compress it anyway"
        return f"{near[0]!r} is {reasons[near[0]]}{hint}"
    qualified = sorted(name for name, reason in reasons.items() if not reason)
    return f"the model has: {', '.join(qualified[:3] or list(reasons)[:3])} ..."


def _excluded(
    model: Mapping[str, ModelTensor],
    include: Sequence[str],
    exclude: Sequence[str],
    done: Sequence[str],
    ties: Mapping[str, str],
    where: str,
) -> set[str]:
    """Return the names that are excluded; with a second name its tensor is."""
    gone: set[str] = set()
    for pattern in exclude:
        known = [*model, *done, *ties]
        found = {name for name in known if name == pattern or fnmatchcase(name, pattern)}
        if not found:
            raise ConfigError(
                f"{where}exclude {pattern!r} matches no tensor (there is: {listed(list(model), 3)})"
            )
        gone |= found | {ties[name] for name in found if name in ties}
    both = [pattern for pattern in include if pattern in gone or pattern in exclude]
    if both:
        raise ConfigError(f"{where}{both[0]!r} is both included and excluded")
    return gone


def _skipped(reasons: Mapping[str, str], done: Sequence[str]) -> str:
    """Tell in words why no tensor is left, one reason after the other."""
    groups: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        groups.setdefault(reason or "not asked for", []).append(name)
    if done:
        groups["compressed already"] = list(done)
    told = "; ".join(
        f"{len(names)} {reason} ({listed(names, 3)})" for reason, names in groups.items()
    )
    hint = " (name tensors with -t, or lower --min-size)" if "of few" in told else ""
    return (told or "the model has no tensors") + hint
