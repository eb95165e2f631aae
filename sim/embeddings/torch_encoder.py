# SPDX-License-Identifier: Apache-2.0
"""BERT sentence encoder as a module of torch: to train, with the names of the checkpoint."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from xorloom.sw.base.errors import ConfigError

__all__ = ["TorchEncoder", "batches_of", "padded", "torch_encoder"]

_EPSILON = 1e-12
"""Of MiniLM's layer norms."""


class _SelfAttention(nn.Module):
    """Attention of every token to the real tokens of its sentence."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        batch, length, width = hidden.shape
        q, k, v = (
            part(hidden).view(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, mask[:, None, None, :])
        return mixed.transpose(1, 2).reshape(batch, length, width)


class _Output(nn.Module):
    """A matrix, and the layer norm of its output beside what went around it."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, _EPSILON)

    def forward(self, inner: torch.Tensor, around: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dense(inner) + around)


def _part(**parts: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict(parts)


class _Layer(nn.Module):
    """A transformer layer."""

    def __init__(self, width: int, inner: int, heads: int) -> None:
        super().__init__()
        self.attention = nn.ModuleDict()
        # ``self`` is the checkpoint's word, so it cannot be a keyword here.
        self.attention.update({"self": _SelfAttention(width, heads)})
        self.attention.update({"output": _Output(width, width)})
        self.intermediate = _part(dense=nn.Linear(width, inner))
        self.output = _Output(inner, width)

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        mixed = self.attention["self"](hidden, mask)
        hidden = self.attention["output"](mixed, hidden)
        inner = nn.functional.gelu(self.intermediate["dense"](hidden))
        return self.output(inner, hidden)


class _Embeddings(nn.Module):
    """Sum of the embeddings of token, place and type, and its layer norm."""

    def __init__(self, words: int, positions: int, types: int, width: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(words, width)
        self.position_embeddings = nn.Embedding(positions, width)
        self.token_type_embeddings = nn.Embedding(types, width)
        self.LayerNorm = nn.LayerNorm(width, _EPSILON)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        places = torch.arange(ids.shape[1])
        found = self.word_embeddings(ids) + self.position_embeddings(places)
        return self.LayerNorm(found + self.token_type_embeddings.weight[0])


class TorchEncoder(nn.Module):
    """Forward pass of a BERT encoder with mean pooling, such as MiniLM-L6.

    It is :class:`xorloom.sim.embeddings.encoder.SentenceEncoder` for training. Sources: Devlin et
    al., NAACL 2019, "BERT"; Reimers and Gurevych, EMNLP 2019, "Sentence-BERT".

    Parameters
    ----------
    words, positions, types : int
        Rows of the three tables of embeddings.
    width, inner, layers, heads : int
        Features of a token, of the inner layer; transformer layers; attention heads of each.
    """

    def __init__(
        self,
        *,
        words: int,
        positions: int,
        types: int,
        width: int,
        inner: int,
        layers: int,
        heads: int,
    ) -> None:
        super().__init__()
        self.embeddings = _Embeddings(words, positions, types, width)
        self.encoder = _part(
            layer=nn.ModuleList(_Layer(width, inner, heads) for _ in range(layers))
        )

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> list[torch.Tensor]:
        """Return the hidden states behind every layer, and last the embeddings.

        Parameters
        ----------
        ids : (sentences, longest) int64
            Token ids, padded with any; see :func:`padded`.
        lengths : (sentences,) int64
            Tokens of every sentence.

        Returns
        -------
        list of float32 tensors
            Per layer (sentences, longest, width), padding set to 0; last (sentences, width), of
            length 1 each.
        """
        mask = torch.arange(ids.shape[1]) < lengths[:, None]
        real = mask[:, :, None].to(torch.float32)
        hidden = self.embeddings(ids)
        found = []
        layers: Any = self.encoder["layer"]
        for layer in layers:
            hidden = layer(hidden, mask)
            found.append(hidden * real)
        pooled = found[-1].sum(dim=1) / lengths[:, None].to(torch.float32)
        return [*found, nn.functional.normalize(pooled, dim=1)]

    def embed(self, sentences: Sequence[Sequence[int]], batch: int = 64) -> np.ndarray:
        """Return the embeddings of sentences of token ids, (sentences, width) float32."""
        order = sorted(range(len(sentences)), key=lambda i: len(sentences[i]))
        parts = []
        with torch.no_grad():
            for at in range(0, len(order), batch):
                part = padded([sentences[i] for i in order[at : at + batch]])
                parts.append(self(*part)[-1].numpy())
        joined = np.concatenate(parts)
        found = np.empty_like(joined)
        found[order] = joined
        return found


def torch_encoder(tensors: Mapping[str, np.ndarray], heads: int = 12) -> TorchEncoder:
    """Return the encoder of a checkpoint, with copies of its tensors.

    Parameters
    ----------
    tensors : mapping of str to float array
        All tensors of the checkpoint by their names. Pooler and ``position_ids`` have no part in
        embeddings, but are kept if they are there, so that a checkpoint comes back whole; others
        are left out.
    heads : int
        Attention heads of a layer.

    Raises
    ------
    ConfigError
        If a tensor is missing, or the width is no multiple of ``heads``.
    """
    layers = len({name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")})
    try:
        words, positions, types = (
            tensors[f"embeddings.{kind}_embeddings.weight"]
            for kind in ("word", "position", "token_type")
        )
        inner = len(tensors["encoder.layer.0.intermediate.dense.weight"])
    except KeyError as error:
        raise ConfigError(f"{error.args[0]} is missing: a BERT checkpoint has it") from error
    width = words.shape[1]
    if heads < 1 or width % heads:
        raise ConfigError(f"heads must divide the width of {width}, not be {heads}")
    with torch.device("meta"):
        made = TorchEncoder(
            words=len(words),
            positions=len(positions),
            types=len(types),
            width=width,
            inner=inner,
            layers=layers,
            heads=heads,
        )
        if "pooler.dense.weight" in tensors:
            made.pooler = _part(dense=nn.Linear(width, width))
        if "embeddings.position_ids" in tensors:
            places = torch.zeros((1, len(positions)), dtype=torch.int64)
            made.embeddings.register_buffer("position_ids", places)
    state = {}
    for name, own in made.state_dict().items():
        if name not in tensors:
            raise ConfigError(f"{name} is missing: a BERT checkpoint has it")
        state[name] = torch.from_numpy(np.array(tensors[name])).to(own.dtype)
    made.load_state_dict(state, assign=True)
    return made


def padded(sentences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids as a batch: (sentences, longest) int64, padded with 0, and the lengths."""
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    ids = torch.zeros((len(sentences), int(lengths.max())), dtype=torch.int64)
    for row, sentence in zip(ids, sentences, strict=True):
        row[: len(sentence)] = torch.as_tensor(sentence)
    return ids, lengths


def batches_of(
    sentences: Sequence[Sequence[int]], size: int, seed: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield batches of sentences of about the same length, in random order, once each."""
    rng = np.random.default_rng(seed)
    order = sorted(range(len(sentences)), key=lambda i: (len(sentences[i]), i))
    parts = [order[at : at + size] for at in range(0, len(order), size)]
    for k in rng.permutation(len(parts)):
        yield padded([sentences[i] for i in parts[k]])
