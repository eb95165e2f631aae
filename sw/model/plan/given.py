# SPDX-License-Identifier: Apache-2.0
"""Arrays that the user brings beside a model: masks, codes, seeds, saliencies."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.index.masks import Choice, check_choice
from xorloom.sw.model.calibration.file import Calibration
from xorloom.sw.model.container import INDEX, MASK, SCALE, STREAM
from xorloom.sw.spec.config import WindowConfig
from xorloom.sw.spec.direct import DirectConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.tensors.checkpoint import ModelTensor
from xorloom.sw.tensors.codes import check_codes
from xorloom.sw.tensors.quantize import Quantized, check_scales
from xorloom.sw.tensors.rotation import columns_of
from xorloom.sw.value.direct.codec import decode
from xorloom.sw.value.direct.stream import DirectStreams, check_direct

from .spec import TensorPlan

__all__ = ["UserArrays"]


@dataclass(frozen=True)
class UserArrays:
    """Arrays that the user brings, by tensor name.

    Parameters
    ----------
    masks : mapping of name to array or Choice
        Non-zero where a weight is kept, instead of pruning. A choice brings the index streams that
        hold the mask; they go into the file as they are, and the plan's index is the choice's.
    codes : mapping of name to uint8 or int8 array
        Codes below ``2**planes``, instead of quantizing; stored as they are, without scales. Need
        a mask.
    quantized : mapping of name to Quantized
        Mask, codes and scales, stored as they are, instead of pruning and quantizing; the plan's
        quantizer says what codes mean and what a scale serves. Scales may be float16 or float32.
        With an index that chooses masks, a choice of the same mask must go with it.
    seeds : mapping of name to DirectStreams
        Levels and seeds of a tensor whose codec chooses the values, stored as they are, instead of
        a search; ``quantized`` brings the codes that they decode to, and the scales.
    saliency : mapping of name to array
        What keeping each weight is worth, not negative, for an index that chooses the mask; with a
        codec that chooses the values, what its squared error counts.
    calibration : Calibration, optional
        Moments of the inputs of all matrices whose codec chooses the values.
    """

    masks: Mapping[str, np.ndarray | Choice] = field(default_factory=dict)
    codes: Mapping[str, np.ndarray] = field(default_factory=dict)
    saliency: Mapping[str, np.ndarray] = field(default_factory=dict)
    calibration: Calibration | None = None
    quantized: Mapping[str, Quantized] = field(default_factory=dict)
    seeds: Mapping[str, DirectStreams] = field(default_factory=dict)

    def choice(self, name: str) -> Choice | None:
        """Return the choice of a tensor's mask, if there is one."""
        found = self.masks.get(name)
        return found if isinstance(found, Choice) else None

    def mask(self, name: str) -> np.ndarray | None:
        """Return the mask that a tensor must have, bool, if the user brings one."""
        found = self.masks.get(name)
        if found is None:
            return self.quantized[name].mask if name in self.quantized else None
        return found.mask if isinstance(found, Choice) else found != 0

    def planned(self, plans: Mapping[str, TensorPlan]) -> dict[str, TensorPlan]:
        """Return plans with the index and the order of what the user brings.

        Raises
        ------
        ConfigError
            If a plan asks for others.
        """
        found = dict(plans)
        for name in self.masks:
            choice = self.choice(name)
            if choice is not None and name in plans:
                found[name] = _with_choice(name, plans[name], choice)
        return found

    def searched(self, plans: Mapping[str, TensorPlan]) -> list[str]:
        """Return the tensors whose values a codec searches, as the user brings no seeds."""
        return [
            name
            for name, plan in plans.items()
            if plan.config.chooses_values and name not in self.seeds
        ]

    def check(self, model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan]) -> None:
        """Check all arrays against the tensors that are compressed, before anything is computed.

        Raises
        ------
        ConfigError
            If an array does not fit, is none, or is none of numbers, or a tensor of the model has a
            name that is needed.
        """
        self._check_types()
        for name in plans:
            suffixes = (
                (STREAM, INDEX, SCALE, MASK) if name in self.codes else (STREAM, INDEX, SCALE)
            )
            for taken in (name + suffix for suffix in suffixes):
                if taken in model:
                    raise ConfigError(
                        f"tensor {taken!r} is in the way of what {name!r} becomes: rename it"
                    )
        for name, given in self.codes.items():
            if name not in plans or name not in self.masks:
                raise ConfigError(
                    f"codes of {name!r} need a compressed tensor and a mask of that name"
                )
            _check_stores("codes", name, plans[name])
            _check_shape("codes", name, given, model[name])
        for name in self.masks:
            if name not in plans:
                raise ConfigError(f"mask {name!r} belongs to no tensor that is compressed")
            self._check_mask(name, plans[name], model[name])
        for name in self.quantized:
            if name not in plans:
                raise ConfigError(f"quantized {name!r} belongs to no tensor that is compressed")
            self._check_quantized(name, plans[name], model[name])
        for name in self.seeds:
            if name not in plans or name not in self.quantized:
                raise ConfigError(
                    f"seeds of {name!r} need a compressed tensor and quantized weights of that name"
                )
            self._check_seeds(name, plans[name])
        for name, given in self.saliency.items():
            self._check_saliency(name, given, model, plans)
        self._check_calibration(model, plans)

    def _check_types(self) -> None:
        """Check that everything is an array of numbers, or the object that it must be."""
        for name, given in self.masks.items():
            if not isinstance(given, Choice):
                _check_array("mask", name, given, " or a Choice")
        for what, arrays in (("codes", self.codes), ("saliency", self.saliency)):
            for name, given in arrays.items():
                _check_array(what, name, given)
        for what, found, kind, parts in (
            ("quantized", self.quantized, Quantized, ("mask", "codes", "scales")),
            ("seeds", self.seeds, DirectStreams, ("levels",)),
        ):
            for name, whole in found.items():
                if not isinstance(whole, kind):
                    raise ConfigError(
                        f"{what} {name!r} must be a {kind.__name__}, not {type(whole).__name__}"
                    )
                for part in parts:
                    _check_array(f"{part} of {what}", name, getattr(whole, part))

    def _check_mask(self, name: str, plan: TensorPlan, tensor: ModelTensor) -> None:
        mask, choice = self.mask(name), self.choice(name)
        assert mask is not None
        _check_stores("a mask", name, plan)
        if plan.chooses and choice is None:
            raise ConfigError(f"the {_codec(plan)} index chooses the mask and {_kept_by(name)}")
        if mask.shape != tensor.shape:
            raise ConfigError(
                f"mask of {name!r} is {mask.shape}, must be {tensor.shape} like the tensor"
            )
        if choice is not None:
            if name in self.codes:
                raise ConfigError(
                    f"codes of {name!r} go with a mask, not with a choice: give its mask, or "
                    "quantized weights"
                )
            try:
                check_choice(choice, f"choice of {name!r}")
            except FormatError as error:
                raise ConfigError(str(error)) from error

    def _check_quantized(self, name: str, plan: TensorPlan, tensor: ModelTensor) -> None:
        given, quantizer, what = self.quantized[name], plan.quantizer, f"quantized {name!r}"
        if name in self.codes:
            raise ConfigError(f"{what}: its codes are given as well: leave one of them out")
        for part in ("mask", "codes"):
            array = getattr(given, part)
            if array.shape != tensor.shape:
                raise ConfigError(
                    f"{what}: {part} is {array.shape}, must be {tensor.shape} like the tensor"
                )
        try:
            check_codes(given.mask, given.codes, quantizer.planes)
        except ConfigError as error:
            raise ConfigError(f"{what}: {error}") from error
        if given.codes.any(where=~given.mask):
            raise ConfigError(f"{what}: codes of pruned weights must be 0 (use codes * mask)")
        if given.scales.dtype not in (np.float16, np.float32):
            raise ConfigError(
                f"{what}: scales must be float16 or float32, not {given.scales.dtype}"
            )
        check_scales(given.scales, tensor.shape, quantizer, what)
        if plan.config.chooses_values:
            if name not in self.seeds:
                raise ConfigError(
                    f"{what}: the {plan.config.codec} value codec stores seeds: give those that "
                    "decode to its codes, or use --value window"
                )
        elif given.levels is not None or given.rotation is not None:
            raise ConfigError(
                f"{what}: levels and a rotation go with the direct value codec, not with "
                f"{plan.config.codec}"
            )
        if plan.chooses and self.choice(name) is None:
            raise ConfigError(
                f"{what}: the {_codec(plan)} index chooses the mask and {_kept_by(name)}"
            )
        keeps_all = plan.config.chooses_values or (plan.index is not None and plan.index.keeps_all)
        if keeps_all and not given.mask.all():
            raise ConfigError(
                f"{what}: the mask prunes {given.mask.size - np.count_nonzero(given.mask):,} "
                "weights, and the plan keeps every weight (use the bitmap or entropy index)"
            )
        own = self.mask(name)
        if own is not None and not np.array_equal(own, given.mask):
            raise ConfigError(f"{what}: its mask is another than the mask of {name!r}")

    def _check_seeds(self, name: str, plan: TensorPlan) -> None:
        streams, given, what = self.seeds[name], self.quantized[name], f"seeds of {name!r}"
        if not isinstance(plan.config, DirectConfig):
            raise ConfigError(
                f"{what} go with the direct value codec, not with {plan.config.codec}: use --value "
                "direct"
            )
        try:
            check_direct(streams, given.mask.size, plan.config)
        except (ConfigError, FormatError) as error:
            raise ConfigError(f"{what}: {error}") from error
        if plan.order not in ("auto", streams.order):
            raise ConfigError(f"{what} are in order {streams.order}, the plan's is {plan.order}")
        if given.levels is not None and not np.array_equal(given.levels, streams.levels):
            raise ConfigError(f"{what}: levels are others than those of quantized {name!r}")
        if given.rotation != plan.rotation:
            raise ConfigError(
                f"{what}: quantized {name!r} has rotation {given.rotation}, the plan has "
                f"{plan.rotation}"
            )
        found = decode(streams, given.mask.shape, plan.config)
        wrong = int(np.count_nonzero(found != given.codes))
        if wrong:
            raise ConfigError(
                f"{what} decode to other codes than those of quantized {name!r}: {wrong:,} of "
                f"{found.size:,} differ"
            )

    def _check_saliency(
        self,
        name: str,
        given: np.ndarray,
        model: Mapping[str, ModelTensor],
        plans: Mapping[str, TensorPlan],
    ) -> None:
        if name not in plans:
            raise ConfigError(f"saliency {name!r} belongs to no tensor that is compressed")
        if self.choice(name) is not None or name in self.quantized:
            raise ConfigError(
                f"saliency of {name!r}: its mask is given, so nothing is chosen: leave it out"
            )
        if plans[name].config.chooses_values:
            self._check_importance(name, plans[name])
        elif not plans[name].chooses:
            raise ConfigError(
                f"a saliency needs an index that chooses the mask, trellis or lowrank: "
                f"{name!r} has none"
            )
        _check_shape("saliency", name, given, model[name])

    def _check_importance(self, name: str, plan: TensorPlan) -> None:
        if self.calibration is not None or plan.rotation is not None:
            other = "a rotation" if self.calibration is None else "a calibration"
            raise ConfigError(
                f"saliency of {name!r} does not go with {other}: it is of single weights (leave "
                "one of them out)"
            )

    def _check_calibration(
        self, model: Mapping[str, ModelTensor], plans: Mapping[str, TensorPlan]
    ) -> None:
        if self.calibration is None:
            return
        chosen = self.searched(plans)
        if not chosen:
            raise ConfigError(
                f"{self.calibration.where}: a calibration goes with --value direct, and no tensor "
                "has it"
            )
        for name in chosen:
            shape = model[name].shape
            if len(shape) < 2:
                raise ConfigError(
                    f"{self.calibration.where}: {name}: a calibration is of matrices, not of shape "
                    f"{shape} (leave the tensor out)"
                )
            self.calibration.of(name, columns_of(shape))
            if plans[name].order not in ("auto", "column"):
                raise ConfigError(
                    f"{name!r}: with a calibration, columns are chosen in turn: order must be "
                    f"column, not {plans[name].order}"
                )

    def unused(self, plans: Mapping[str, TensorPlan]) -> list[str]:
        """Return the tensors of the calibration that have no use for it."""
        chosen = set(self.searched(plans))
        return [name for name in self.calibration or () if name not in chosen]


def _codec(plan: TensorPlan) -> str:
    return plan.index.codec if plan.index else "bitmap"


def _kept_by(name: str) -> str:
    return (
        f"cannot keep that of {name!r} exactly: use the bitmap or entropy index, or give the "
        "choice that the mask comes from (a Choice, --choices)"
    )


def _with_choice(name: str, plan: TensorPlan, choice: Choice) -> TensorPlan:
    """Return a plan with a choice's index and order."""
    what, value = f"choice of {name!r}", plan.config
    _check_stores("a mask", name, plan)
    if not isinstance(value, WindowConfig):
        raise ConfigError(
            f"{what}: the {choice.index.codec} index goes with the window value codec, not with "
            f"{value.codec}"
        )
    if plan.index is not None and plan.index != choice.index:
        raise ConfigError(
            f"{what} is for {_parameters(choice.index, plan.index)}, the plan's index is "
            f"{_parameters(plan.index, choice.index)}: leave the plan's index out, or choose the "
            "mask with it"
        )
    if plan.order not in ("auto", choice.order):
        raise ConfigError(
            f"{what} is in order {choice.order}, the plan's is {plan.order}: leave the order out"
        )
    try:
        plan = replace(plan, index=choice.index, order=choice.order)
    except ConfigError as error:
        raise ConfigError(f"{what}: {error}") from error
    if choice.slices_per_stream % value.frame:
        raise ConfigError(
            f"{what} has {choice.slices_per_stream} slices per stream, no multiple of frame "
            f"{value.frame}: choose the mask for these value parameters"
        )
    return plan


def _parameters(index: IndexConfig, other: IndexConfig) -> str:
    """Return an index in words, with the parameters in which it differs from another."""
    own = index.to_dict()
    differ = own.items() - other.to_dict().items() if index.codec == other.codec else own.items()
    return ", ".join(
        [f"the {index.codec} index", *(f"{k} {own[k]}" for k in own if (k, own[k]) in differ)]
    )


def _check_stores(what: str, name: str, plan: TensorPlan) -> None:
    if plan.config.chooses_values:
        raise ConfigError(
            f"{what} of {name!r}: the {plan.config.codec} value codec keeps every weight and "
            "chooses the codes itself: use --value window"
        )


def _check_array(what: str, name: str, given: object, other: str = "") -> None:
    if not isinstance(given, np.ndarray | np.generic):  # of no dimension: a number of NumPy
        raise ConfigError(
            f"{what} {name!r} must be a NumPy array{other}, not {type(given).__name__}"
        )
    if given.dtype.kind in "cOSUmM":
        raise ConfigError(f"{what} {name!r} must be of real numbers, not {given.dtype}")
    if given.dtype.kind == "f" and np.isnan(given).any() and what == "mask":
        raise ConfigError(f"{what} {name!r} has a NaN (give 0 where a weight is pruned)")


def _check_shape(what: str, name: str, array: np.ndarray, tensor: ModelTensor) -> None:
    if array.shape != tensor.shape:
        raise ConfigError(
            f"{what} of {name!r} are {array.shape}, must be {tensor.shape} like the tensor"
        )
