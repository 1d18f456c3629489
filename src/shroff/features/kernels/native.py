"""Store the machine code of kernels on disk, and load it in a millisecond, without importing numba.

Importing numba takes half a second, and so does loading its own cache: most of the time of a short command. So the
machine code that numba compiles is stored here, loaded by LLVM alone, and called by its address. Such a call costs some
ten microseconds, which matters only for kernels that are called for each event (`entry_point`). These switch to calls
by numba once they were called often.

A wheel has machine code for any processor of `BASELINE`. Another processor, or a clone of the repository, compiles its
own once.
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock, Thread, main_thread
from types import FunctionType
from typing import Any, NoReturn

import numpy as np

from shroff.features.kernels import numbers as kernel_numbers
from shroff.features.kernels.numba_files import checked_cache, is_whole
from shroff.features.kernels.numbers import OPTIONS, settle
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.process_wide import compile_listeners
from shroff.runtime.values import FrozenStruct

SUFFIX = ".kernel"
FOLDER_VARIABLE = "NUMBA_CACHE_DIR"  # where numba keeps its own, if it is set
# For each architecture: the processor level of LLVM, further features of LLVM, and the processor flags that show both.
# LLVM uses the instructions of SHA only if a kernel asks for them.
BASELINE = {
    "x86_64": ("x86-64-v3", "+sha", "avx2 bmi bmi2 f16c fma lzcnt movbe"),  # since 2013
    "aarch64": ("generic", "", ""),
    "arm64": ("generic", "", ""),  # LLVM does not say what a processor of Apple has
}
OFTEN = 1_000  # calls of an entry point before numba is loaded; a second of a busy service
LOOK_S = 0.1  # interval of checks for a second process
RESULT_WORDS = 2  # at most so many words in the result of a kernel
_RESULTS = ctypes.c_int64 * RESULT_WORDS  # made once, as each such class forms a reference cycle
# Locked while a thread loads numba. A process that is forked meanwhile would wait for locks that no thread releases.
_LOADING = Lock()
os.register_at_fork(before=_LOADING.acquire, after_in_parent=_LOADING.release, after_in_child=_LOADING.release)
_IN_EVERY_PROCESS = ctypes.CDLL(None)  # the functions of C and of Python
_SIGNATURE = re.compile(r"^(void|int64|UniTuple\(int64, 2\))\((.*)\)$")
_PARAMETER = re.compile(r"Array\([^)]*\)|\w+(?:\[[^\]]*\])?")
_ARRAY = re.compile(r"^(\w+)\[(:, )?::1\]$|^Array\((\w+), (\d), 'C', readonly=True\)$")


def _shown_address(array: Any) -> int:
    """Return the address of an array's items by numpy's interface. Cost: 2 to 6 µs."""
    address: int = array.__array_interface__["data"][0]
    return address


def _read_address(array: Any) -> int:
    """Return the address of an array's items by reading the array object. Cost: 0.3 µs."""
    return ctypes.c_size_t.from_address(id(array) + object.__basicsize__).value


# In numpy's binary interface the address follows the object header. An interpreter with another layout uses the slow
# way.
_PROBE = np.empty(8, np.int64)
_address = _read_address if _read_address(_PROBE) == _shown_address(_PROBE) else _shown_address


class Parameter(FrozenStruct):
    """A parameter of a kernel: a number if `dimensions` is 0, else a contiguous array."""

    kind: str
    dimensions: int
    is_read_only: bool = False

    @property
    def words(self) -> list[str]:
        """LLVM types of the values that numba passes for the parameter.

        For an array these are two pointers to its owners, which are null, the number and size of items, the address,
        lengths and strides.
        """
        if self.dimensions:
            return ["ptr", "ptr", "i64", "i64", "ptr", *["i64"] * 2 * self.dimensions]
        return ["double" if self.kind == "float64" else "i64"]


class Native:
    """A kernel that is loaded from disk, or compiled, at its first call. Several threads may call it at once.

    It releases Python's lock while it runs. A call raises TypeError if an argument does not fit the signature.
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
        """Whether its machine code is not on disk, but could be stored there."""
        path = self.path
        return path is not None and not path.is_file()

    @property
    def is_at_hand(self) -> bool:
        """Whether a call needs no compiler, since the machine code is loaded or on disk."""
        return self._call is not None or ((path := self.path) is not None and path.is_file())

    def keep(self) -> None:
        """Load the kernel without calling it; if its machine code is not on disk, compile and store it."""
        self._load()

    def __call__(self, *arguments: Any) -> Any:
        call = self._call or self._load()
        words: list[Any] = []
        for parameter, argument in zip(self.parameters, arguments, strict=True):
            if parameter.dimensions:
                words += self._words(parameter, argument)
            else:
                words.append(float(argument) if parameter.kind == "float64" else int(argument))
        out, error = _RESULTS(), ctypes.c_int64()
        if call(ctypes.addressof(out), ctypes.addressof(error), *words) != 0:
            raise RuntimeError(f"the kernel {self.__name__} ended early")
        return None if not self.results else out[0] if self.results == 1 else tuple(out[: self.results])

    def _words(self, parameter: Parameter, array: Any) -> tuple[int, ...]:
        fits = (
            isinstance(array, np.ndarray)
            and array.dtype == parameter.kind
            and array.ndim == parameter.dimensions
            and ((flags := array.flags).carray or (parameter.is_read_only and flags.c_contiguous and flags.aligned))
        )
        if not fits:
            raise TypeError(f"{self.__name__} takes {parameter}, not {array!r}")
        return 0, 0, array.size, array.itemsize, _address(array), *array.shape, *array.strides

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
                words = [kinds[word] for parameter in self.parameters for word in parameter.words]
                kind = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *words)
                self._call = kind(self._engine.get_function_address(symbol))
        assert self._call is not None, "it was loaded"
        return self._call

    def _code(self) -> tuple[str, bytes]:
        """Return symbol and bytes of the machine code, from disk if the file is undamaged, else compiled."""
        path = self.path
        if path is not None:
            with suppress(OSError, ValueError):
                head, _, code = path.read_bytes().partition(b"\n")
                digest, symbol = head.decode("ascii").split()
                # The code names its symbol, so that a changed bit of the head is found, too.
                if sha256(code).hexdigest() == digest and symbol.encode("ascii") in code:
                    self.was_on_disk = True
                    return symbol, code
        self.was_on_disk = False
        with compile_listeners[-1](self.__name__) if compile_listeners else nullcontext():
            symbol, code = self._compile()
        if path is not None:
            with suppress(OSError):
                _replace_files(path, f"{sha256(code).hexdigest()} {symbol}\n".encode("ascii") + code)
        return symbol, code

    @property
    def path(self) -> Path | None:
        """Path of the machine code: beside its source, or in a cache folder; None if no folder can be written."""
        file = Path(self.function.__code__.co_filename)
        name = f"{file.stem}.{self.__name__}_{_made_from(file)}-{_made_for()}{SUFFIX}"
        beside, named = file.parent / "__pycache__", os.environ.get(FOLDER_VARIABLE)
        if (beside / name).is_file():
            return beside / name
        for folder in [Path(named)] if named else [beside, Path("~/.cache/shroff")]:
            with suppress(OSError, RuntimeError):
                place = folder.expanduser()
                place.mkdir(parents=True, exist_ok=True)
                if os.access(place, os.W_OK) or (place / name).is_file():
                    return place / name
        return None

    def _compile(self) -> tuple[str, bytes]:
        import llvmlite.binding as llvm

        made = self._made_by_numba()
        if made.stats.cache_hits:  # another process was faster; a function from numba's cache has no LLVM code
            made = Native._made_by_numba(self)
        (signature,) = made.signatures
        symbol: str = made.overloads[signature].fndesc.llvm_func_name
        module = llvm.parse_assembly(made.inspect_llvm(signature))
        found = [str(argument.type) for argument in module.get_function(symbol).arguments]
        expected = ["ptr", "ptr", *(word for parameter in self.parameters for word in parameter.words)]
        if found != expected:  # a numba version with another calling convention
            raise RuntimeError(f"numba passes {found} to {symbol}, and not {expected}")
        machine = _machine()
        _keep_only(module, symbol, machine)
        outside = {
            function.name
            for function in module.functions
            if function.is_declaration and not function.name.startswith("llvm.")
        }
        if lacking := sorted(name for name in outside if not hasattr(_IN_EVERY_PROCESS, name)):
            # Functions of numba, for arrays that a kernel allocates. LLVM would end the process for a missing one.
            raise RuntimeError(f"the kernel {self.__name__} calls {', '.join(lacking)}, which only numba has")
        return symbol, machine.emit_object(module)

    def _made_by_numba(self) -> Any:
        return _njit(self._signature, **OPTIONS | {"no_cpython_wrapper": True})(settle(self.function))


class _NotKeptError(Exception):
    """The machine code as numba calls it is not on disk."""


def _refuse(*_arguments: Any) -> NoReturn:
    raise _NotKeptError


class EntryPoint(Native):
    """A kernel for single events: called by its address at first, and by numba, which is faster, after `OFTEN` calls.

    Both run the same code. A thread loads numba, so that no call waits for it.
    """

    def __init__(self, signature: str, function: FunctionType) -> None:
        super().__init__(signature, function)
        self.calls = 0
        self.by_numba: Callable[..., Any] | None = None
        os.register_at_fork(after_in_child=self._begin_again)  # the thread that loads numba does not survive a fork

    def __call__(self, *arguments: Any) -> Any:
        if self.by_numba is not None:
            return self.by_numba(*arguments)
        self.calls += 1
        if self.calls == OFTEN:
            Thread(target=self.load_numba, name=f"numba {self.__name__}").start()
        return super().__call__(*arguments)

    def _begin_again(self) -> None:
        self.calls = 0

    def load_numba(self) -> None:
        """Call the kernel by numba from now on, if numba's cache has its code or can store it.

        A second process compiles it. In this process the compiler would hold Python's lock for seconds, and
        change the filters of warnings for all threads.
        """
        if not self._is_kept():
            code = f"from {self.__module__} import {self.__name__} as kernel; kernel.keep_for_numba()"
            quiet = subprocess.DEVNULL
            try:
                beside = subprocess.Popen(  # noqa: S603 (this Python, with a constant)
                    [sys.executable, "-P", "-c", code], stdin=quiet, stdout=quiet, stderr=quiet
                )
            except OSError:  # no room for a process
                return
            while beside.poll() is None and main_thread().is_alive():
                time.sleep(LOOK_S)
            if beside.poll() is None:  # the main thread has ended
                beside.kill()
                beside.wait()
                return
        with _LOADING, suppress(_NotKeptError):
            self.by_numba = self._made_by_numba(compiler=_refuse)

    def keep_for_numba(self) -> None:
        """Compile the kernel into numba's cache, without calling it."""
        self._made_by_numba()

    def _is_kept(self) -> bool:
        with _LOADING:
            try:
                folder = Path(checked_cache(self._named()).cache_path)
            except RuntimeError:
                return True
        files = folder.glob(f"*.{self.__name__}_{kernel_numbers.digest_of_kernels()}-*.nb[ci]")
        try:
            return {path.suffix for path in files if is_whole(path)} == {".nbc", ".nbi"}
        except OSError:  # another process writes them
            return False

    def _named(self) -> Any:
        _set_processor()  # before `settle` makes numba functions
        function: Any = settle(self.function)
        function.__qualname__ = f"{self.__name__}_{kernel_numbers.digest_of_kernels()}"
        return function

    def _made_by_numba(self, compiler: Callable[..., Any] | None = None) -> Any:
        function = self._named()
        file, name = Path(function.__code__.co_filename), self.__name__
        kept = _njit(**OPTIONS)(function)
        with suppress(RuntimeError):  # no folder can be written
            kept._cache = checked_cache(function)  # noqa: SLF001 (numba has no other way)
        if compiler is not None:
            kept._compiler.compile = compiler  # noqa: SLF001 (called where nothing is on disk)
        kept.compile(self._signature)
        kept.disable_compile()
        if kept.stats.cache_misses and kept.stats.cache_path is not None:
            _remove_stale(Path(kept.stats.cache_path), f"{file.stem}.{name}")
        return kept


def _keep_only(module: Any, symbol: str, machine: Any) -> None:
    """Remove from a module what this function does not need, such as its Python wrapper."""
    import llvmlite.binding as llvm

    for function in (*module.functions, *module.global_variables):
        if not function.is_declaration and function.name != symbol:
            function.linkage = "internal"
    passes = llvm.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.PipelineTuningOptions()))


def _remove_stale(folder: Path, name: str) -> None:
    """Remove files of earlier kernels for an entry point that was recompiled."""
    digest = kernel_numbers.digest_of_kernels()
    for file in folder.glob(f"{name}_{'[0-9a-f]' * kernel_numbers.DIGEST_LENGTH}-*.nb[ci]"):
        if digest not in file.name:
            with suppress(OSError):
                file.unlink()


def native(signature: str) -> Callable[[Callable[..., Any]], Native]:
    """Return a decorator that makes a function a kernel for batches; `signature` is in numba's form."""

    def decorate(function: Callable[..., Any]) -> Native:
        assert isinstance(function, FunctionType)
        return Native(signature, function)

    return decorate


def entry_point(signature: str) -> Callable[[Callable[..., Any]], EntryPoint]:
    """Return a decorator that makes a function a kernel for single events; `signature` is in numba's form.

    The kernel is loaded or compiled at once, since an event must not wait for the compiler.
    """

    def decorate(function: Callable[..., Any]) -> EntryPoint:
        assert isinstance(function, FunctionType)
        kernel = EntryPoint(signature, function)
        kernel.keep()
        return kernel

    return decorate


def parsed(signature: str) -> tuple[int, tuple[Parameter, ...]]:
    """Parse a signature: the number of results of a kernel, and its parameters.

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


@cache
def processor() -> tuple[str, str]:
    """Return LLVM's names of the processor to compile for, the baseline or this one, and of further features."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    name, more, needed = BASELINE.get(llvm.get_process_triple().partition("-")[0], ("", "", "-"))
    if all(features.get(feature) for feature in needed.split()):
        return name, more
    return llvm.get_host_cpu_name(), features.flatten()


def _machine() -> Any:
    import llvmlite.binding as llvm

    cpu, features = processor()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, features=features, opt=3, codemodel="jitdefault", jit=True)


def _set_processor() -> None:
    """Make numba compile for `processor()`; it reads these settings at its first compilation."""
    from numba import config

    for name, value in zip(("CPU_NAME", "CPU_FEATURES"), processor(), strict=True):
        setattr(config, name, value)  # numba makes these names when it is loaded


def _njit(*how: Any, **options: Any) -> Any:
    """Return numba's decorator, which compiles for `processor()`."""
    from numba import njit

    _set_processor()
    return njit(*how, **options)


@cache
def _made_for() -> str:
    import llvmlite.binding as llvm

    system = re.sub(r"(darwin|macosx?)[\d.]+", r"\1", llvm.get_process_triple())  # of any release of macOS
    return _digest(" ".join((system, *processor())).encode())


def _made_from(file: Path) -> str:
    return _digest(kernel_numbers.digest_of_kernels().encode() + file.read_bytes())


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[: kernel_numbers.DIGEST_LENGTH]


def _replace_files(path: Path, data: bytes) -> None:
    with whole_file(path, is_durable=False) as file:
        file.write(data)
    name, _, machine = path.name.rpartition("-")
    stale = f"{name.rpartition('_')[0]}_{'[0-9a-f]' * kernel_numbers.DIGEST_LENGTH}-{machine}"
    for other in path.parent.glob(stale):
        if other != path:
            with suppress(OSError):
                other.unlink()
