# SPDX-License-Identifier: Apache-2.0
"""What every reader yields: tensors by name, and what else the file holds that must not be lost."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import CapacityError, ConfigError, FormatError, XorloomError
from xorloom.sw.tensors.safetensors_file import dtype_name

__all__ = [
    "WEIGHT_DTYPES",
    "Checkpoint",
    "ModelTensor",
    "Origin",
    "Place",
    "Span",
    "from_arrays",
    "is_told",
    "listed",
    "reader",
    "rows_of",
]

WEIGHT_DTYPES = (
    *("F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2"),
    *("F8_E4M3FNUZ", "F8_E5M2FNUZ"),
)
"""Dtypes of weights that can be quantized. ``F8_E8M0`` holds powers of two: it has no zero."""
_LEAST, _MOST = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)


_PIECE_BYTES = 1 << 20
Place = tuple[slice | int, ...]
"""Rows of an array: indices of its first dimensions, then a run of the next one."""


@dataclass(frozen=True)
class Span:
    """Where the bytes of a tensor stand in a file.

    Parameters
    ----------
    path : Path
    start, size : int
        In bytes.
    """

    path: Path
    start: int
    size: int

    def pieces(self) -> Iterator[bytes]:
        """Read the bytes, a piece at a time: mapped memory would count as this process's own.

        Raises
        ------
        FormatError
            If the file has become shorter.
        """
        left = self.size
        with self.path.open("rb") as file:
            file.seek(self.start)
            while left:
                piece = file.read(min(left, _PIECE_BYTES))
                if not piece:
                    raise FormatError(
                        f"{self.path}: ends {left:,} bytes early: something has cut it off since "
                        "it was opened"
                    )
                left -= len(piece)
                yield piece


@dataclass(frozen=True)
class Origin:
    """Where a tensor is read again, by another process or on another machine.

    Parameters
    ----------
    path : Path
        What :func:`xorloom.sw.tensors.checkpoint.opening.open_model` opened.
    name : str
        Of the tensor, there.
    place : tuple, optional
        Its rows, if it is a part of that tensor; see :func:`rows_of`.
    """

    path: Path
    name: str
    place: Place | None = None


@dataclass(frozen=True)
class ModelTensor:
    """Tensor of a checkpoint, read when asked for.

    Parameters
    ----------
    name : str
    dtype : str
        Safetensors name, e.g. ``F32``; of a foreign tensor the source's own, e.g. ``torch.qint8``.
    shape : tuple of int
    load : callable
        Returns the array in its own dtype. Where NumPy has no such dtype (``F4``, foreign
        tensors), its bytes as uint8, in one dimension.
    pruned : bool
        Whether its zeros are a mask that the source told apart from its weights.
    foreign : str
        Not empty: safetensors has no such dtype, and the bytes are in this encoding: ``torch`` (a
        file of ``torch.save``), ``onnx`` (a TensorProto), ``npy`` (a file of ``numpy.save``) or
        ``safetensors`` (as in the source, whose safetensors is newer than this).
    source : str
        The file it was read from, for errors.
    span : Span, optional
        Where its bytes stand in a file just as :meth:`raw` returns them.
    by_rows : bool
        Whether a part of what ``load`` returns takes no more than that part: it is mapped, or in
        memory anyway.
    origin : Origin, optional
        Where it is read again; none of arrays in memory.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    load: Callable[[], np.ndarray]
    pruned: bool = False
    foreign: str = ""
    source: str = ""
    span: Span | None = None
    by_rows: bool = False
    origin: Origin | None = None

    @property
    def label(self) -> str:
        """What an error calls it: file and name."""
        return f"{self.source}: tensor {self.name!r}" if self.source else f"tensor {self.name!r}"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether weights of this dtype can be quantized."""
        return not self.foreign and self.dtype in WEIGHT_DTYPES

    def weights(self) -> np.ndarray:
        """Return the values as float32.

        Raises
        ------
        ConfigError
            If no float32 comes near a finite value, or near the largest of the tensor.
        """
        array = self.load()
        if self.dtype == "F64":
            self._check_range(array)
        # Values too small for float32 beside one that it holds become 0, as rounding wants it.
        return array.astype(np.float32)

    def _check_range(self, array: np.ndarray) -> None:
        """Check that float32, which scales are at most, holds values of double precision."""
        magnitude = np.abs(array, where=np.isfinite(array), out=np.zeros_like(array))
        largest = float(magnitude.max(initial=0.0))
        if largest == 0 or _LEAST <= largest <= _MOST:
            return
        at = tuple(int(i) for i in np.unravel_index(int(magnitude.argmax()), self.shape))
        raise ConfigError(
            f"{self.label}: weight at {at} is {array[at]:.6g}; the largest must be between "
            f"{_LEAST:.1e} and {_MOST:.1e}, the range of float32 scales: multiply "
            "the tensor by a power of two, or leave it out"
        )

    def raw(self) -> bytes:
        """Return the bytes as safetensors stores them; of a foreign tensor its encoding."""
        return self.load().tobytes()

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes of :meth:`raw`, a piece at a time where they stand in a file so.

        Raises
        ------
        FormatError
            If the file has become shorter; names file and tensor.
        """
        if self.span is None:
            yield self.raw()
            return
        try:
            yield from self.span.pieces()
        except FormatError as error:
            raise FormatError(f"{self.label}: {error}") from error


@dataclass(frozen=True, eq=False)
class Checkpoint(Mapping[str, ModelTensor]):
    """Opened model: a mapping of names to tensors, in file order.

    Parameters
    ----------
    tensors : mapping of name to ModelTensor
    path : Path, optional
        The file or folder; ``None`` for arrays in memory.
    metadata : mapping of str to str
        Of a safetensors file, e.g. ``format: pt``.
    ties : mapping of str to str
        Names that stand for the data of another tensor, and that tensor's name. They are not in
        the mapping.
    notes : tuple of str
        One line for each kind of thing that was left out or changed while reading.
    files : tuple of Path
        All files that are read, which nothing may be written over.
    """

    tensors: Mapping[str, ModelTensor]
    path: Path | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def __getitem__(self, name: str) -> ModelTensor:
        return self.tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)


def listed(names: Iterable[str], most: int = 5) -> str:
    """Return names for a line of text: the first few, and how many more there are."""
    names = [name if name.isprintable() else repr(name) for name in names]
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def rows_of(array: np.ndarray, place: Place) -> np.ndarray:
    """Return rows of an array, of as many dimensions."""
    found = array[place]
    return found.reshape((1,) * (len(place) - 1) + found.shape)


def is_told(error: Exception) -> bool:
    """Whether an error names a file already: it is ours, or the system's about a file.

    Libraries raise the system's errors of their own accord as well, without a name.
    """
    named = isinstance(error, OSError) and error.filename is not None
    return named or isinstance(error, XorloomError)


def reader(label: str, read: Callable[[], np.ndarray]) -> Callable[[], np.ndarray]:
    """Return ``read`` with errors that name the tensor: readers of formats raise any type."""

    def load() -> np.ndarray:
        try:
            return read()
        except MemoryError as error:
            raise CapacityError(f"{label} does not fit into memory: {error}") from error
        except Exception as error:
            if is_told(error):
                raise
            raise FormatError(f"{label} cannot be read: {error}") from error

    return load


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Checkpoint:
    """Return a model whose tensors are arrays in memory.

    Raises
    ------
    FormatError
        If safetensors has no such dtype.
    """

    def keep(array: np.ndarray) -> Callable[[], np.ndarray]:
        return lambda: array

    little = {
        name: array.astype(array.dtype.newbyteorder("<")) if array.dtype.byteorder == ">" else array
        for name, array in arrays.items()
    }
    return Checkpoint(
        {
            name: ModelTensor(name, dtype_name(array.dtype), array.shape, keep(array), by_rows=True)
            for name, array in little.items()
        }
    )
