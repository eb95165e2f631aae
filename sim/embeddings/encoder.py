# SPDX-License-Identifier: Apache-2.0
"""BERT sentence encoder in NumPy: token ids to embeddings, matrix after matrix if asked."""

from collections.abc import Generator, Mapping, Sequence

import numpy as np
from xorloom.sw.base.errors import ConfigError

from .kernels import gelu

__all__ = ["SentenceEncoder"]

_EPSILON = np.float32(1e-12)
"""Of MiniLM's layer norms."""


class SentenceEncoder:
    """Forward pass of a BERT encoder with mean pooling, such as MiniLM-L6.

    The tokens of all sentences stand one after another, without padding: what a matrix gets are the
    rows of real tokens, and the mean over a sentence is the masked mean of a padded batch. Weights
    are looked up by name when they are used. Sources: Devlin et al., NAACL 2019, "BERT"; Reimers
    and Gurevych, EMNLP 2019, "Sentence-BERT".

    Parameters
    ----------
    tensors : mapping of str to float array
        All tensors of the checkpoint by their names. They are copied into
        ``tensors``, a dict of float32 arrays that may be changed at any time.
    heads : int
        Attention heads of a layer.

    Raises
    ------
    ConfigError
        If a tensor is missing, or the width is no multiple of ``heads``.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], heads: int = 12) -> None:
        self.tensors = {name: np.asarray(data, np.float32) for name, data in tensors.items()}
        self.heads = heads
        layers = {name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")}
        self._layers = [f"encoder.layer.{k}" for k in range(len(layers))]
        wanted = [f"embeddings.{kind}_embeddings.weight" for kind in ("word", "position")]
        wanted += ["embeddings.token_type_embeddings.weight", *_norm("embeddings")]
        for layer in self._layers:
            wanted += [*_norm(f"{layer}.attention.output"), *_norm(f"{layer}.output")]
        for name in self.matrices:
            wanted += [name, _bias(name)]
        for name in wanted:
            if name not in self.tensors:
                raise ConfigError(f"{name} is missing: a BERT checkpoint has it")
        width = self.tensors[wanted[0]].shape[1]
        if heads < 1 or width % heads:
            raise ConfigError(f"heads must divide the width of {width}, not be {heads}")

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Names of the encoder's matrices in the order of use; those of a group share inputs."""
        parts = ("query", "key", "value")
        return [
            group
            for layer in self._layers
            for group in (
                tuple(f"{layer}.attention.self.{part}.weight" for part in parts),
                (f"{layer}.attention.output.dense.weight",),
                (f"{layer}.intermediate.dense.weight",),
                (f"{layer}.output.dense.weight",),
            )
        ]

    @property
    def matrices(self) -> list[str]:
        """Names of the encoder's matrices, six per layer, in the order of use."""
        return [name for group in self.groups for name in group]

    def embed(self, sentences: Sequence[Sequence[int]]) -> np.ndarray:
        """Return the embeddings of sentences.

        Parameters
        ----------
        sentences : sequence of sequences of int
            Token ids, with those that open and close a sentence.

        Returns
        -------
        float32 array of shape (sentences, width)
            Of length 1 each.

        Raises
        ------
        ConfigError
            If there is no sentence, or one is empty, too long, or has an id that is no token's.
        """
        walk = self.walk(sentences)
        while True:
            try:
                next(walk)
            except StopIteration as end:
                return np.asarray(end.value)

    def walk(
        self, sentences: Sequence[Sequence[int]]
    ) -> Generator[tuple[tuple[str, ...], np.ndarray], None, np.ndarray]:
        """Embed sentences, and stop before every group of matrices.

        Yields the group and its inputs, float32 of shape (tokens, features). What
        ``tensors`` holds for the group's weights and biases when the walk goes
        on is what is used. Returns what :meth:`embed` does.
        """
        ids, places, lengths = _tokens(sentences)
        words = self.tensors["embeddings.word_embeddings.weight"]
        positions = self.tensors["embeddings.position_embeddings.weight"]
        if ids.min() < 0 or ids.max() >= len(words):
            wrong = ids.min() if ids.min() < 0 else ids.max()
            raise ConfigError(f"token ids must be 0 to {len(words) - 1}, not {wrong}")
        if lengths.max() > len(positions):
            raise ConfigError(
                f"a sentence must have at most {len(positions)} tokens, not {lengths.max()}"
            )
        types = self.tensors["embeddings.token_type_embeddings.weight"]
        hidden = self._norm("embeddings", words[ids] + positions[places] + types[0])
        groups = iter(self.groups)
        for layer in self._layers:
            group = next(groups)
            yield group, hidden
            query, key, value = (self._linear(name, hidden) for name in group)
            mixed = self._attention(query, key, value, lengths)
            group = next(groups)
            yield group, mixed
            mixed = self._linear(group[0], mixed)
            hidden = self._norm(f"{layer}.attention.output", mixed + hidden)
            group = next(groups)
            yield group, hidden
            inner = self._linear(group[0], hidden)
            gelu(inner)
            group = next(groups)
            yield group, inner
            hidden = self._norm(f"{layer}.output", self._linear(group[0], inner) + hidden)
        starts = np.cumsum(lengths) - lengths
        pooled = np.add.reduceat(hidden, starts, axis=0) / lengths[:, None].astype(np.float32)
        return np.asarray(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))

    def _linear(self, name: str, x: np.ndarray) -> np.ndarray:
        return np.asarray(x @ self.tensors[name].T + self.tensors[_bias(name)])

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        weight, bias = (self.tensors[part] for part in _norm(name))
        x = x - x.mean(axis=1, keepdims=True)
        x /= np.sqrt((x * x).mean(axis=1, keepdims=True) + _EPSILON)
        return np.asarray(x * weight + bias)

    def _attention(
        self, query: np.ndarray, key: np.ndarray, value: np.ndarray, lengths: np.ndarray
    ) -> np.ndarray:
        """Mix the values (tokens, width) of every sentence; sentences of one length at a time."""
        width = query.shape[1]
        query *= np.float32((width // self.heads) ** -0.5)
        starts = np.cumsum(lengths) - lengths
        mixed = np.empty_like(value)
        for length in np.unique(lengths):
            rows = starts[lengths == length][:, None] + np.arange(length)
            shape = (len(rows), length, self.heads, width // self.heads)
            q, k, v = (x[rows].reshape(shape).swapaxes(1, 2) for x in (query, key, value))
            scores = q @ k.swapaxes(2, 3)
            scores -= scores.max(axis=3, keepdims=True)
            np.exp(scores, out=scores)
            scores /= scores.sum(axis=3, keepdims=True)
            mixed[rows] = (scores @ v).swapaxes(1, 2).reshape(len(rows), length, width)
        return mixed


def _bias(weight: str) -> str:
    """Return the name of a matrix's bias."""
    return weight.removesuffix("weight") + "bias"


def _norm(name: str) -> tuple[str, str]:
    """Return the names of a layer norm's tensors."""
    return f"{name}.LayerNorm.weight", f"{name}.LayerNorm.bias"


def _tokens(
    sentences: Sequence[Sequence[int]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return all ids, their places in the sentences, and the sentences' lengths, int64 each."""
    lengths = np.array([len(sentence) for sentence in sentences], np.int64)
    if lengths.size == 0 or lengths.min() == 0:
        raise ConfigError("embeddings need sentences of at least one token each")
    ids = np.concatenate([np.asarray(sentence, np.int64) for sentence in sentences])
    places = np.arange(ids.size) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return ids, places, lengths
