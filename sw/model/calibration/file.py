# SPDX-License-Identifier: Apache-2.0
"""Files of calibrations: .npz, with the moments of every matrix under the matrix's name.

===================  ==========================================  ==================
key                  array                                       where it is missing
===================  ==========================================  ==================
``NAME``             (columns, columns), ``E[x x']``             must be there
``NAME.mean``        (columns,), ``E[x]``                        biases stay
``NAME.samples``     integer                                     0: not known
``NAME.cross``       (columns, columns), ``E[z x']``             inputs are the original's
``NAME.cross_mean``  (columns,), ``E[z]``                        goes with ``cross``
===================  ==========================================  ==================

``x`` are the inputs that the matrix has in the compressed model, ``z`` those in the original one.
Arrays are float32 or float64.
"""

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.tensors.checkpoint.npz import write_npz
from xorloom.sw.tensors.moments import Moments

__all__ = ["Calibration", "load", "save"]

_PARTS = {
    ".mean": "mean",
    ".samples": "samples",
    ".cross": "cross",
    ".cross_mean": "original_mean",
}
_SAMPLES_MAX = 1 << 53


@dataclass(frozen=True)
class Calibration(Mapping[str, Moments]):
    """Moments of a model's matrices, by the matrices' names.

    Parameters
    ----------
    moments : mapping
        From name to moments.
    where : str
        Of what the messages speak: the file.
    """

    moments: Mapping[str, Moments]
    where: str = "calibration"

    def __getitem__(self, name: str) -> Moments:
        return self.moments[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.moments)

    def __len__(self) -> int:
        return len(self.moments)

    def of(self, name: str, columns: int) -> Moments:
        """Return the moments of a matrix of so many columns.

        Raises
        ------
        ConfigError
            If the matrix is missing, or has another number of columns.
        """
        if name not in self.moments:
            some = ", ".join(list(self.moments)[:3]) or "nothing"
            raise ConfigError(
                f"{self.where}: {name}: not calibrated; it has {some}{', ..' * (len(self) > 3)} "
                "(collect it as well, or leave the tensor out)"
            )
        try:
            self.moments[name].check_columns(columns)
        except ConfigError as error:
            raise ConfigError(f"{self.where}: {name}: {error}") from error
        return self.moments[name]


def save(path: Path, calibration: Mapping[str, Moments]) -> None:
    """Write a file of calibrations, whole or not at all.

    Raises
    ------
    ConfigError
        If a tensor's name could be taken for a part of another one's entry.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, moments in calibration.items():
        if _split(name)[1]:
            raise ConfigError(
                f"{name}: a calibrated tensor's name must not end in {' or '.join(_PARTS)}"
            )
        arrays[name] = moments.second
        for suffix, field in _PARTS.items():
            value = getattr(moments, field)
            if value is not None:
                arrays[name + suffix] = np.asarray(value)
    write_npz(path, arrays)


def load(path: Path) -> Calibration:
    """Read a file of calibrations.

    Raises
    ------
    FormatError
        If it is no .npz file, a part has no matrix, or an array cannot be what its key says. The
        message names file and tensor.
    """
    parts: dict[str, dict[str, np.ndarray]] = {}
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise FormatError(f"{path}: one array, expected an .npz file (use numpy.savez)")
        with opened as arrays:
            for key in arrays.files:
                name, suffix = _split(key)
                parts.setdefault(name, {})[suffix] = arrays[key]
    except FormatError:
        raise
    except (ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path}: no .npz file of numbers (use numpy.savez): {error}") from error
    return Calibration({name: _moments(path, name, own) for name, own in parts.items()}, str(path))


def _split(key: str) -> tuple[str, str]:
    """Return the tensor's name and the part that a key holds."""
    for suffix in _PARTS:
        if key.endswith(suffix):
            return key.removesuffix(suffix), suffix
    return key, ""


def _moments(path: Path, name: str, own: dict[str, np.ndarray]) -> Moments:
    """Return the moments of one tensor, out of its arrays by suffix."""
    if "" not in own:
        raise FormatError(
            f"{path}: {name}: {name}{next(iter(own))} is there, but the second moment {name} is "
            "missing (add it: the mean of x x' over all inputs x)"
        )
    samples = own.pop(".samples", np.array(0))
    if (
        samples.size != 1
        or samples.dtype.kind not in "iu"
        or not 0 <= samples.item() < _SAMPLES_MAX
    ):
        raise FormatError(f"{path}: {name}: {name}.samples must be one integer from 0 on")
    fields = {_PARTS[suffix]: array for suffix, array in own.items() if suffix}
    try:
        return Moments(own[""], samples=int(samples.item()), **fields)
    except ConfigError as error:
        raise FormatError(f"{path}: {name}: {error}") from error
