# SPDX-License-Identifier: Apache-2.0
"""Sentences of the accuracy laboratory: MiniLM-L6 compressed, and healed by its own embeddings."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from xorloom.sim import datasets
from xorloom.sim.bench.embeddings.methods import ROTATION, Subject, calibrated
from xorloom.sim.embeddings.encoder import SentenceEncoder
from xorloom.sim.embeddings.metrics import compare, rank_correlation
from xorloom.sim.embeddings.text import split, token_ids
from xorloom.sim.embeddings.torch_encoder import TorchEncoder, batches_of, torch_encoder
from xorloom.sw.base.errors import CapacityError
from xorloom.sw.base.extras import require
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.index.choice import BudgetError
from xorloom.sw.model.compress import CompressedModel, compress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.source import open_plain
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.direct_preset import direct_config, table_rates
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.torch import export, load, prune
from xorloom.sw.torch.budget import plan_for
from xorloom.sw.torch.healing.distil import distil, heal
from xorloom.sw.torch.healing.freezing import load_frozen
from xorloom.sw.torch.plan import LayerPlan
from xorloom.sw.value.plane import stream_bits

__all__ = ["METHODS", "Sentences", "minilm_sentences", "sentence_rows"]

CALIBRATION = 1024
"""Sentences to calibrate with; training takes them as well."""
SECONDS = 600.0
"""Wall time of training."""
_BATCH = 16
_LATENT_RATE = 1e-4
_HEALING = 0.2
"""Share of the time in which codes that were trained are frozen, and the rest is healed."""
_QUICK = (32, 40, 64)
"""Sentences to calibrate with, held out, and others, to try things out."""


@dataclass(frozen=True)
class Sentences:
    """What is compressed, what it is trained with, and what it is measured on.

    Parameters
    ----------
    subject : Subject
        The model, sentences to calibrate with, and those held out.
    training : list of list of int
        Token ids of sentences, those to calibrate with among them.
    pairs : mapping of str to (first, second, judgements)
        Token ids of words, and what people said of each pair: (pairs,) float64.
    """

    subject: Subject
    training: list[list[int]]
    pairs: Mapping[str, tuple[list[list[int]], list[list[int]], np.ndarray]]

    def encoder(self) -> TorchEncoder:
        """Return the original model, to be changed at will."""
        return torch_encoder(self.subject.encoder.tensors, self.subject.encoder.heads)


def minilm_sentences(*, quick: bool = False) -> Sentences:
    """Return MiniLM-L6 and the sentences of Moby-Dick, dealt out the same way every time.

    Parameters
    ----------
    quick : bool
        The first layer's six matrices and a few sentences only: to try things out.

    Raises
    ------
    ToolError
        If model or text cannot be downloaded, or tokenizers is not installed.
    FormatError
        If they are not the expected ones.
    """
    require("tokenizers")
    model = open_plain(datasets.minilm())
    encoder = SentenceEncoder(
        {name: tensor.weights() for name, tensor in model.items() if tensor.dtype == "F32"}
    )
    counts = _QUICK if quick else (CALIBRATION, 200, None)
    text = split(datasets.moby_dick_sentences(), calibration=counts[0], held_out=counts[1])
    tokenizer = datasets.minilm_tokenizer()
    names = torch_encoder(encoder.tensors).state_dict()
    subject = Subject(
        {name: model[name] for name in names},
        encoder.matrices[: 6 if quick else None],
        encoder,
        token_ids(text.calibration, tokenizer),
        token_ids(text.held_out, tokenizer),
    )
    pairs = {
        name: (
            token_ids([first for first, _, _ in found], tokenizer),
            token_ids([second for _, second, _ in found], tokenizer),
            np.array([judgement for _, _, judgement in found]),
        )
        for name, found in (
            ("wordsim353", datasets.wordsim353()),
            ("simlex999", datasets.simlex999()),
        )
    }
    others = token_ids(text.others[: counts[2]], tokenizer)
    return Sentences(subject, [*subject.calibration, *others], pairs)


@dataclass(frozen=True)
class _Trained:
    """A compressed model: the module, and the file that it was written to.

    ``bits`` are all that the file holds of the matrices.
    """

    method: str
    module: TorchEncoder
    path: Path
    bits: int
    planes: int
    density: float = 1.0
    index_bits: float = 0.0
    steps: int = 0


Make = Callable[["Sentences", TorchEncoder, float, "_Limits", Path], Iterator[_Trained]]


def sentence_rows(
    budget_bits: float,
    sentences: Sentences,
    *,
    methods: Sequence[str] = ("direct-viterbi", "dense", "trellis"),
    seconds: float = SECONDS,
    steps: int | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Compress the matrices at a budget by every method, and measure the embeddings.

    ``accuracy`` is the mean cosine to the original's embeddings over the held-out sentences,
    ``rank_correlation`` Spearman's of the cosines of all their pairs; ``wordsim353`` and
    ``simlex999`` are Spearman's with what people said of pairs of words, and the keys that begin
    with ``dense_`` the original's. ``accuracy_loss_from_codec`` is the largest difference between
    an embedding of the module that was trained and one of the file. ``epochs`` is steps times the
    batch over the sentences.

    Parameters
    ----------
    budget_bits : float
        Most bits per weight, everything counted that a file holds of the matrices.
    sentences : Sentences
    methods : sequence of str
        Of :data:`METHODS`.
    seconds : float
        Wall time of each training.
    steps : int, optional
        Most steps of each, so that a result does not depend on the machine.
    seed : int
        Of the order of the sentences.
    progress : callable
        Called with ``method`` and the name of each.

    Raises
    ------
    CapacityError
        If a budget is below what a method needs.
    """
    reference = sentences.subject.encoder.embed(sentences.subject.held_out)
    teacher = sentences.encoder()
    dense = {f"dense_{key}": value for key, value in _judged(sentences, teacher).items()}
    rows = []
    for name in methods:
        with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
            limits = _Limits(seconds, steps or 1 << 30, seed)
            for made in METHODS[name](sentences, teacher, budget_bits, limits, Path(folder)):
                rows.append({**_row(sentences, made, reference), **dense})
                progress("method", made.method)
    return rows


def _row(sentences: Sentences, made: _Trained, reference: np.ndarray) -> dict[str, Any]:
    """Return the figures of a compressed model, read back out of its file."""
    subject = sentences.subject
    loaded = load(made.path, sentences.encoder())
    found = loaded.embed(subject.held_out)
    loss = float(np.abs(found - made.module.embed(subject.held_out)).max())
    likeness = asdict(compare(reference, found))
    return {
        "network": "minilm-l6",
        "data": "moby-dick",
        "method": made.method,
        "density": made.density,
        "index_bits": made.index_bits,
        "planes": made.planes,
        "bits_per_weight": made.bits / subject.weights,
        "accuracy": likeness.pop("cosine"),
        "accuracy_std": 0.0,
        "dense_accuracy": 1.0,
        "epochs": made.steps * _BATCH / len(sentences.training),
        "seeds": 1,
        "accuracy_loss_from_codec": loss,
        **likeness,
        **_judged(sentences, loaded),
    }


def _judged(sentences: Sentences, encoder: TorchEncoder) -> dict[str, float]:
    """Return how the cosines of pairs of words rank, beside people's judgements."""
    found = {}
    for name, (first, second, judgements) in sentences.pairs.items():
        cosines = (encoder.embed(first) * encoder.embed(second)).sum(axis=1, dtype=np.float64)
        found[name] = rank_correlation(cosines, judgements)
    return found


@dataclass(frozen=True)
class _Limits:
    """What training may take: wall time in seconds, steps; and the seed of its order."""

    seconds: float
    steps: int
    seed: int

    def batches(self, sentences: Sentences) -> list[Any]:
        """Return the training sentences in batches."""
        return list(batches_of(sentences.training, _BATCH, self.seed))

    def share(self, part: float) -> dict[str, Any]:
        """Return a part of the limits, as keywords of training."""
        return {"seconds": part * self.seconds, "steps": max(1, round(part * self.steps))}


def _rate(sentences: Sentences, budget_bits: float) -> DirectConfig:
    """Return the direct codec of the highest rate that keeps to a budget."""
    subject = sentences.subject
    for rate in reversed(table_rates(DirectConfig.window)):
        config = direct_config(rate=rate)
        quantizer = Quantizer("trellis", config.planes)
        shapes = [subject.model[name].shape for name in subject.matrices]
        bits = sum(quantizer.scale_bits(shape) for shape in shapes)
        bits += sum(stream_bits(shape[0] * shape[1], config).total for shape in shapes)
        if bits <= budget_bits * subject.weights:
            return config
    raise CapacityError(f"{budget_bits} bits per weight are too few for scales and headers")


def _bits(file: CompressedModel, subject: Subject) -> int:
    return sum(file.bits[name].total for name in subject.matrices)


def _direct(
    sentences: Sentences, teacher: TorchEncoder, budget_bits: float, limits: _Limits, folder: Path
) -> Iterator[_Trained]:
    """The direct codec, calibrated and rotated; then codes frozen, and all else trained."""
    subject, config = sentences.subject, _rate(sentences, budget_bits)
    plan = TensorPlan(
        quantizer=Quantizer("trellis", config.planes),
        config=config,
        rotation=ROTATION,
        search=False,
    )
    given = UserArrays(calibration=calibrated(subject, config, ROTATION))
    path = folder / "chosen.safetensors"
    file = compress_model(subject.model, path, dict.fromkeys(subject.matrices, plan), given=given)
    module = load_frozen(path, sentences.encoder())
    bits = _bits(file, subject)
    yield _Trained("direct-untrained", module, path, bits, config.planes)
    done = heal(module, teacher, limits.batches(sentences), **limits.share(1.0))
    path = folder / "healed.safetensors"
    bits = _bits(export(module, path), subject)
    yield _Trained("direct-viterbi", module, path, bits, config.planes, steps=done.steps)


def _trained(method: str, mask: str) -> Make:
    """A mask and binary codes, trained straight through; then codes frozen, and healed."""

    def make(
        sentences: Sentences,
        teacher: TorchEncoder,
        budget_bits: float,
        limits: _Limits,
        folder: Path,
    ) -> Iterator[_Trained]:
        subject = sentences.subject
        plan = _plan(subject, budget_bits, mask)
        module = sentences.encoder()
        prune(module, dict.fromkeys(subject.matrices, plan))
        batches = limits.batches(sentences)
        with _fixed_tables(module):
            begun = distil(
                module, teacher, batches, latent_rate=_LATENT_RATE, **limits.share(1 - _HEALING)
            )
        done = heal(module, teacher, batches, **limits.share(_HEALING))
        path = folder / "trained.safetensors"
        bits = _bits(export(module, path), subject)
        yield _Trained(
            method,
            module,
            path,
            bits,
            plan.planes,
            plan.kept,
            plan.index_bits or 0.0,
            begun.steps + done.steps,
        )

    return make


def _plan(subject: Subject, budget_bits: float, mask: str) -> LayerPlan:
    """Return the plan of binary codes at a budget, with row scales if it can pay for them."""
    shapes = [subject.model[name].shape for name in subject.matrices]
    split = {"planes": max(1, int(budget_bits))} if mask == "all" else {}
    try:
        return plan_for(shapes, budget_bits, mask, scale="row", **split)
    except BudgetError:
        return plan_for(shapes, budget_bits, mask, scale="tensor", **split)


@contextmanager
def _fixed_tables(module: TorchEncoder) -> Iterator[None]:
    """Keep the tables of embeddings as they are: only compressed matrices are trained."""
    tables = [part for part in module.modules() if isinstance(part, torch.nn.Embedding)]
    for table in tables:
        table.weight.requires_grad_(False)
    yield
    for table in tables:
        table.weight.requires_grad_(True)


METHODS: dict[str, Make] = {
    "direct-viterbi": _direct,
    "dense": _trained("dense", "all"),
    "trellis": _trained("trellis", "trellis"),
}
"""By name; ``direct-viterbi`` gives a row without training as well, ``direct-untrained``, and
``dense`` keeps every weight, in as many planes as there are whole bits."""
