# SPDX-License-Identifier: Apache-2.0
"""What compression without training leaves of MiniLM-L6's embeddings."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fractions import Fraction
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
from xorloom.sw.model.calibration.collect import along, collect
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.compress import compress_model
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.given import UserArrays
from xorloom.sw.model.plan.source import open_plain
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.direct_preset import direct_config
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.moments import Moments
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.value.direct.calibrated import compensated_scalar, direct_plan, weights_of
from xorloom.sw.value.direct.compensate import corrected_bias

__all__ = [
    "METHODS",
    "ROTATION",
    "Compressed",
    "Method",
    "Subject",
    "calibrated",
    "embedding_rows",
    "minilm_subject",
]

_QUICK_HELD_OUT = 40
ROTATION = 0
"""Seed of the rotations: that of ``compress``."""


@dataclass(frozen=True)
class Subject:
    """What is compressed, and what it is measured on.

    Parameters
    ----------
    model : mapping of str to ModelTensor
        The matrices that a method compresses, and their biases.
    matrices : list of str
        Names of the matrices.
    encoder : SentenceEncoder
        The whole model as it is; methods leave it so.
    calibration, held_out : list of list of int
        Token ids of sentences. Methods see the first list only.
    """

    model: Mapping[str, ModelTensor]
    matrices: list[str]
    encoder: SentenceEncoder
    calibration: list[list[int]]
    held_out: list[list[int]]

    @property
    def weights(self) -> int:
        """Number of weights in the matrices."""
        return sum(self.model[name].size for name in self.matrices)


@dataclass(frozen=True)
class Compressed:
    """What a method gives back.

    Parameters
    ----------
    tensors : dict of str to float array
        The matrices, decoded, and biases that changed.
    bits : int
        All that was stored of the matrices: streams with headers and padding, levels, scales.
    """

    tensors: dict[str, np.ndarray]
    bits: int


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


def _through_file(
    plan: TensorPlan, subject: Subject, given: UserArrays | None = None
) -> Compressed:
    """Compress into a file, and decompress it."""
    with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
        compressed, plain = Path(name) / "compressed.safetensors", Path(name) / "plain.safetensors"
        plans = dict.fromkeys(subject.matrices, plan)
        made = compress_model(subject.model, compressed, plans, given=given)
        decompress_model(compressed, plain)
        tensors = {name: tensor.weights().copy() for name, tensor in open_plain(plain).items()}
    return Compressed(tensors, sum(bits.total for bits in made.bits.values()))


def _dense(quantizer: str, planes: int) -> Method:
    """Every weight kept."""
    plan = TensorPlan(
        sparsity=0.0,
        quantizer=Quantizer(quantizer, planes),
        index=index_config("none", WindowConfig(), planes, density=1.0),
    )
    return Method("window", planes, partial(_through_file, plan))


def _pruned(index: str, density: float, planes: int, rate: float | None = None) -> Method:
    """The largest weights kept, or those of a mask that the index chooses at ``rate``."""
    plan = TensorPlan(
        sparsity=1 - density,
        quantizer=Quantizer("alternating", planes),
        index=index_config(index, WindowConfig(), planes, density=density, rate=rate),
    )
    bits = density * planes + (binary_entropy(density) if rate is None else rate)
    return Method("window", bits, partial(_through_file, plan))


def _direct(rate: int, *, calibration: bool = False, rotation: bool = False) -> Method:
    """The direct codec, with its default window."""
    config = direct_config(rate=Fraction(rate))
    plan = TensorPlan(
        quantizer=Quantizer("trellis", config.planes),
        config=config,
        rotation=ROTATION if rotation else None,
        search=False,
    )
    make = partial(_calibrated if calibration else _through_file, plan)
    return Method("direct", rate, make, calibration, rotation)


def _calibrated(plan: TensorPlan, subject: Subject) -> Compressed:
    """Compress with moments that were collected through what the matrices before became."""
    assert isinstance(plan.config, DirectConfig)
    calibration = calibrated(subject, plan.config, plan.rotation)
    return _through_file(plan, subject, UserArrays(calibration=calibration))


def calibrated(subject: Subject, config: DirectConfig, rotation: int | None) -> Calibration:
    """Return the moments of the matrices' inputs, through what the direct codec makes of them.

    Parameters
    ----------
    subject : Subject
    config : DirectConfig
    rotation : int, optional
        Seed of the rotation; ``None``: not rotated.
    """
    chosen = direct_plan(config, Quantizer("trellis", config.planes), rotation=rotation)

    def values(name: str, weights: np.ndarray, moments: Moments) -> np.ndarray:
        return chosen(name, weights, moments, True)

    return _collected(subject, values)[0]


def _scalar(planes: int) -> Method:
    """Scalar levels in the place of the trellis; rotated, calibrated."""
    quantizer = Quantizer("trellis", planes)

    def values(name: str, weights: np.ndarray, moments: Moments) -> np.ndarray:
        found = compensated_scalar(weights, moments, quantizer, rotation=ROTATION, name=name)
        return weights_of(found, quantizer, ROTATION)

    def compress(subject: Subject) -> Compressed:
        """No file holds them: codes, scales and int8 levels are counted, and no headers."""
        _, tensors = _collected(subject, values)
        shapes = [subject.model[name].shape for name in subject.matrices]
        bits = planes * subject.weights + len(shapes) * 8 * 2**planes
        return Compressed(tensors, bits + sum(map(quantizer.scale_bits, shapes)))

    return Method("scalar", planes, compress, True, True)


def _collected(
    subject: Subject, values: Callable[[str, np.ndarray, Moments], np.ndarray]
) -> tuple[Calibration, dict[str, np.ndarray]]:
    """Calibrate layer after layer; return the moments, and the matrices and biases at the end.

    ``values(name, weights, moments)`` is what a matrix comes back as.
    """
    original = subject.encoder
    encoder = SentenceEncoder(original.tensors, original.heads)
    changed: dict[str, np.ndarray] = {}

    def walk(model: SentenceEncoder) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
        for names, inputs in model.walk(subject.calibration):
            if names[0] in subject.matrices:
                yield names, inputs

    def replace(name: str, moments: Moments) -> None:
        weights, bias = original.tensors[name], name.removesuffix("weight") + "bias"
        changed[name] = values(name, weights, moments)
        changed[bias] = corrected_bias(original.tensors[bias], weights, changed[name], moments)
        encoder.tensors |= {key: changed[key] for key in (name, bias)}

    return collect(along(walk(encoder), walk(original)), replace), changed


METHODS: dict[str, Method] = {
    "binary-1": _dense("alternating", 1),
    "binary-2": _dense("alternating", 2),
    "binary-3": _dense("alternating", 3),
    "uniform-4": _dense("uniform", 4),
    "uniform-8": _dense("uniform", 8),
    "trellis-0.28-binary-2": _pruned("trellis", 0.28, 2, 7 / 16),
    "trellis-0.46-binary-3": _pruned("trellis", 0.46, 3, 1 / 2),
    "entropy-0.6-binary-4": _pruned("entropy", 0.6, 4),
    **{f"direct-{rate}": _direct(rate) for rate in (1, 2, 3)},
    **{f"direct-{rate}-rotated": _direct(rate, rotation=True) for rate in (1, 2, 3)},
    **{f"direct-{rate}-calibrated": _direct(rate, calibration=True) for rate in (1, 2, 3)},
    **{
        f"direct-{rate}-rotated-calibrated": _direct(rate, calibration=True, rotation=True)
        for rate in (1, 2, 3)
    },
    **{f"scalar-{planes}-rotated-calibrated": _scalar(planes) for planes in (1, 2, 3)},
}
"""By name: index and density of pruned ones, quantizer, bits per kept weight, and what helps."""


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
    matrices = encoder.matrices[: 6 if quick else None]
    biases = [name.removesuffix("weight") + "bias" for name in matrices]
    return Subject(
        {name: model[name] for name in [*matrices, *biases]},
        matrices,
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
    rows = []
    with ThreadPoolExecutor(threads_default()) as pool:
        made = pool.map(lambda method: method.compress(subject), methods.values())
        for (name, method), result in zip(methods.items(), made, strict=True):
            encoder = SentenceEncoder(
                subject.encoder.tensors | result.tensors, subject.encoder.heads
            )
            rows.append(
                {
                    "method": name,
                    "codec": method.codec,
                    "rate_bits": method.rate_bits,
                    "bits_per_weight": result.bits / subject.weights,
                    **asdict(compare(reference, encoder.embed(subject.held_out))),
                    "calibration": len(subject.calibration) if method.calibration else 0,
                    "rotation": method.rotation,
                }
            )
            progress("method", name)
    return rows
