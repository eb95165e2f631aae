# SPDX-License-Identifier: Apache-2.0
"""Compiler of the kernels: Numba, with machine code that is checked before it is run.

Numba keeps machine code without a checksum, and runs what it finds: a truncated file ends in an
exception, one with zeros in a crash. Here every file begins with a digest of all it was made for
and of what follows; what does not fit is compiled again.
"""

import hashlib
import logging
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numba
from numba.core import caching
from numba.core.dispatcher import Dispatcher
from numba.core.registry import CPUDispatcher
from numba.core.runtime import rtsys
from numba.core.serialize import dumps
from numba.core.types.misc import unliteral
from numba.misc.appdirs import AppDirs
from xorloom.sw.base.host import write_whole

__all__ = ["kernel_folders", "njit"]

_log = logging.getLogger(__name__)
_told = False
_DIGEST_BYTES = 32


def _tell(text: str) -> None:
    """Warn once, and not again in every worker."""
    global _told
    if not _told and parent_process() is None:
        _log.warning(f"xorloom: {text}: kernels are compiled again in every run")
    _told = True


class _HomeLocator(caching.UserWideCacheLocator):
    """Place in the home folder; without a home folder Numba makes one called ``~``."""

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> Any:
        """Return the place, ``None`` if nothing can be kept there."""
        if not Path(_home()).is_absolute():
            return None
        return super().from_function(function, file)


class _Locators(caching.CompileResultCacheImpl):
    """Where machine code may lie: the user's choice, beside the source, in the home folder."""

    _locator_classes = (
        caching.UserProvidedCacheLocator,
        caching.InTreeCacheLocator,
        _HomeLocator,
    )


class _Files:
    """Files of a kernel, one per signature and machine: a digest, then the machine code."""

    def __init__(self, folder: Path, base: str, made_of: str) -> None:
        self._folder, self._base, self._made_of = folder, base, made_of

    def _place(self, key: object) -> tuple[Path, bytes]:
        """Return the file of a key, and all that its contents depend on."""
        facts = repr((numba.__version__, self._made_of, key)).encode()
        name = hashlib.blake2b(facts, digest_size=12).hexdigest()
        return self._folder / f"{self._base}.{name}.nbc", facts

    def load(self, key: object) -> object:
        path, facts = self._place(key)
        try:
            raw = path.read_bytes()
        except OSError:
            return None
        payload = raw[_DIGEST_BYTES:]
        if raw[:_DIGEST_BYTES] != _digest(facts, payload):
            return None
        return pickle.loads(payload)

    def save(self, key: object, data: object) -> None:
        path, facts = self._place(key)
        payload = dumps(data)
        try:
            write_whole(path, _digest(facts, payload) + payload)
        except OSError as error:
            _tell(f"{error.strerror} (xorloom cache --clear clears the cache)")


def _digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).digest()


class _Cache(caching.FunctionCache):
    """Machine code of one kernel on disk."""

    _impl_class = _Locators

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        made_of = "\n".join(sorted(_made_of(function, set())))
        self._cache_file = _Files(Path(self.cache_path), self._impl.filename_base, made_of)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load without the registries of all that Numba can compile: only a compiler asks them.

        They are 0.26 s of a process that finds all its kernels made. What compiles brings them
        in itself.
        """
        rtsys.initialize(target_context)
        return self._load_overload(sig, target_context)


def _made_of(function: Any, seen: set[Any]) -> set[str]:
    """Return all that goes into a kernel's machine code: sources, and constants of other modules.

    Numba looks at the kernel's own file only, and would go on with the old code of a kernel that
    it calls.
    """
    seen.add(function)
    parts = {_source(function.__module__)}
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        module = str(getattr(value, "__module__", ""))
        if isinstance(value, int | float | tuple):
            parts.add(f"{name} = {value!r}")
        elif isinstance(value, Dispatcher) and value.py_func not in seen:
            parts |= _made_of(value.py_func, seen)
        elif module.partition(".")[0] == function.__module__.partition(".")[0]:
            parts.add(_source(module))  # an intrinsic, or a class
    return parts


def _source(module: str) -> str:
    """Return a digest of a module's source."""
    file = sys.modules[module].__file__ if module in sys.modules else None
    if file is None:
        return module
    facts = Path(file).stat()
    return f"{module} {_file_digest(file, facts.st_mtime_ns, facts.st_size)}"


@lru_cache(maxsize=256)
def _file_digest(file: str, _changed_ns: int, _size: int) -> str:
    return hashlib.blake2b(Path(file).read_bytes(), digest_size=16).hexdigest()


def kernel_folders(package: Path) -> dict[Path, list[Path]]:
    """Return the folders that hold machine code of a package's kernels, by where they lie.

    Parameters
    ----------
    package : Path
        Folder of the package.

    Returns
    -------
    dict
        The package's own folders; those below ``NUMBA_CACHE_DIR``; those in the home folder.
    """
    folders = [path for path in (package, *package.rglob("*")) if path.is_dir()]
    found = {package: [path for path in folders if path.name == "__pycache__"]}
    for root in (numba.config.CACHE_DIR, _home()):
        if root:
            place = caching.UserWideCacheLocator.get_suitable_cache_subpath
            below = [Path(root) / place(str(path / "kernels.py")) for path in folders]
            found[Path(root)] = [path for path in below if path.is_dir()]
    return found


def _home() -> str:
    return str(AppDirs("numba", appauthor=False).user_cache_dir)


class _Kernel(CPUDispatcher):
    """A kernel that is compiled once for a type: Numba does it again for every literal."""

    def get_call_template(self, args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
        """Compile for another kernel's call."""
        plain = tuple(unliteral(kind) for kind in args)
        named = {name: unliteral(kind) for name, kind in kws.items()}
        return super().get_call_template(plain, named)


class _Inner(_Kernel):
    """A kernel that only kernels call: its machine code has no way in from Python."""

    def add_overload(self, result: Any) -> None:
        """Keep machine code for other kernels; what Python finds would be called, and crash."""
        self.overloads[tuple(result.signature.args)] = result

    def _compile_for_args(self, *_arguments: object, **_named: object) -> None:
        raise TypeError(f"{self.py_func.__qualname__} has no entry from Python: only kernels call")


def njit(
    *, cache: bool = False, entry: bool = True, **options: Any
) -> Callable[[Callable[..., Any]], Any]:
    """Compile as ``numba.njit`` does; without the cache on disk where there is no place for it.

    With ``NUMBA_DISABLE_JIT`` a kernel is its Python function.

    Parameters
    ----------
    cache : bool
        Keep machine code beside the source, else in the user's cache folder.
    entry : bool
        Whether Python calls it. Converting arguments from Python is half of a small kernel's
        machine code, and of the time to compile it; without it a call from Python is a
        ``TypeError``.
    **options
        Of ``numba.njit``.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        kernel = numba.njit(no_cfunc_wrapper=True, no_cpython_wrapper=not entry, **options)(
            function
        )
        if numba.config.DISABLE_JIT:
            return kernel
        kernel.__class__ = _Kernel if entry else _Inner
        if cache:
            try:
                kernel._cache = _Cache(function)
            except RuntimeError as error:
                if "no locator available" not in str(error):
                    raise
                _tell(
                    "neither its own folder nor the home folder can be written (set "
                    "NUMBA_CACHE_DIR to a folder that can be written)"
                )
        return kernel

    return compiled
