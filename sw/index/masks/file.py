# SPDX-License-Identifier: Apache-2.0
"""Files of choices: .npz, one for a model.

==============  ==================  ============================================================
key             array               what it is
==============  ==================  ============================================================
``NAME``        bool, of any shape  the mask of the tensor ``NAME``
``NAME.seeds``  (bytes,) uint8      memory streams of its index, back to back
``NAME.index``  (bytes,) uint8      JSON text: codec, its parameters, order, slices per stream
==============  ==================  ============================================================

So any program that reads NumPy's files has the masks at hand.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from xorloom.sw.base.errors import ConfigError, FormatError
from xorloom.sw.spec.codecs import INDEX_CODECS
from xorloom.sw.tensors.checkpoint import open_model
from xorloom.sw.tensors.checkpoint.npz import write_npz

from .choice import Choice, check_choice

__all__ = ["check_file", "load_choices", "save_choices"]

_SEEDS, _INDEX = ".seeds", ".index"
_FACTS = {"codec", "config", "order", "slices_per_stream"}
_FIX = "write it with save_choices or compress --save-choices"


def check_file(path: Path, names: Iterable[str]) -> None:
    """Check that a file of choices can have its name and hold tensors of these names.

    Raises
    ------
    ConfigError
        If it does not end in .npz, or a tensor's name could be taken for a part of another one's
        entry.
    """
    if path.suffix != ".npz":
        raise ConfigError(f"{path}: a file of choices must end in .npz")
    for name in names:
        if name.endswith((_SEEDS, _INDEX)):
            raise ConfigError(
                f"{path}: a chosen tensor's name must not end in {_SEEDS} or {_INDEX}, as "
                f"{name!r} does"
            )


def save_choices(path: Path, choices: Mapping[str, Choice]) -> None:
    """Write the choices of a model, by tensor name; whole or not at all.

    Raises
    ------
    ConfigError
        See :func:`check_file`; if there is no choice, or something else among them.
    FormatError
        If seeds do not decode to their mask.
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    check_file(path, choices)
    if not choices:
        raise ConfigError(f"{path}: there is no choice to write")
    arrays: dict[str, np.ndarray] = {}
    for name, choice in choices.items():
        if not isinstance(choice, Choice):
            raise ConfigError(
                f"{name}: must be a Choice of choose_mask, not {type(choice).__name__}: masks "
                "without seeds go into any .npz"
            )
        check_choice(choice, name)
        facts = {
            "codec": choice.index.codec,
            "config": choice.index.to_dict(),
            "order": choice.order,
            "slices_per_stream": choice.slices_per_stream,
        }
        arrays[name] = choice.mask
        arrays[name + _SEEDS] = np.frombuffer(choice.seeds, np.uint8)
        arrays[name + _INDEX] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    write_npz(path, arrays, deflated=True)


def load_choices(path: Path) -> dict[str, Choice]:
    """Read the choices of a model, by tensor name; all seeds are decoded and compared.

    Raises
    ------
    ConfigError
        If there is no such file.
    FormatError
        If it is no file of choices, or damaged; the message names file and tensor.
    """
    path = Path(path)
    check_file(path, ())
    arrays = {name: tensor.load() for name, tensor in open_model(path).items()}
    names = [name for name in arrays if not name.endswith((_SEEDS, _INDEX))]
    parts = {name + suffix for name in names for suffix in ("", _SEEDS, _INDEX)}
    odd = sorted(parts ^ set(arrays))
    if odd or not names:
        what = f"{odd[0]} is missing or has no mask" if odd else "there is no mask"
        raise FormatError(f"{path}: no file of choices: {what} ({_FIX})")
    return {name: _choice(path, name, arrays) for name in names}


def _choice(path: Path, name: str, arrays: Mapping[str, np.ndarray]) -> Choice:
    where = f"{path}: {name}"
    mask, seeds, text = (arrays[name + suffix] for suffix in ("", _SEEDS, _INDEX))
    for suffix, part in ((_SEEDS, seeds), (_INDEX, text)):
        if part.dtype != np.uint8 or part.ndim != 1:
            raise FormatError(f"{where}{suffix} must be bytes, not {part.dtype} {part.shape}")
    facts = _facts(text.tobytes(), f"{where}{_INDEX}")
    try:
        choice = Choice(
            mask,
            seeds.tobytes(),
            facts["order"],
            INDEX_CODECS[facts["codec"]].from_dict(facts["config"]),
            facts["slices_per_stream"],
        )
    except ConfigError as error:
        raise FormatError(f"{where}: {error} ({_FIX})") from error
    check_choice(choice, where)
    return choice


def _facts(data: bytes, where: str) -> dict[str, Any]:
    """Return what the JSON text says, of the types that it must have."""
    try:
        facts = json.loads(data)
    except ValueError as error:
        raise FormatError(f"{where} is no JSON text: {error} ({_FIX})") from error
    if (
        not isinstance(facts, dict)
        or set(facts) != _FACTS
        or not isinstance(facts["config"], dict)
        or not isinstance(facts["order"], str)
        or facts["codec"] not in list(INDEX_CODECS)
    ):
        raise FormatError(f"{where} must tell {', '.join(sorted(_FACTS))} ({_FIX})")
    return facts
