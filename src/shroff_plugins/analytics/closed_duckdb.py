"""DuckDB inside this process, closed: SQL of a project reads the given files and nothing else.

SQL can reach no network, no other file, no extension and no Python variable, and cannot change a setting. Source:
https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from shroff.errors import UsageError
from shroff.plugins.values import frozen

MEMORY = "3GB"
SPILL = "50GB"  # on disk, for a query that does not fit into memory
INTERRUPTED = "Query interrupted"  # message of DuckDB for a Ctrl-C during a query
_SIZE = re.compile(r"[1-9][0-9]{0,5}(\.[0-9]+)?\s?([MG]i?B)", re.IGNORECASE)


@frozen
class QueryLimits:
    """Limits of a query.

    Args:
        memory: A size such as `3GB`; more data is spilled to disk.
        threads: Number of threads that compute.
    """

    memory: str = MEMORY
    threads: int = 2

    def __post_init__(self) -> None:
        if not _SIZE.fullmatch(self.memory):
            raise UsageError(f"{self.memory!r} is not a size of memory. Write it as 500MB or 4GB.")


def library() -> Any:
    """Import DuckDB. Raises: UsageError if it is not installed."""
    try:
        import duckdb
    except ImportError:
        message = "SQL over the lake needs the extra 'analytics': pip install 'shroff[analytics]'."
        raise UsageError(message) from None
    return duckdb


@contextmanager
def closed_duckdb(
    database: Path | None,
    files: Collection[Path],
    *,
    spill: Path,
    limits: QueryLimits,
    attached: Mapping[str, Path] | None = None,
    is_read_only: bool = False,
) -> Iterator[Any]:
    """Open a connection that reads only some files.

    Args:
        database: File of the database; None for one in memory.
        files: Files that SQL may read; it cannot list their folders.
        spill: Folder for data that does not fit into memory.
        attached: Databases to read, by name in SQL.

    Raises: UsageError if DuckDB is not installed; DuckDB's own errors if the database cannot be opened.
    """
    config = {
        "memory_limit": limits.memory,
        "threads": limits.threads,
        "temp_directory": str(spill),
        "max_temp_directory_size": SPILL,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
    }
    with closing(library().connect(str(database or ":memory:"), read_only=is_read_only, config=config)) as connection:
        for name, path in (attached or {}).items():
            connection.execute(f"ATTACH {literal(str(path))} AS {identifier(name)} (READ_ONLY)")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"SET allowed_paths = [{', '.join(literal(str(file)) for file in files)}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        with stopped_by_ctrl_c():
            yield connection


@contextmanager
def stopped_by_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt for a Ctrl-C that DuckDB reports by another error."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == INTERRUPTED:
            raise KeyboardInterrupt from None
        raise


def identifier(name: str) -> str:
    """Quote a name for SQL.

    >>> print(identifier('a"b'))
    "a""b"
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text for SQL.

    >>> print(literal("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"
