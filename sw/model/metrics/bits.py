# SPDX-License-Identifier: Apache-2.0
"""Bits and bounds: what a tensor costs, and what information theory allows."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from xorloom.sw.bits.framing import StreamBits
from xorloom.sw.index.rate_distortion import binary_entropy, code_entropy
from xorloom.sw.model.plan.spec import TensorPlan
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.weight_format import Decoder
from xorloom.sw.tensors.loss import Suggestion, share_of_dense_bound
from xorloom.sw.tensors.quantize import Quantizer

__all__ = ["TensorBits", "TensorReport", "loss_row", "mean_error", "note_kind"]


@dataclass(frozen=True)
class TensorBits:
    """Where a tensor's bits go. All counts are bits; ``kept`` and ``weights`` are weights.

    ``planes`` of several tensors is the most of them; ``kept_bits`` are all of kept weights' codes,
    by default ``planes * kept``.

    ``control`` is rate words (window) or n_patch fields (block), and patches, ``patches`` the part
    of it that they take; ``overhead`` is headers and CRCs of all streams and the value streams'
    padding and levels. ``value_entropy`` and ``mask_entropy`` are totals of the zero-order bounds.
    Of a codec that chooses the values, ``kept_bits`` and ``value_entropy`` are the seed bits that
    its rate asks for: codes follow from them, and hold no more.
    """

    weights: int
    kept: int
    planes: int
    index: int
    seeds: int
    control: int
    scales: int
    overhead: int
    mask_entropy: float
    value_entropy: float
    patches: int = 0
    kept_bits: int = -1

    def __post_init__(self) -> None:
        if self.kept_bits < 0:
            object.__setattr__(self, "kept_bits", self.planes * self.kept)

    @classmethod
    def of(
        cls,
        mask: np.ndarray,
        codes: np.ndarray,
        planes: int,
        value: StreamBits,
        index_bits: int,
        index_overhead: int,
        scale_bits: int,
        config: ValueConfig,
    ) -> "TensorBits":
        """Count one tensor; ``index_bits`` are its index streams', of which some are overhead."""
        kept = int(np.count_nonzero(mask))
        density = kept / mask.size if mask.size else 0.0
        chosen = config.chooses_values
        rated = -(-mask.size * planes * config.n_in // config.n_out) if chosen else -1
        return cls(
            weights=mask.size,
            kept=kept,
            planes=planes,
            index=index_bits - index_overhead,
            seeds=value.seeds,
            control=value.control + value.patches,
            scales=scale_bits,
            overhead=value.overhead + index_overhead,
            mask_entropy=mask.size * binary_entropy(density),
            value_entropy=float(rated) if chosen else kept * code_entropy(codes, mask),
            patches=value.patches,
            kept_bits=rated,
        )

    def __add__(self, other: "TensorBits") -> "TensorBits":
        sums = {k: v + getattr(other, k) for k, v in asdict(self).items()}
        return TensorBits(**sums | {"planes": max(self.planes, other.planes)})

    @property
    def total(self) -> int:
        """All stored bits."""
        return self.index + self.seeds + self.control + self.scales + self.overhead

    def per_weight(self) -> dict[str, float]:
        """Bits per weight, by part, with total, bounds and value-plane efficiency."""
        n = max(1, self.weights)
        parts = ("index", "seeds", "control", "scales", "overhead")
        row: dict[str, float] = {name: getattr(self, name) / n for name in parts}
        row["patches"] = self.patches / n
        row["total"] = self.total / n
        row["mask_entropy"] = self.mask_entropy / n
        row["value_entropy"] = self.value_entropy / n
        row["bound"] = (self.mask_entropy + self.value_entropy + self.scales) / n
        stored = self.seeds + self.control
        row["value_efficiency"] = self.kept_bits / stored if stored else 0.0
        return row

    def to_dict(self) -> dict[str, Any]:
        """Return totals and bits per weight for JSON."""
        return asdict(self) | {"bits_per_weight": self.per_weight()}


def mean_error(bits: Mapping[str, TensorBits], errors: Mapping[str, float | None]) -> float | None:
    """Return the relative squared error of several tensors, mean over their weights.

    Each tensor's error counts relative to its own sum of squares: a layer of small weights does as
    much in a network as one of large weights.

    Parameters
    ----------
    bits, errors : mapping of name
        Of every tensor; an error may be unknown.

    Returns
    -------
    float, or ``None`` if one is unknown or there is no weight.
    """
    lost, weights = 0.0, 0
    for name, counted in bits.items():
        error = errors.get(name)
        if error is None:
            return None
        lost += error * counted.weights
        weights += counted.weights
    return lost / weights if weights else None


def loss_row(bits: TensorBits, error: float | None) -> dict[str, float | None]:
    """Return an error and its share of the dense bound at the bits that were spent, for JSON."""
    spent = bits.per_weight()["total"]
    share = None if error is None else share_of_dense_bound(error, spent)
    return {"error": error, "share_of_dense_bound": share}


@dataclass(frozen=True)
class TensorReport:
    """What one tensor became.

    Parameters
    ----------
    bits : TensorBits
    decoder : Decoder
    plan : TensorPlan
        What was asked for.
    quantizer : Quantizer, optional
        What was used; ``None`` for the user's own codes.
    origin : str
        Where its mask comes from, see :class:`xorloom.sw.model.prepare.part.Part`.
    zeros : int
        Zero weights that a chosen mask keeps.
    error : float, optional
        Squared error relative to the sum of squares.
    better : Suggestion, optional
        Quantizer of fewer planes that has less error.
    notes : tuple of str
        What was dropped or changed, a line each, without the tensor's name.
    energy : float
        Sum of the squared weights, of a row block.
    blocks : int
        Row blocks that it was cut into.
    """

    bits: TensorBits
    decoder: Decoder
    plan: TensorPlan
    quantizer: Quantizer | None
    origin: str
    zeros: int
    error: float | None
    better: Suggestion | None = None
    notes: tuple[str, ...] = ()
    energy: float = 0.0
    blocks: int = 1

    def to_facts(self) -> dict[str, Any]:
        """Return all but plan and decoder, for JSON and :meth:`from_facts`."""
        facts = asdict(self)
        return {key: value for key, value in facts.items() if key not in ("plan", "decoder")}

    @classmethod
    def from_facts(
        cls, facts: Mapping[str, Any], plan: TensorPlan, decoder: Decoder
    ) -> "TensorReport":
        """Undo :meth:`to_facts`."""
        quantizer, better = facts["quantizer"], facts["better"]
        own = {
            "bits": TensorBits(**facts["bits"]),
            "quantizer": None if quantizer is None else Quantizer(**quantizer),
            "better": None if better is None else Suggestion.from_dict(better),
            "notes": tuple(facts["notes"]),
        }
        return cls(**{**facts, **own}, plan=plan, decoder=decoder)

    def to_dict(self) -> dict[str, Any]:
        """Return all but what was asked for, for JSON."""
        return self.bits.to_dict() | {
            "mask": self.origin,
            "zeros": self.zeros,
            "better": None if self.better is None else str(self.better),
            "notes": list(self.notes),
            "blocks": self.blocks,
            "quantizer": asdict(self.quantizer) if self.quantizer else None,
        }


def note_kind(note: str) -> str:
    """Return a note without its numbers."""
    return re.sub(r"[\d.e+-]+", "#", note)
