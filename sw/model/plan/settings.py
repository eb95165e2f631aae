# SPDX-License-Identifier: Apache-2.0
"""Settings of a tensor as a user writes them: by name, in layers of which the later ones win."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Self

from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.toml_text import check_kind, check_known, toml_key
from xorloom.sw.spec.codecs import INDEX_CODECS, VALUE_CODECS
from xorloom.sw.spec.config import ValueConfig
from xorloom.sw.spec.direct_preset import rate_of
from xorloom.sw.spec.value_options import OWN_PARAMETERS, VALUE_PARAMETERS, value_config
from xorloom.sw.tensors.quantize import Quantizer

from .request import IndexRequest

__all__ = ["KEYS", "Settings", "check_settings", "merge", "rivals"]

_VALUE = "window"
"""Value codec where nobody asks for one, and no budget chooses it."""
_OF_ANY_VALUE = ("bus_bits",)
"""Parameters of value codecs that leave it open which one it is."""
_LEFT_OPEN = (
    *("value", "density", "sparsity", "scope", "quantizer", "planes", "rate", "importance"),
    *("index", "index_bits", "index_window", "index_classes"),
)
"""Settings of which none is given where a budget may choose the codec."""


@dataclass(frozen=True)
class Settings:
    """What a user asks of a tensor; ``None``: not given.

    Parameters
    ----------
    density, sparsity : float, optional
        Share of weights that are kept, or pruned; at most one. With none of them, a tensor that
        is mostly zeros keeps what is not zero.
    bits_per_weight : float, optional
        Everything counted; chooses density and index, or a rate; where nothing is asked of these
        and of the value codec, that as well.
    trained : bool, optional
        The network is trained under what is stored, before or after: a budget is split as
        :func:`xorloom.sw.model.plan.trained.trained_split` tells.
    scope : str
    quantizer : str, optional
        Its method; what the value codec asks for, or binary.
    planes : int, optional
        Bits of a code; what the network has, or 1.
    scale, axis, group, scale_dtype
        As in :class:`xorloom.sw.tensors.quantize.Quantizer`.
    value : str, optional
        Name of the value codec; what a budget finds best, or window.
    rate : str, optional
        Bits per weight of a codec that chooses the values, see
        :func:`xorloom.sw.spec.direct_preset.rate_of`.
    rotate : bool, optional
        Rotate before such a codec chooses; as the calibration wants it.
    rotation_seed : int, optional
        Of that rotation, 0; tells to rotate.
    order : str
    index : str, optional
        Name of the index codec.
    index_bits : float, optional
        Index bits per weight.
    index_window, index_classes : int
        Of the trellis.
    importance : str, optional
    parameters : tuple of (name, int)
        Parameters of the value codec that are given, sorted.
    """

    density: float | None = None
    sparsity: float | None = None
    bits_per_weight: float | None = None
    trained: bool | None = None
    scope: str = "tensor"
    quantizer: str | None = None
    planes: int | None = None
    scale: str = "row"
    axis: int = 0
    group: int = 128
    scale_dtype: str = "float16"
    value: str | None = None
    rate: str | None = None
    rotate: bool | None = None
    rotation_seed: int | None = None
    order: str = "auto"
    index: str | None = None
    index_bits: float | None = None
    index_window: int = 14
    index_classes: int = 1
    importance: str | None = None
    parameters: tuple[tuple[str, int], ...] = field(default=())

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Build from values by key, see :data:`KEYS`."""
        own = {name: value for name, value in values.items() if name not in VALUE_PARAMETERS}
        given = sorted((name, values[name]) for name in values if name in VALUE_PARAMETERS)
        if own.get("rate") is not None:
            own["rate"] = str(own["rate"])
        return cls(**own, parameters=tuple(given))

    def to_dict(self) -> dict[str, Any]:
        """Return all values by key, as a recipe would give them."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parameters"}
        return {toml_key(n): v for n, v in (own | dict(self.parameters)).items() if v is not None}

    @property
    def keeps(self) -> bool:
        """Whether the user told how many weights are kept."""
        return any(v is not None for v in (self.density, self.sparsity, self.bits_per_weight))

    @property
    def codec(self) -> str:
        """Name of the value codec, where no budget chooses it."""
        return _VALUE if self.value is None else self.value

    @property
    def leaves_codec_open(self) -> bool:
        """Whether there is a budget that may choose the value codec and all that goes with it."""
        asked = any(getattr(self, name) != getattr(Settings, name) for name in _LEFT_OPEN)
        given = any(name not in _OF_ANY_VALUE for name, _ in self.parameters)
        return self.bits_per_weight is not None and not asked and not given

    @property
    def config(self) -> ValueConfig:
        """The value codec's parameters.

        Raises
        ------
        ConfigError
            If they do not fit.
        """
        return self.config_of(None if self.rate is None else rate_of(self.rate))

    def config_of(self, rate: Fraction | None) -> ValueConfig:
        """Return the value codec's parameters for a rate in place of the one that is given.

        Raises
        ------
        ConfigError
            If they do not fit.
        """
        if self.order != "auto" and self.codec == "block":
            raise ConfigError("--order belongs to --value window or direct, not block")
        given: dict[str, int | Fraction] = dict(self.parameters)
        if rate is not None:
            given["rate"] = rate
        if self.chooses_values and self.planes is not None:
            given["planes"] = self.planes
        return value_config(self.codec, given)

    @property
    def chooses_values(self) -> bool:
        """Whether the value codec chooses all values, so that there is no mask."""
        return _chooses_values(self.codec)

    @property
    def search(self) -> bool:
        """Whether the parameter that a search can choose is left to it."""
        if self.chooses_values:
            return False
        return ("n_out" if self.codec == "block" else "n_in") not in dict(self.parameters)

    @property
    def how(self) -> Quantizer:
        """The quantizer of codes that are stored."""
        return self._quantizer(
            self.quantizer or "binary", 1 if self.planes is None else self.planes
        )

    def how_chosen(self, planes: int) -> Quantizer:
        """Return the quantizer of values that the codec chooses, by codes of so many bits.

        Raises
        ------
        ConfigError
            If another one is asked for.
        """
        if self.quantizer not in (None, "trellis"):
            raise ConfigError(
                f"--quantizer {self.quantizer} does not go with --value {self.codec}, which "
                "chooses the codes itself (leave it out)"
            )
        return self._quantizer("trellis", planes)

    def _quantizer(self, method: str, planes: int) -> Quantizer:
        return Quantizer(
            method,
            planes,
            self.scale,
            self.group,
            self.scale_dtype,
            self.axis,
        )

    @property
    def request(self) -> IndexRequest:
        """What is asked of the index.

        Raises
        ------
        ConfigError
            If sparsity and density are both given.
        """
        if self.sparsity is not None and self.density is not None:
            raise ConfigError("give either --sparsity or --density")
        return IndexRequest(
            self.index,
            self.index_bits,
            self.bits_per_weight,
            self.density,
            self.sparsity,
            self.index_window,
            self.index_classes,
        )

    @property
    def worth(self) -> str:
        """What a chosen mask keeps most of."""
        return self.importance or ("magnitude" if self.bits_per_weight is None else "energy")


def _chooses_values(value: str) -> bool:
    codec = VALUE_CODECS.get(value)
    return codec is not None and codec.chooses_values


_FLOATS = ("density", "sparsity", "bits_per_weight", "index_bits")
_INTS = (
    *("planes", "axis", "group", "index_window", "index_classes", "rotation_seed"),
    *VALUE_PARAMETERS,
)
KEYS: dict[str, type] = {
    **{f.name: str for f in fields(Settings) if f.name != "parameters"},
    **dict.fromkeys(_FLOATS, float),
    **dict.fromkeys(_INTS, int),
    "rate": Fraction,
    "rotate": bool,
    "trained": bool,
}
"""Type of every key: names of options, with ``_`` for ``-``."""
_RIVALS = {
    "density": ("sparsity", "bits_per_weight"),
    "sparsity": ("density", "bits_per_weight"),
    "index_bits": ("bits_per_weight",),
    "bits_per_weight": ("density", "sparsity", "index_bits", "rate"),
    "rate": ("bits_per_weight",),
}
"""What a later layer takes back by giving something else in its place."""
_OF_STORED_CODES = (
    *("density", "sparsity", "scope", "quantizer", "planes", "importance"),
    *("index", "index_bits", "index_window", "index_classes"),
)
"""What says nothing of values that a codec chooses, or another thing."""
_OF_CHOSEN_VALUES = ("rotate", "rotation_seed")


def rivals(name: str) -> tuple[str, ...]:
    """Return the keys that a key takes back where it stands above them."""
    return _RIVALS.get(name, ())


def check_settings(where: str, values: Mapping[str, Any]) -> None:
    """Check keys and types of a layer.

    Raises
    ------
    ConfigError
        If a key is unknown, has a value of another type, or takes back another of the same layer.
    """
    for name, value in values.items():
        check_known(where, name, KEYS, "keys are the flags of compress without --")
        check_kind(where, name, value, KEYS[name])
        for rival in rivals(name):
            if rival in values:
                raise ConfigError(f"{where}: give either {toml_key(name)} or {toml_key(rival)}")


def merge(base: Mapping[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return a layer's values above others.

    A key takes back what it stands against: a density a sparsity, bits per weight both and the
    index bits; another value codec the parameters of the one before, and one that chooses the
    values, in place of one that stores codes, all that tells what is kept and how; an index with a
    rate of its own the index bits.
    """
    gone = {rival for name in layer for rival in rivals(name)}
    before = base.get("value", _VALUE)
    if "value" in layer and layer["value"] != before:
        gone |= {"n_in", "n_out", "order"}.union(*OWN_PARAMETERS.values())
        if _chooses_values(layer["value"]) != _chooses_values(before):
            gone |= {*_OF_STORED_CODES, *_OF_CHOSEN_VALUES}
    if "index" in layer:
        codec = INDEX_CODECS.get(layer["index"])
        if codec is not None and not codec.takes_rate:
            gone.add("index_bits")
    return {name: value for name, value in base.items() if name not in gone} | dict(layer)
