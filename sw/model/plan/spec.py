# SPDX-License-Identifier: Apache-2.0
"""Plan of a tensor: what to keep of it, and which codecs store it."""

from dataclasses import dataclass, field

from xorloom.sw.base.errors import ConfigError, check_range
from xorloom.sw.spec.config import ValueConfig, WindowConfig
from xorloom.sw.spec.index_config import IndexConfig
from xorloom.sw.spec.weight_format import check_index
from xorloom.sw.tensors.orders import check_order
from xorloom.sw.tensors.prune import check_sparsity
from xorloom.sw.tensors.quantize import Quantizer
from xorloom.sw.tensors.rotation import SEED_MAX
from xorloom.sw.value.plane import check_method

from .selection import MIN_SIZE

__all__ = ["DEFAULT_DENSITY", "CompressSpec", "TensorPlan"]

DEFAULT_DENSITY = 0.1
"""Share of kept weights where nothing else is asked for."""
SCOPES = ("tensor", "row", "global")
IMPORTANCE = ("magnitude", "energy")


@dataclass(frozen=True)
class TensorPlan:
    """How one tensor is compressed.

    Parameters
    ----------
    sparsity : float in [0, 1), optional
        ``None``: a tensor that is mostly zeros, or whose zeros are a mask of its own, keeps what is
        not zero; all but :data:`DEFAULT_DENSITY` for others, and where the index chooses the mask.
    scope : str
        ``tensor``, ``row`` or ``global`` magnitude pruning.
    quantizer : Quantizer
    config : ValueConfig
        The value codec. With one that chooses the values, every weight is kept.
    order : str
        Weight order, see :func:`xorloom.sw.value.window.codec.encode`; with an index that chooses
        the mask ``auto`` is what keeps most.
    search : bool
        Let :func:`xorloom.sw.value.search.search_block` choose ``n_out`` and ``block_groups``, or
        :func:`xorloom.sw.value.search.search_window` ``n_in``, for all tensors of equal codecs.
    index : IndexConfig, optional
        The index codec; a bitmap by default. One that chooses the mask itself needs ``scope``
        ``tensor``.
    importance : str
        What such a codec keeps most of: ``magnitude`` or ``energy`` (its square).
    rotation : int, optional
        Seed of the rotation that the weights get before a codec chooses their values.

    Raises
    ------
    ConfigError
        If a parameter is out of range.
    """

    sparsity: float | None = None
    scope: str = "tensor"
    quantizer: Quantizer = field(default_factory=Quantizer)
    config: ValueConfig = field(default_factory=WindowConfig)
    order: str = "auto"
    search: bool = True
    index: IndexConfig | None = None
    importance: str = "magnitude"
    rotation: int | None = None

    def __post_init__(self) -> None:
        if self.sparsity is not None:
            check_sparsity(self.sparsity)
        if self.scope not in SCOPES:
            raise ConfigError(f"scope must be one of {', '.join(SCOPES)}, not {self.scope!r}")
        if self.importance not in IMPORTANCE:
            raise ConfigError(
                f"importance must be one of {', '.join(IMPORTANCE)}, not {self.importance!r}"
            )
        if self.order != "auto":
            check_order(self.order)
        check_method(self.quantizer, self.config)
        if self.index is not None:
            check_index(self.index, self.config, self.quantizer.planes)
        if self.config.chooses_values:
            self._check_chosen_values()
        elif self.rotation is not None:
            raise ConfigError(f"rotation goes with the direct value codec, not {self.config.codec}")
        if self.chooses and self.scope != "tensor":
            raise ConfigError(
                f"the {self.index and self.index.codec} index chooses every tensor's mask: scope "
                f"must be tensor, not {self.scope}"
            )
        if self.chooses and self.quantizer.method == "ternary":
            raise ConfigError(
                "the ternary quantizer clears weights that the mask keeps: an index that chooses "
                "the mask goes with binary, alternating or uniform"
            )

    def _check_chosen_values(self) -> None:
        self.config.check_planes(self.quantizer.planes)
        if self.sparsity or self.scope != "tensor":
            raise ConfigError(
                f"the {self.config.codec} value codec keeps every weight: give no sparsity and no "
                "scope"
            )
        if self.rotation is not None:
            check_range("rotation", self.rotation, 0, SEED_MAX)

    @property
    def chooses(self) -> bool:
        """Whether the index codec chooses the mask."""
        return self.index is not None and self.index.chooses_mask

    @property
    def waits(self) -> bool:
        """Whether the tensor must wait until a search has seen a sample of all."""
        return self.searches and not (self.chooses and isinstance(self.config, WindowConfig))

    @property
    def searches(self) -> bool:
        """Whether a search chooses the value codec's free parameter."""
        return self.search and not self.config.chooses_values

    @property
    def pruned(self) -> float:
        """Share of weights that is pruned where the tensor has no mask of its own."""
        return 1 - DEFAULT_DENSITY if self.sparsity is None else self.sparsity


@dataclass(frozen=True)
class CompressSpec(TensorPlan):
    """One plan for all tensors of a model that qualify.

    Parameters
    ----------
    include, exclude : tuple of str
    min_size : int
        All three as in :func:`xorloom.sw.model.plan.selection.select`.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int = MIN_SIZE
