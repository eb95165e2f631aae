# SPDX-License-Identifier: Apache-2.0
"""Embedding benchmark: what compression without training leaves of MiniLM-L6's embeddings."""

import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sim import datasets
from xorloom.sim.embeddings.encoder import SentenceEncoder
from xorloom.sim.embeddings.metrics import compare
from xorloom.sim.embeddings.text import HELD_OUT, split, token_ids
from xorloom.sw.base.extras import require
from xorloom.sw.base.host import threads_default
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.index.choice import index_config
from xorloom.sw.index.rate_distortion import binary_entropy
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.container import read_container
from xorloom.sw.model.plan.source import open_plain
from xorloom.sw.model.plan.spec import CompressSpec
from xorloom.sw.model.verify import plain_weights
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.quantize import Quantizer

__all__ = ["METHODS", "Compressed", "Method", "Subject", "embedding_rows", "minilm_subject"]

_QUICK_HELD_OUT = 40


@dataclass(frozen=True)
class Subject:
    """What is compressed, and what it is measured on.

    Parameters
    ----------
    matrices : mapping of str to ModelTensor
        The matrices that a method compresses.
    encoder : SentenceEncoder
        The whole model as it is; methods leave it so.
    calibration, held_out : list of list of int
        Token ids of sentences. Methods see the first list only.
    """

    matrices: Mapping[str, ModelTensor]
    encoder: SentenceEncoder
    calibration: list[list[int]]
    held_out: list[list[int]]


@dataclass(frozen=True)
class Compressed:
    """What a method gives back.

    Parameters
    ----------
    weights : dict of str to float array
        The matrices, decoded.
    bits : int
        All that was stored of them: streams with headers and padding, levels, scales.
    biases : dict of str to float array
        Biases that the method changed; they are as large as before.
    """

    weights: dict[str, np.ndarray]
    bits: int
    biases: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """A way to compress the matrices.

    Parameters
    ----------
    codec : str
        Value codec.
    rate_bits : float
        Bits per weight that it is set to: codes of kept weights, and index where it chooses masks.
    compress : callable
        Compresses a :class:`Subject`.
    calibration, rotation : bool
        Whether it uses the calibration sentences, and a rotation of the weights.
    """

    codec: str
    rate_bits: float
    compress: Callable[[Subject], Compressed]
    calibration: bool = False
    rotation: bool = False


def _through_file(spec: CompressSpec, subject: Subject) -> Compressed:
    """Compress into a file, and read it again."""
    with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
        path = Path(folder) / "embeddings.safetensors"
        made = compress_model(subject.matrices, path, spec)
        container = read_container(path)
        weights = {name: plain_weights(container, name) for name in subject.matrices}
    return Compressed(weights, sum(bits.total for bits in made.bits.values()))


def _dense(quantizer: str, planes: int) -> Method:
    """Every weight kept."""
    spec = CompressSpec(
        sparsity=0.0,
        quantizer=Quantizer(quantizer, planes),
        index=index_config("none", WindowConfig(), planes, density=1.0),
    )
    return Method("window", planes, partial(_through_file, spec))


def _pruned(index: str, density: float, planes: int, rate: float | None = None) -> Method:
    """The largest weights kept, or those of a mask that the index chooses at ``rate``."""
    spec = CompressSpec(
        sparsity=1 - density,
        quantizer=Quantizer("alternating", planes),
        index=index_config(index, WindowConfig(), planes, density=density, rate=rate),
    )
    bits = density * planes + (binary_entropy(density) if rate is None else rate)
    return Method("window", bits, partial(_through_file, spec))


METHODS: dict[str, Method] = {
    "binary-1": _dense("alternating", 1),
    "binary-2": _dense("alternating", 2),
    "binary-3": _dense("alternating", 3),
    "uniform-4": _dense("uniform", 4),
    "uniform-8": _dense("uniform", 8),
    "trellis-0.28-binary-2": _pruned("trellis", 0.28, 2, 7 / 16),
    "trellis-0.46-binary-3": _pruned("trellis", 0.46, 3, 1 / 2),
    "entropy-0.6-binary-4": _pruned("entropy", 0.6, 4),
}
"""By name: index and density of pruned ones, quantizer, planes."""


def minilm_subject(*, quick: bool = False) -> Subject:
    """Return MiniLM-L6 with its 36 encoder matrices, and sentences of the package randfacts.

    Parameters
    ----------
    quick : bool
        The first layer's six matrices only, and 40 held-out sentences: to try things out.

    Raises
    ------
    ToolError
        If model or sentences cannot be downloaded, or tokenizers is not installed.
    FormatError
        If they are not the expected ones.
    """
    require("tokenizers")
    model = open_plain(datasets.minilm())
    encoder = SentenceEncoder(
        {name: tensor.weights() for name, tensor in model.items() if tensor.dtype == "F32"}
    )
    lines = datasets.randfacts().read_text(encoding="utf-8").splitlines()
    text = split(lines, held_out=_QUICK_HELD_OUT if quick else HELD_OUT)
    tokenizer = datasets.minilm_tokenizer()
    return Subject(
        {name: model[name] for name in encoder.matrices[: 6 if quick else None]},
        encoder,
        token_ids(text.calibration, tokenizer),
        token_ids(text.held_out, tokenizer),
    )


def embedding_rows(
    subject: Subject, methods: Mapping[str, Method], progress: Progress = no_progress
) -> list[dict[str, Any]]:
    """Compress the matrices by every method, and compare the held-out sentences' embeddings.

    ``bits_per_weight`` counts all that a method stores of the matrices; ``cosine`` to
    ``neighbour`` are those of :class:`xorloom.sim.embeddings.metrics.Likeness`, against the model
    as it is; ``calibration`` is the number of sentences that the method saw.

    Parameters
    ----------
    subject : Subject
    methods : mapping of str to Method
    progress : callable
        Called with ``method`` and the name of each.
    """
    reference = subject.encoder.embed(subject.held_out)
    weights = sum(tensor.size for tensor in subject.matrices.values())
    rows = []
    with ThreadPoolExecutor(threads_default()) as pool:
        made = pool.map(lambda method: method.compress(subject), methods.values())
        for (name, method), result in zip(methods.items(), made, strict=True):
            encoder = SentenceEncoder(
                subject.encoder.tensors | result.weights | result.biases, subject.encoder.heads
            )
            rows.append(
                {
                    "method": name,
                    "codec": method.codec,
                    "rate_bits": method.rate_bits,
                    "bits_per_weight": result.bits / weights,
                    **asdict(compare(reference, encoder.embed(subject.held_out))),
                    "calibration": len(subject.calibration) if method.calibration else 0,
                    "rotation": method.rotation,
                }
            )
            progress("method", name)
    return rows
