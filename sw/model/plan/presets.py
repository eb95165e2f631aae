# SPDX-License-Identifier: Apache-2.0
"""Presets: what is usually left alone in models of a kind."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.tensors.checkpoint import ModelTensor

__all__ = ["PRESETS", "spared"]

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
