"""Kernels for whole batches, as machine code on disk: loaded in a millisecond, without the compiler that made it.

numba takes half a second of a processor to be imported, and as long to load what it has kept. A
command that computes once over a file would spend most of its time so. What is here is compiled
by numba like every kernel; its machine code is kept, put into memory by LLVM alone and called by its
address, which costs some ten microseconds a call: nothing for a batch, too much for one event, so kernels
that are called for each event are `kernel_numbers.entry_point`s.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from types import FunctionType
from typing import Any, Final

import numpy as np

from shroff.features.kernels import numbers as kernel_numbers
from shroff.features.kernels.numbers import OPTIONS, settle
from shroff.runtime.whole_files import whole_file

SUFFIX: Final = ".kernel"
FOLDER_VARIABLE: Final = "NUMBA_CACHE_DIR"  # where numba keeps its own, if it is set
RESULT_WORDS: Final = 2  # of which the results of a kernel have at most so many
_IN_EVERY_PROCESS: Final = ctypes.CDLL(None)  # the functions of C and of Python
_SIGNATURE: Final = re.compile(r"^(void|int64|UniTuple\(int64, 2\))\((.*)\)$")
_PARAMETER: Final = re.compile(r"Array\([^)]*\)|\w+(?:\[[^\]]*\])?")
_ARRAY: Final = re.compile(r"^(\w+)\[(:, )?::1\]$|^Array\((\w+), (\d), 'C', readonly=True\)$")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a kernel: a number, where `dimensions` is 0, or an array, its rows one behind the other."""

    kind: str
    dimensions: int
    is_read_only: bool = False

    @property
    def words(self) -> list[str]:
        """What numba passes for it: a number, or what an array is.

        That is who owns it (nobody, twice), how many items it has and of which size, its address, lengths and strides.
        """
        if self.dimensions:
            return ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * 2 * self.dimensions]
        return ["double" if self.kind == "float64" else "i64"]


class Native:
    """A kernel that is compiled, or taken from disk, when it is first called; safe for use by several threads.

    It takes what its signature says, and lets go of the interpreter while it runs.

    Raises: TypeError where an argument is something else.
    """

    def __init__(self, signature: str, function: FunctionType) -> None:
        self.__doc__, self.__name__, self.__module__ = function.__doc__, function.__name__, function.__module__
        self.function = function
        self._signature = signature
        self.results, self.parameters = parsed(signature)
        self.was_on_disk: bool | None = None
        self._lock = Lock()
        self._engine: Any = None  # the machine code lives as long as this
        self._call: Callable[..., int] | None = None

    @property
    def is_lacking(self) -> bool:
        """Whether its machine code is not on disk, but could be kept there."""
        path = self._path()
        return path is not None and not path.is_file()

    def keep(self) -> None:
        """Compile it and keep it on disk, where that is not done yet; nothing is called."""
        self._load()

    def __call__(self, *arguments: Any) -> Any:
        call = self._call or self._load()
        words: list[Any] = []
        for parameter, argument in zip(self.parameters, arguments, strict=True):
            if parameter.dimensions:
                words += self._words(parameter, argument)
            else:
                words.append(float(argument) if parameter.kind == "float64" else int(argument))
        out, error = (ctypes.c_int64 * RESULT_WORDS)(), ctypes.c_int64()
        if call(ctypes.addressof(out), ctypes.addressof(error), *words) != 0:
            raise RuntimeError(f"the kernel {self.__name__} ended early")
        return None if not self.results else out[0] if self.results == 1 else tuple(out[: self.results])

    def _words(self, parameter: Parameter, array: Any) -> list[int]:
        fits = (
            isinstance(array, np.ndarray)
            and array.dtype == parameter.kind
            and array.ndim == parameter.dimensions
            and array.flags.c_contiguous
            and array.flags.aligned
            and (array.flags.writeable or parameter.is_read_only)
        )
        if not fits:
            raise TypeError(f"{self.__name__} takes {parameter}, not {array!r}")
        address: int = array.__array_interface__["data"][0]
        return [0, 0, array.size, array.itemsize, address, *array.shape, *array.strides]

    def _load(self) -> Callable[..., int]:
        import llvmlite.binding as llvm

        with self._lock:
            if self._call is None:
                llvm.initialize_native_target()
                llvm.initialize_native_asmprinter()
                symbol, code = self._code()
                self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
                self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
                self._engine.finalize_object()
                kinds: dict[str, Any] = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64, "double": ctypes.c_double}
                words = [kinds[word] for one in self.parameters for word in one.words]
                kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *words)
                self._call = kind(self._engine.get_function_address(symbol))
        assert self._call is not None, "it was loaded"
        return self._call

    def _code(self) -> tuple[str, bytes]:
        """The name and the bytes of the machine code, from disk where they are there and whole."""
        path = self._path()
        if path is not None:
            with suppress(OSError, ValueError):
                head, _, code = path.read_bytes().partition(b"\n")
                digest, symbol = head.decode("ascii").split()
                if sha256(code).hexdigest() == digest:
                    self.was_on_disk = True
                    return symbol, code
        self.was_on_disk = False
        symbol, code = self._compile()
        if path is not None:
            with suppress(OSError):
                _keep(path, f"{sha256(code).hexdigest()} {symbol}\n".encode("ascii") + code)
        return symbol, code

    def _path(self) -> Path | None:
        """Where it is kept; None where there is no folder for it."""
        file = Path(self.function.__code__.co_filename)
        name = f"{file.stem}.{self.__name__}_{_made_from(file)}-{_made_for()}{SUFFIX}"
        named = os.environ.get(FOLDER_VARIABLE)
        for folder in [Path(named)] if named else [file.parent / "__pycache__", Path("~/.cache/shroff")]:
            with suppress(OSError, RuntimeError):
                place = folder.expanduser()
                place.mkdir(parents=True, exist_ok=True)
                if os.access(place, os.W_OK) or (place / name).is_file():
                    return place / name
        return None

    def _compile(self) -> tuple[str, bytes]:
        """Compile it by numba; gives the name and the bytes of its machine code."""
        import llvmlite.binding as llvm
        from numba import njit

        settle(self.function)
        made: Any = njit(self._signature, **OPTIONS | {"no_cpython_wrapper": True})(self.function)
        (signature,) = made.signatures
        symbol: str = made.overloads[signature].fndesc.llvm_func_name
        module = llvm.parse_assembly(made.inspect_llvm(signature))
        found = [str(one.type) for one in module.get_function(symbol).arguments]
        expected = ["ptr", "ptr", *(word for one in self.parameters for word in one.words)]
        if found != expected:  # another version of numba that does it otherwise: nothing may be called so
            raise RuntimeError(f"numba passes {found} to {symbol}, and not {expected}")
        outside = {one.name for one in module.functions if one.is_declaration and not one.name.startswith("llvm.")}
        if lacking := sorted(name for name in outside if not hasattr(_IN_EVERY_PROCESS, name)):
            # Numba's own functions, for arrays that a kernel makes: LLVM ends the process where one is missing.
            raise RuntimeError(f"the kernel {self.__name__} calls {', '.join(lacking)}, which only numba has")
        return symbol, _machine().emit_object(module)


def native(signature: str) -> Callable[[Callable[..., Any]], Native]:
    """Make a function a kernel for whole batches; `signature` as numba has it."""

    def decorate(function: Callable[..., Any]) -> Native:
        assert isinstance(function, FunctionType)
        return Native(signature, function)

    return decorate


def parsed(signature: str) -> tuple[int, tuple[Parameter, ...]]:
    """How many results a kernel has, and its parameters.

    >>> parsed("int64(uint8[:, ::1])")
    (1, (Parameter(kind='uint8', dimensions=2, is_read_only=False),))
    """
    found = _SIGNATURE.match(signature)
    assert found is not None, signature
    results = {"void": 0, "int64": 1, "UniTuple(int64, 2)": 2}[found[1]]
    return results, tuple(map(_parameter, _PARAMETER.findall(found[2])))


def _parameter(text: str) -> Parameter:
    found = _ARRAY.match(text)
    if found is None:
        return Parameter(text, 0)
    if found[3]:
        return Parameter(found[3], int(found[4]), is_read_only=True)
    return Parameter(found[1], 2 if found[2] else 1)


def _machine() -> Any:
    """The machine that this runs on, as LLVM makes code for it."""
    import llvmlite.binding as llvm

    cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, features=features, opt=3, codemodel="jitdefault", jit=True)


def _made_for() -> str:
    """What code is made for and by: another processor or compiler makes its own."""
    import llvmlite.binding as llvm

    told = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten(), version("numba"), version("llvmlite")
    return _digest(" ".join(told).encode())


def _made_from(file: Path) -> str:
    """What code is made from: all kernels, and the file that it stands in, which need not be among these."""
    return _digest(kernel_numbers.digest_of_kernels().encode() + file.read_bytes())


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[: kernel_numbers.DIGEST_LENGTH]


def _keep(path: Path, data: bytes) -> None:
    """Put a file in its place as a whole, and remove what other kernels left of it."""
    with whole_file(path, is_durable=False) as file:
        file.write(data)
    name, _, machine = path.name.rpartition("-")
    stale = f"{name.rpartition('_')[0]}_{'[0-9a-f]' * kernel_numbers.DIGEST_LENGTH}-{machine}"
    for other in path.parent.glob(stale):
        if other != path:
            with suppress(OSError):
                other.unlink()
