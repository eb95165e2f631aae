# SPDX-License-Identifier: Apache-2.0
"""Files that commands read and write: all are checked before a command begins."""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

from xorloom.sw.base.folders import check_new_folder
from xorloom.sw.base.outputs import check_outputs
from xorloom.sw.remote.urls import delivered, staged, url_of
from xorloom.sw.tensors.shards import is_index

__all__ = ["checked", "file_parameters"]


def _itself(path: Path) -> Iterable[Path]:
    return (path,)


def _results(path: Path) -> Iterable[Path]:
    """Return the files that a report reads of a folder."""
    from xorloom.sim.report.results.input import result_files

    return result_files(path)


def _with_views(path: Path) -> Iterable[Path]:
    """Return what is written for a waveform."""
    from xorloom.sim.simulate.waves.view import view_paths

    return (path, *view_paths(path))


_Files = Callable[[Path], Iterable[Path]]
INPUTS: dict[str, _Files] = {
    "calibration": _itself,
    "choices": _itself,
    "codes": _itself,
    "config": _itself,
    "files": _results,
    "into": _itself,
    "liberty": _itself,
    "masks": _itself,
    "model": _itself,
    "recipe": _itself,
    "saliency": _itself,
}
"""Parameters of commands that name what is read, and which files they mean."""
OUTPUTS: dict[str, _Files] = {
    "c_header": _itself,
    "collect": _itself,
    "output": _itself,
    "plot": _itself,
    "save_choices": _itself,
    "table": _itself,
    "waves": _with_views,
}
"""Parameters that name what is written."""
_INTO_FOLDERS = ("boards", "demo", "generate")
"""Commands whose ``output`` is a folder. What they write in it they check themselves."""
_OF_FOLDERS = ("compress", "decompress")
"""Commands whose ``output`` is a new folder where the model is one."""
_MADE = {("explore", "output"), ("report", "output")}
"""Commands and parameters that make the folder of a file if it is missing; so do plots and
waveforms."""


def file_parameters(command: Callable[..., Any]) -> list[str]:
    """Return the parameters of a command that are paths, or lists of them."""
    known = inspect.signature(command).parameters.values()
    return [parameter.name for parameter in known if _has_path(parameter.annotation)]


def _has_path(annotation: Any) -> bool:
    return annotation is Path or any(map(_has_path, get_args(annotation)))


def _model_of(command: str, given: Mapping[str, Any]) -> Path | None:
    """Return the model that a command makes a folder of, if it does."""
    if command not in _OF_FOLDERS or given["output"].suffix == ".safetensors":
        return None
    model: Path = given.get("into") or given["model"]
    return model if given["max_shard_size"] or model.is_dir() or is_index(model) else None


def _here(
    stack: ExitStack, command: Callable[..., Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what was given with files of this machine in the place of URLs."""
    found = dict(given)

    def here(name: str, path: Path) -> Path:
        url = url_of(path)
        if url is None:
            return path
        if name not in OUTPUTS:
            return staged(url)
        model = _model_of(command.__name__, found) if name == "output" else None
        whole = name == "output" and (command.__name__ in _INTO_FOLDERS or model is not None)
        return stack.enter_context(delivered(url, folder=whole))

    names = file_parameters(command)
    for name in sorted(names, key=OUTPUTS.__contains__):  # what is read tells what is a folder
        value = found[name]
        if isinstance(value, list):
            found[name] = [here(name, path) for path in value]
        elif value is not None:
            found[name] = here(name, value)
    return found


def checked(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that first checks its files.

    See :func:`xorloom.sw.base.outputs.check_outputs`.

    A parameter that no table knows counts as an input, so that nothing is written over it. A URL
    that is read is brought here first; one that is written is put there when all is done.
    """

    @functools.wraps(command)
    def run(**given: Any) -> Any:
        with ExitStack() as stack:
            return checked_run(**_here(stack, command, given))

    def checked_run(**given: Any) -> Any:
        files: dict[str, list[Path]] = {"read": [], "write": [], "folder": []}
        model = _model_of(command.__name__, given)
        folder = command.__name__ in _INTO_FOLDERS or model is not None
        for name in file_parameters(command):
            value = given[name]
            paths = value if isinstance(value, list) else [] if value is None else [value]
            if name not in OUTPUTS:
                read = INPUTS.get(name, _itself)
                files["read"] += [file for path in paths for file in read(path)]
            elif folder and name == "output":
                files["folder"] += paths
            else:
                files["write"] += [file for path in paths for file in OUTPUTS[name](path)]
                if name in ("plot", "waves") or (command.__name__, name) in _MADE:
                    files["folder"] += [path.parent for path in paths]
        if model is not None and is_index(model):
            files["read"].append(model.parent)  # all of it is read
        check_outputs(files["write"], files["read"], files["folder"])
        if model is not None:
            check_new_folder(given["output"])
        return command(**given)

    return run
