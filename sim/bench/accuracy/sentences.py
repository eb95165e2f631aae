# SPDX-License-Identifier: Apache-2.0
"""Sentences of the accuracy laboratory: MiniLM-L6 compressed, and healed by its own embeddings."""

from __future__ import annotations

import copy
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
from xorloom.sim.embeddings.text import HELD_OUT, split, token_ids
from xorloom.sim.embeddings.torch_encoder import TorchEncoder, batches_of, torch_encoder
from xorloom.sw.base.errors import CapacityError, DivergedError
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

from .methods import METHODS as CODES
from .networks import NETWORKS, SENTENCES
from .schedule import Schedule

__all__ = ["METHODS", "Sentences", "minilm_sentences", "sentence_rows"]

CALIBRATION = 1024
"""Sentences to calibrate with; training takes them as well."""
VALIDATION = 200
"""Sentences that the learning rate is chosen on; nothing is trained or measured with them."""
_MARGIN = 0.998
"""Share of a budget that is planned for: trained codes take a little more or less than random."""
_LATENT = 0.3
"""Learning rate of latent weights, as a share of that of biases and norms."""
_HEALING = 0.2
"""Share of the steps in which codes that were trained are frozen, and the rest is healed."""
_QUICK = (32, 40, 40, 64)
"""Sentences to calibrate with, held out, of validation, and others, to try things out."""


@dataclass(frozen=True)
class Sentences:
    """What is compressed, what it is trained with, and what it is measured on.

    Parameters
    ----------
    subject : Subject
        The model, sentences to calibrate with, and those held out.
    training : list of list of int
        Token ids of sentences, those to calibrate with among them.
    validation : list of list of int
        Token ids of other sentences, which the learning rate is chosen on.
    pairs : mapping of str to (first, second, judgements)
        Token ids of words, and what people said of each pair: (pairs,) float64.
    """

    subject: Subject
    training: list[list[int]]
    validation: list[list[int]]
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
    counts = _QUICK if quick else (CALIBRATION, HELD_OUT, VALIDATION, None)
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
    others = token_ids(text.others[: counts[3]], tokenizer)
    validation, others = others[: counts[2]], others[counts[2] :]
    return Sentences(subject, [*subject.calibration, *others], validation, pairs)


@dataclass(frozen=True)
class _Trained:
    """A compressed model: the module, and the file of it.

    ``rate`` is the learning rate that was chosen, and ``validation`` the cosine that it was chosen
    by.
    """

    module: TorchEncoder
    path: Path
    file: CompressedModel
    planes: int
    scale: str = "row"
    steps: int = 0
    rate: float | None = None
    validation: float | None = None


Train = Callable[[TorchEncoder, float, "_Limits"], int]
"""``train(module, rate, limits)``: in place; returns the steps that were made."""
Make = Callable[["_Course", float, Path], Iterator[tuple[str, _Trained]]]


def sentence_rows(
    budget_bits: float,
    sentences: Sentences,
    *,
    methods: Sequence[str] = NETWORKS[SENTENCES].methods,
    schedule: Schedule = NETWORKS[SENTENCES].schedule,
    epochs: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[dict[str, Any]]:
    """Compress the matrices at a budget by every method, and measure the embeddings.

    ``accuracy`` is the mean cosine to the original's embeddings over the held-out sentences,
    ``rank_correlation`` Spearman's of the cosines of all their pairs; ``wordsim353`` and
    ``simlex999`` are Spearman's with what people said of pairs of words, and the keys that begin
    with ``dense_`` the original's. ``accuracy_loss_from_codec`` is the largest difference between
    an embedding of the module that was trained and one of the file. The learning rate is that of
    the schedule which is best on the validation sentences after a short training.

    Parameters
    ----------
    budget_bits : float
        Most bits per weight, everything counted that a file holds of the matrices.
    sentences : Sentences
    methods : sequence of str
        Of :data:`METHODS`.
    schedule : Schedule
        Steps of an epoch and their batches, epochs and learning rates.
    epochs : int, optional
        Of the final training; those of the schedule by default.
    seconds : float, optional
        Wall time after which the final training ends early; a result then depends on the machine.
    seed : int
        Of the order of the sentences.
    progress : callable
        Called with ``method`` and the name of each.

    Raises
    ------
    CapacityError, ConfigError
        If a budget is below what a method needs.
    DivergedError
        If a method can be trained at none of the learning rates.
    """
    reference = sentences.subject.encoder.embed(sentences.subject.held_out)
    teacher = sentences.encoder()
    dense = {f"dense_{key}": value for key, value in _judged(sentences, teacher).items()}
    batches = list(batches_of(sentences.training, schedule.batch, seed))
    course = _Course(sentences, teacher, batches, schedule, epochs, seconds)
    rows = []
    for name in methods:
        with tempfile.TemporaryDirectory(prefix="xorloom-") as folder:
            for method, made in METHODS[name](course, budget_bits, Path(folder)):
                own = {"network": SENTENCES, "data": "moby-dick", "method": method}
                length = {"epochs": made.steps / schedule.steps, "seeds": 1}
                rows.append({**own, **length, **_row(sentences, made, reference), **dense})
                progress("method", method)
    return rows


def _row(sentences: Sentences, made: _Trained, reference: np.ndarray) -> dict[str, Any]:
    """Return the figures of a compressed model, read back out of its file."""
    subject, bits = sentences.subject, made.file.bits.values()
    loaded = load(made.path, sentences.encoder())
    found = loaded.embed(subject.held_out)
    loss = float(np.abs(found - made.module.embed(subject.held_out)).max())
    likeness = asdict(compare(reference, found))
    return {
        "density": sum(part.kept for part in bits) / subject.weights,
        "index_bits": sum(part.index for part in bits) / subject.weights,
        "planes": made.planes,
        "scale": made.scale,
        "bits_per_weight": sum(part.total for part in bits) / subject.weights,
        "accuracy": likeness.pop("cosine"),
        "accuracy_std": None,
        "dense_accuracy": 1.0,
        "learning_rate": made.rate,
        "validation_accuracy": made.validation,
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
    """Steps of a training, and seconds after which it ends early."""

    steps: int
    seconds: float | None = None

    def part(self, share: float) -> dict[str, Any]:
        """Return a share of the limits, as keywords of training."""
        seconds = None if self.seconds is None else share * self.seconds
        return {"steps": max(1, round(share * self.steps)), "seconds": seconds}


@dataclass(frozen=True)
class _Course:
    """What all methods are trained with, and how long."""

    sentences: Sentences
    teacher: TorchEncoder
    batches: list[Any]
    schedule: Schedule
    epochs: int | None
    seconds: float | None

    def trained(self, start: TorchEncoder, train: Train) -> tuple[TorchEncoder, dict[str, Any]]:
        """Train a module at the rate at which its copies are best after a short training.

        Returned with it are steps, rate and validation, as of :class:`_Trained`.
        """
        found: dict[float, float] = {}
        wanted = self.teacher.embed(self.sentences.validation)
        schedule, error = self.schedule, None
        for rate in schedule.rates:
            module = copy.deepcopy(start)
            try:
                train(module, rate, _Limits(schedule.candidate_epochs * schedule.steps))
            except DivergedError as caught:
                error = caught
                continue
            found[rate] = compare(wanted, module.embed(self.sentences.validation)).cosine
        if error is not None and not found:
            raise error
        best = max(found, key=found.__getitem__)
        epochs = self.epochs or schedule.final_epochs
        steps = train(start, best, _Limits(epochs * schedule.steps, self.seconds))
        return start, {"steps": steps, "rate": best, "validation": found[best]}


def _rate(sentences: Sentences, budget_bits: float) -> DirectConfig:
    """Return the direct codec of the highest rate that keeps to a budget."""
    subject = sentences.subject
    for rate in reversed(table_rates(DirectConfig.window)):
        config = direct_config(rate=rate)
        quantizer = Quantizer("trellis", config.planes)
        shapes = _shapes(subject)
        bits = sum(quantizer.scale_bits(shape) for shape in shapes)
        bits += sum(stream_bits(shape[0] * shape[1], config).total for shape in shapes)
        if bits <= budget_bits * subject.weights:
            return config
    raise CapacityError(f"{budget_bits} bits per weight are too few for scales and headers")


def _direct(course: _Course, budget_bits: float, folder: Path) -> Iterator[tuple[str, _Trained]]:
    """The direct codec, calibrated and rotated; then codes frozen, and all else trained."""
    sentences = course.sentences
    subject, config = sentences.subject, _rate(sentences, budget_bits)
    quantizer = Quantizer("trellis", config.planes)
    plan = TensorPlan(quantizer=quantizer, config=config, rotation=ROTATION, search=False)
    given = UserArrays(calibration=calibrated(subject, config, ROTATION))
    path = folder / "model.safetensors"
    file = compress_model(subject.model, path, dict.fromkeys(subject.matrices, plan), given=given)
    module = load_frozen(path, sentences.encoder())
    yield "direct-untrained", _Trained(module, path, file, config.planes)

    def train(module: TorchEncoder, rate: float, limits: _Limits) -> int:
        given = (module, course.teacher, course.batches)
        return heal(*given, rate=rate, scale_rate=rate, **limits.part(1.0)).steps

    module, facts = course.trained(module, train)
    file = export(module, path)
    yield "direct-viterbi", _Trained(module, path, file, config.planes, **facts)


def _coded(method: str) -> Make:
    """A mask and binary codes, trained straight through; then codes frozen, and healed."""

    def make(course: _Course, budget_bits: float, folder: Path) -> Iterator[tuple[str, _Trained]]:
        def train(module: TorchEncoder, rate: float, limits: _Limits) -> int:
            given = (module, course.teacher, course.batches)
            part, latent = limits.part(1 - _HEALING), _LATENT * rate
            with _fixed_tables(module):
                begun = distil(*given, rate=rate, scale_rate=rate, latent_rate=latent, **part)
            return begun.steps + heal(*given, **limits.part(_HEALING)).steps

        subject = course.sentences.subject
        plan = _plan(subject, budget_bits, method)
        module = course.sentences.encoder()
        prune(module, dict.fromkeys(subject.matrices, plan))
        module, facts = course.trained(module, train)
        path = folder / "model.safetensors"
        file = export(module, path)
        yield method, _Trained(module, path, file, plan.planes, plan.scale, **facts)

    return make


def _shapes(subject: Subject) -> list[tuple[int, ...]]:
    return [subject.model[name].shape for name in subject.matrices]


def _plan(subject: Subject, budget_bits: float, method: str) -> LayerPlan:
    """Return the plan of a method at a budget, with row scales if it can pay for them.

    It has as many planes as there are whole bits.
    """
    shapes, planes, mask = _shapes(subject), max(1, int(budget_bits)), CODES[method].mask
    if mask == "trellis" and planes > 1:
        planes += 1  # its masks keep less than half of the weights
    try:
        return plan_for(shapes, _MARGIN * budget_bits, mask, scale="row", planes=planes)
    except BudgetError:
        return plan_for(shapes, _MARGIN * budget_bits, mask, scale="tensor", planes=planes)


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
    **{name: _coded(name) for name in ("dense", "trellis", "entropy")},
}
"""By name; ``direct-viterbi`` gives a row without training as well, ``direct-untrained``."""
