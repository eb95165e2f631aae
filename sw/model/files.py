# SPDX-License-Identifier: Apache-2.0
"""Compressed files as those use them who work with safetensors: load, save, open.

Names and calls are those of ``safetensors.safe_open`` and of its ``load_file`` and ``save_file``.
"""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from xorloom.sw.base.errors import ConfigError
from xorloom.sw.base.extras import require
from xorloom.sw.base.progress import Progress, no_progress
from xorloom.sw.tensors.checkpoint.model import Checkpoint, from_arrays, listed
from xorloom.sw.tensors.checkpoint.torch_tensor import read_tensors, tensor_of
from xorloom.sw.tensors.safetensors_file import DTYPES
from xorloom.sw.value.packed import PackedTensor

from .calibration.file import Calibration
from .codec import decode_packed
from .compress import CompressedModel, compress_model
from .container import plain_metadata, read_container, touched_blocks
from .folders import folder_bytes, place_of
from .notes import loss_warning, report_notes
from .plan.given import UserArrays
from .plan.plans import plan_source
from .plan.recipe import Recipe, read_recipe
from .plan.settings import check_settings
from .plan.source import Source
from .prepare import BLOCK_WEIGHTS
from .verify import plain_pieces

__all__ = ["CompressedFile", "TensorSlice", "load", "open_file", "save"]

_log = logging.getLogger(__name__)
_FRAMEWORKS = {"np": "np", "numpy": "np", "pt": "pt", "torch": "pt"}


class CompressedFile(Mapping[str, Any]):
    """Opened compressed file: a mapping of names to plain arrays.

    The names are those of the model that was compressed, in its order, then other names of tied
    tensors; a tensor whose codes the user brought is ``NAME`` (codes) and ``NAME.mask``. A tensor
    is read, decoded and checked each time that it is asked for; nothing is kept.

    Parameters
    ----------
    path : Path or str
        A file; or a model in several, by its folder or its index.
    framework : str
        ``np`` (or ``numpy``): arrays that may be written to, bfloat16 and float8 of ml_dtypes.
        ``pt`` (or ``torch``): tensors of torch, on the CPU.
    keep_rotation : bool
        Leave rotated weights rotated.
    max_weights : int, optional
        See :func:`xorloom.sw.model.container.reader.read_container`.

    Raises
    ------
    ConfigError
        If the file does not exist, or there is no such framework.
    FormatError
        If it is damaged or not ours.
    ToolError
        If torch is wanted and not installed.
    """

    def __init__(
        self,
        path: Path | str,
        framework: str = "np",
        *,
        keep_rotation: bool = False,
        max_weights: int | None = None,
    ) -> None:
        if framework not in _FRAMEWORKS:
            known = ", ".join(_FRAMEWORKS)
            raise ConfigError(f"framework must be one of {known}, not {framework!r}")
        self._torch = _FRAMEWORKS[framework] == "pt"
        if self._torch:
            require("torch")
        self._container = read_container(Path(path), max_weights)
        self._keep_rotation = keep_rotation

    @cached_property
    def _names(self) -> dict[str, tuple[str, int]]:
        """Tensor of the file behind every name, and which of what it decodes to."""
        found: dict[str, tuple[str, int]] = {}
        for name in self._container.order:
            for place, suffix in enumerate(self._container.outputs(name)):
                found[name + suffix] = (name, place)
        for alias, name in self._container.ties.items():
            found[alias] = found[name]
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Nothing is held open: each read opens the file."""

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        owner, place = self._names[name]
        return self._array(self._pieces(owner, place), *self._facts(name))

    def _pieces(self, owner: str, place: int) -> Iterator[bytes | memoryview]:
        """Decode a tensor of the file, or a row block, to the bytes of a plain one."""
        return plain_pieces(self._container, owner, keep_rotation=self._keep_rotation)[place]

    def _array(
        self, pieces: Iterable[bytes | memoryview | np.ndarray], dtype: str, shape: tuple[int, ...]
    ) -> Any:
        """Return bytes as an array, or a tensor, that may be written to."""
        parts = [np.frombuffer(piece, np.uint8) for piece in pieces]
        data = parts[0] if len(parts) == 1 else np.concatenate(parts or [np.zeros(0, np.uint8)])
        if not data.flags.writeable:
            data = data.copy()
        if self._torch:
            import torch

            return tensor_of(dtype, shape, data.data, torch)
        if dtype not in DTYPES:  # numbers of 4 and 6 bits, of which NumPy has no arrays
            dtype, shape = "U8", (data.size,)
        return data.view(DTYPES[dtype]).reshape(shape)

    def get_tensor(self, name: str) -> Any:
        """Return a tensor, decoded.

        Raises
        ------
        ConfigError
            If there is none of that name.
        FormatError
            If it is damaged, or of a dtype that torch has not.
        CapacityError
            If the file has more weights than are decoded unasked.
        """
        if name not in self._names:
            raise ConfigError(
                f"{self._container.path}: no tensor {name!r} (there is: {listed(self._names)})"
            )
        return self[name]

    def get_slice(self, name: str) -> "TensorSlice":
        """Return what tells a tensor's shape and dtype without decoding it, and takes a part.

        Of a tensor in row blocks, one of more than 12 Mi weights, only the blocks are decoded that
        an index of numbers and slices touches.
        """
        if name not in self._names:
            self.get_tensor(name)  # raises
        dtype, shape = self._facts(name)
        return TensorSlice(dtype, shape, lambda key: self._part(name, key))

    def _part(self, name: str, key: Any) -> Any:
        """Decode what an index takes of a tensor; of one in row blocks, those that it touches."""
        owner, place = self._names[name]
        found = touched_blocks(self._container, owner, key)
        if found is None:
            return self[name][key]
        dtype = self._facts(name)[0]
        bytes_each = DTYPES[dtype].itemsize
        data = np.empty(bytes_each * math.prod(found.shape), np.uint8)
        for block, first in found.blocks.items():
            for piece in self._pieces(block, place):
                data[bytes_each * first :][: len(piece)] = np.frombuffer(piece, np.uint8)
        return self._array([data], dtype, found.shape)[found.key]

    def get_packed(self, name: str) -> list[PackedTensor]:
        """Return a compressed tensor as packed mask and planes, with its scales.

        This is what decoders of one's own and kernels with 1-bit weights take, and the fastest:
        nothing is unpacked. ``part.int8()`` are signed values, ``part.weights()`` float32. Arrays
        are NumPy's whatever the framework. Streams are checked by their CRCs.

        Returns
        -------
        list of PackedTensor
            The tensor; of one of more than 12 Mi weights, its row blocks.

        Raises
        ------
        ConfigError
            If there is none of that name, or it is not compressed.
        FormatError
            If it is damaged.
        CapacityError
            If the file has more weights than are decoded unasked.
        """
        if name not in self._names:
            self.get_tensor(name)  # raises
        return decode_packed(self._container, self._names[name][0])

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the model that was compressed.

        See :func:`xorloom.sw.model.container.plain.plain_metadata`.
        """
        return plain_metadata(self._container)

    def _facts(self, name: str) -> tuple[str, tuple[int, ...]]:
        """Return dtype, as safetensors calls it, and shape."""
        owner, place = self._names[name]
        return list(self._container.outputs(owner).values())[place]


class TensorSlice:
    """Tensor that is not decoded yet; an index decodes what it touches, by whole row blocks.

    Parameters
    ----------
    dtype : str
        As safetensors calls it.
    shape : tuple of int
    read : callable
        Returns what an index takes of the tensor.
    """

    def __init__(self, dtype: str, shape: tuple[int, ...], read: Callable[[Any], Any]) -> None:
        self._dtype, self._shape, self._read = dtype, shape, read

    def get_dtype(self) -> str:
        """Return the name of the dtype."""
        return self._dtype

    def get_shape(self) -> list[int]:
        """Return the shape."""
        return list(self._shape)

    def __getitem__(self, key: Any) -> Any:
        return self._read(key)


class _Loaded(Mapping[str, Any]):
    """Tensors of a file, each decoded when it is first asked for, and kept."""

    def __init__(self, file: CompressedFile) -> None:
        self._file = file
        self._kept: dict[tuple[str, int], Any] = {}

    def __getitem__(self, name: str) -> Any:
        where = self._file._names[name]
        if where not in self._kept:
            self._kept[where] = self._file[name]
        return self._kept[where]

    def __iter__(self) -> Iterator[str]:
        return iter(self._file)

    def __len__(self) -> int:
        return len(self._file)


def open_file(path: Path | str, framework: str = "np", **options: Any) -> CompressedFile:
    """Open a compressed file to iterate over; parameters, errors: :class:`CompressedFile`.

    Example: ``with open_file("m.xl.safetensors") as f: a = {k: f.get_tensor(k) for k in f.keys()}``
    """
    return CompressedFile(path, framework, **options)


def load(path: Path | str, framework: str = "np", **options: Any) -> Mapping[str, Any]:
    """Return the plain arrays of a compressed file by name.

    A tensor is decoded when it is first asked for, and kept then; tied names give one array.
    ``dict(load(path))`` decodes everything now. Parameters, errors: :class:`CompressedFile`.
    """
    return _Loaded(CompressedFile(path, framework, **options))


def save(
    tensors: Mapping[str, Any],
    path: Path | str,
    *,
    recipe: Path | str | None = None,
    preset: str | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    min_size: int | None = None,
    masks: Mapping[str, Any] | None = None,
    codes: Mapping[str, np.ndarray] | None = None,
    saliency: Mapping[str, np.ndarray] | None = None,
    calibration: Calibration | None = None,
    metadata: Mapping[str, str] | None = None,
    jobs: int | None = None,
    block_weights: int = BLOCK_WEIGHTS,
    max_shard_size: str | None = None,
    progress: Progress = no_progress,
    **settings: Any,
) -> CompressedModel:
    """Compress arrays into one file, as ``xorloom compress`` does with a checkpoint.

    Example: ``save(tensors, "m.xl.safetensors", sparsity=0.9, planes=2)``. What is chosen, left
    alone or missed is logged, one line each.

    Parameters
    ----------
    tensors : mapping of str to array
        NumPy arrays, or tensors of torch (a state dict), of which those of one memory are tied.
    path : Path or str
    recipe : Path or str, optional
        A TOML file that says what each tensor becomes.
    preset, include, exclude, min_size
        Which tensors: :func:`xorloom.sw.model.plan.selection.select`.
    masks, codes, saliency, calibration
        The user's own, see :class:`xorloom.sw.model.plan.given.UserArrays`.
    metadata : mapping of str to str, optional
        Goes into the file.
    jobs : int, optional
        Threads; all available cores by default.
    block_weights : int
        Tensors of much more weights are cut into row blocks; 0: none.
    max_shard_size : str, optional
        Such as ``5GB``: ``path`` becomes a folder, its files of at most so many bytes of tensors.
    progress : callable
    **settings
        The options of ``xorloom compress`` with underscores, see
        :data:`xorloom.sw.model.plan.settings.KEYS`.

    Returns
    -------
    CompressedModel
        Bits and errors of every tensor.

    Raises
    ------
    ConfigError, FormatError, CapacityError
        If the tensors or a setting do not fit.
    OSError
        If the file cannot be written; nothing is left behind.
    """
    check_settings("save", settings)
    wanted = (Recipe() if recipe is None else read_recipe(Path(recipe))).above(
        settings, preset=preset, include=include, exclude=exclude, min_size=min_size
    )
    given = UserArrays(
        masks=masks or {}, codes=codes or {}, saliency=saliency or {}, calibration=calibration
    )
    model = _model(tensors, metadata or {})
    plans, asked = plan_source(Source(model), wanted, given, note=_log.warning)
    if unused := given.unused(plans):
        _log.warning(f"calibration not used, as they are not compressed so: {listed(unused, 3)}")
    path = Path(path)
    shard_bytes = None if max_shard_size is None else folder_bytes(None, path, max_shard_size)
    with place_of(None, (), path, shard_bytes, compressed=True) as out:
        made = compress_model(
            model,
            out,
            plans,
            given=given,
            jobs=jobs,
            block_weights=block_weights,
            shard_bytes=shard_bytes,
            progress=progress,
        )
    for text in report_notes(made.tensors, asked):
        _log.warning(text)
    if text := loss_warning(made.tensors, asked):
        _log.warning(text)
    return made


def _model(tensors: Mapping[str, Any], metadata: Mapping[str, str]) -> Checkpoint:
    """Return the tensors as a checkpoint."""
    foreign = [name for name, value in tensors.items() if not isinstance(value, np.ndarray)]
    if not foreign:
        return Checkpoint(from_arrays(tensors).tensors, metadata=metadata)
    if len(foreign) < len(tensors) or not hasattr(tensors[foreign[0]], "untyped_storage"):
        raise ConfigError(
            f"tensors must be NumPy arrays, or all tensors of torch: {listed(foreign, 3)}"
        )
    import torch

    found, ties, _ = read_tensors(tensors, torch, "tensors")
    return Checkpoint(found, ties=ties, metadata=metadata)
