# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a model in a file, compressed or not, beside those of MiniLM-L6."""

import json
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xorloom.sim.embeddings.encoder import SentenceEncoder
from xorloom.sim.embeddings.metrics import compare
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.model.container import ROTATION_KEY, Container
from xorloom.sw.model.decompress import decompress_model
from xorloom.sw.model.plan.source import open_source
from xorloom.sw.tensors.checkpoint import Checkpoint
from xorloom.sw.tensors.checkpoint.model import listed

from .methods import Subject

__all__ = ["file_row"]


def file_row(subject: Subject, path: Path) -> dict[str, Any]:
    """Compare the held-out sentences' embeddings by a file's model with those of the subject's.

    The keys are those of :func:`xorloom.sim.bench.embeddings.methods.embedding_rows`. ``method``
    is the file's name. What it does not tell is ``None``: of a plain file, how its weights were
    made; of any file, its calibration. ``bits_per_weight`` is of all tensors that are compressed
    in it.

    Raises
    ------
    ConfigError, FormatError
        If the file cannot be read, holds another model, or holds rotated weights as they are.
    """
    source = open_source(path)
    row: dict[str, Any] = {"method": path.name, "codec": None, "rate_bits": None}
    if source.base is None:
        facts = {"bits_per_weight": None, "rotation": None}
        encoder = _encoder(subject, source.model, path)
    else:
        facts = _facts(source.base)
        row["codec"] = "+".join(
            sorted({info.decoder.value.codec for info in source.base.tensors.values()})
        )
        with tempfile.TemporaryDirectory(prefix="xorloom-") as name:
            plain = Path(name) / "plain.safetensors"
            decompress_model(path, plain)
            encoder = _encoder(subject, open_source(plain).model, path)
    likeness = compare(subject.encoder.embed(subject.held_out), encoder.embed(subject.held_out))
    row |= {"bits_per_weight": facts["bits_per_weight"], **asdict(likeness)}
    return row | {"calibration": None, "rotation": facts["rotation"]}


def _facts(container: Container) -> dict[str, Any]:
    """Return what the manifest and the sizes tell of the compressed tensors."""
    tensors = container.tensors
    stored = sum(
        container.entry(name + part)[2] for name, info in tensors.items() for part in info.parts
    )
    weights = sum(math.prod(info.shape) for info in tensors.values())
    return {
        "bits_per_weight": 8 * stored / weights if weights else None,
        "rotation": any(info.rotation is not None for info in tensors.values()),
    }


def _encoder(subject: Subject, model: Checkpoint, path: Path) -> SentenceEncoder:
    """Return the encoder with all weights of a plain model."""
    if ROTATION_KEY in model.metadata:
        names = listed(list(json.loads(model.metadata[ROTATION_KEY])), 3)
        raise ConfigError(f"{path}: {names}: rotated weights (decompress without --keep-rotation)")
    found = {}
    for name, own in subject.encoder.tensors.items():
        if name not in model:
            raise ConfigError(f"{path}: {name} is missing (take a file made of MiniLM-L6)")
        if model[name].shape != own.shape:
            raise ConfigError(
                f"{path}: {name} has shape {model[name].shape}, MiniLM-L6 {own.shape} (take a "
                "file made of MiniLM-L6)"
            )
        found[name] = model[name].weights()
    return SentenceEncoder(found, subject.encoder.heads)
