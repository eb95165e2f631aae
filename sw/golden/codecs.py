# SPDX-License-Identifier: Apache-2.0
"""GOLDEN MODEL of any codec's decoder, found by the codec's name."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from xorloom.sw.spec.config import DecoderConfig, ValueConfig
from xorloom.sw.spec.index_config import IndexConfig

__all__ = ["index_decoder", "value_decoder", "value_levels"]


def _decoder(config: DecoderConfig, room: str = "") -> Callable[..., Any]:
    module = import_module(f"{room}.{config.codec}", __package__)
    decoder: Callable[..., Any] = getattr(module, f"{config.codec}_decoder")
    return decoder


def index_decoder(config: IndexConfig, words: Sequence[int]) -> list[int]:
    """Twin of ``hw.index.decoder``: bus words of one index stream in, one integer per mask beat."""
    masks: list[int] = _decoder(config, ".index")(config, words)
    return masks


def value_decoder(config: ValueConfig, words: Sequence[int]) -> list[int]:
    """Bus words of one value stream in, one integer per beat of the codec's decoder."""
    beats: list[int] = _decoder(config)(config, config.columns, words)
    return beats


def value_levels(config: ValueConfig, words: Sequence[int]) -> list[int] | None:
    """Bus words of one value stream in, what its codes mean; ``None``: the stream does not say."""
    if not config.chooses_values:
        return None
    module = import_module(f".{config.codec}", __package__)
    levels: list[int] = getattr(module, f"{config.codec}_levels")(config, words)
    return levels
