"""numba's cache files with a SHA-256 at their end: numba itself runs machine code whose bits have flipped on disk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any


def is_whole(path: Path) -> bool:
    """Whether a file ends with the digest of the rest. Raises: OSError."""
    data = path.read_bytes()
    digest = sha256(data[: -sha256().digest_size]).digest()
    return data.endswith(digest)


def checked_cache(function: Any) -> Any:
    """Return numba's cache of a function; a damaged file counts as missing, so that its code is compiled again.

    Raises: RuntimeError if there is no folder for it.
    """
    return _cache_class()(function)


@cache
def _cache_class() -> Any:
    from numba.core import caching

    index_file: Any = caching.IndexDataCacheFile
    function_cache: Any = caching.FunctionCache

    class CheckedFile(index_file):  # type: ignore[misc]  # numba has no types
        def _load_index(self) -> Any:
            path = Path(self._index_path)
            return super()._load_index() if path.is_file() and is_whole(path) else {}

        def _load_data(self, name: str) -> Any:
            path = Path(self._data_path(name))
            if not is_whole(path):
                raise OSError(f"{path} is damaged")  # numba takes it as missing
            return super()._load_data(name)

        @contextmanager
        def _open_for_write(self, filepath: str) -> Iterator[BytesIO]:
            written = BytesIO()
            yield written
            data = written.getvalue()
            with super()._open_for_write(filepath) as file:
                file.write(data + sha256(data).digest())

    class CheckedCache(function_cache):  # type: ignore[misc]  # numba has no types
        def __init__(self, function: Any) -> None:
            super().__init__(function)
            stamp = self._impl.locator.get_source_stamp()
            self._cache_file = CheckedFile(self.cache_path, self._impl.filename_base, stamp)

    return CheckedCache
