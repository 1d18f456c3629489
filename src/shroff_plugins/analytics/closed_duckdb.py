"""DuckDB inside this process, closed: SQL of a project reads the files that are named, and nothing else.

No network, no other file, no extension, no Python variable can be reached, and no setting can be changed by SQL.
Source: https://duckdb.org/docs/stable/operations_manual/securing_duckdb/overview
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
SPILL = "50GB"  # of a query that does not fit into memory
INTERRUPTED = "Query interrupted"  # what a Ctrl-C during a query is to DuckDB
_SIZE = re.compile(r"[1-9][0-9]{0,5}(\.[0-9]+)?\s?([MG]i?B)", re.IGNORECASE)


@frozen
class QueryLimits:
    """Limits of a query.

    Args:
        memory: Such as `3GB`; what does not fit goes to the disk.
        threads: How many threads compute.
    """

    memory: str = MEMORY
    threads: int = 2

    def __post_init__(self) -> None:
        if not _SIZE.fullmatch(self.memory):
            raise UsageError(f"{self.memory!r} is not a size of memory. Write it as 500MB or 4GB.")


def library() -> Any:
    """DuckDB. Raises: UsageError where it is not installed."""
    try:
        import duckdb
    except ImportError:
        words = "SQL over the lake needs the extra 'analytics': pip install 'shroff[analytics]'."
        raise UsageError(words) from None
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
    """A connection that reads some files.

    Args:
        database: The file of the database; in memory without one.
        files: What SQL may read. Nobody can list their folders.
        spill: A folder for what does not fit into memory.
        attached: Databases to read, by the names that SQL has for them.

    Raises: UsageError where DuckDB is not installed; DuckDB's own errors where the database cannot be opened.
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
    """Raises: KeyboardInterrupt where DuckDB gives a Ctrl-C another name."""
    try:
        yield
    except RuntimeError as error:
        if str(error) == INTERRUPTED:
            raise KeyboardInterrupt from None
        raise


def identifier(name: str) -> str:
    """A name as SQL has it.

    >>> print(identifier('a"b'))
    "a""b"
    """
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL has it.

    >>> print(literal("it's"))
    'it''s'
    """
    return "'" + text.replace("'", "''") + "'"
