"""Make, migrate and check the tables of a log in one schema of a PostgreSQL database (`log_postgres.sql`)."""

from __future__ import annotations

from contextlib import closing, suppress
from importlib import resources

from shroff.adapters.databases.dump_tools import UNFINISHED
from shroff.adapters.databases.postgres_session import PostgresSession
from shroff.adapters.databases.server_url import ServerUrl
from shroff.errors import ShroffError, StorageError, TransientError

VERSION = 1  # of the tables
FOLDER = resources.files("shroff.adapters")
MIGRATIONS = FOLDER.joinpath("migrations_postgres")  # from version 1 on, as 0002_*.sql


def there_is_a_log(url: ServerUrl) -> bool:
    with closing(PostgresSession(url)) as session:
        return version_of(session) is not None


def version_of(session: PostgresSession) -> int | None:
    """Return the version of the tables; None if there are none, and 0 while another process makes them.

    Raises: StorageError if an interrupted restore left the tables.
    """
    # The catalog as this transaction sees it; `to_regclass` may miss tables that another process has just made.
    sql = (
        "SELECT obj_description(n.oid, 'pg_namespace') FROM pg_class c JOIN pg_namespace n "
        "ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relname = 'version'"
    )
    rows = session.ask(sql, (session.schema,), "T")
    if rows == [(UNFINISHED,)]:
        raise StorageError(
            f"{session.place}: an interrupted restore left these tables. Run 'shroff restore' again with --again, "
            f"which removes them first"
        )
    return int(session.ask("SELECT number FROM version")[0][0]) if rows else None


def checked_version(session: PostgresSession, *, read_only: bool) -> int | None:
    """Return the version of the tables; None if there are none yet.

    Raises: StorageError if they are of a newer version; for a reader also if there are none or they are of an older
        version, and TransientError while another process makes them.
    """
    stored = version_of(session)
    if stored is not None and stored > VERSION:
        raise StorageError(
            f"{session.place} was written by a newer shroff: its tables are version {stored}, and this program "
            f"supports up to {VERSION}. Install that version or a newer one"
        )
    if read_only and stored is None:
        raise StorageError(
            f"there is no log at {session.place}. Start a writer (`shroff ingest` or `shroff run`) or check the address"
        )
    if read_only and stored == 0:
        raise TransientError(f"the tables of {session.place} are being made. Try again")
    if read_only and stored is not None and stored < VERSION:
        raise StorageError(
            f"{session.place} has tables of version {stored}, and this needs {VERSION}: an older shroff wrote it. End "
            f"its processes, then run 'shroff migrate --apply'"
        )
    return stored


def make_tables(session: PostgresSession) -> None:
    """Make or migrate the tables in one transaction; another process that does so waits for its end.

    Raises: StorageError if the schema has other tables.
    """
    try:
        session.begin("SELECT pg_advisory_xact_lock(hashtextextended(current_setting('search_path'), 7526466502987))")
        stored = version_of(session)
        if stored is None:
            _check_empty(session)
            session.ask(f"CREATE SCHEMA IF NOT EXISTS {session.schema}")
            session.run(FOLDER.joinpath("log_postgres.sql").read_text(encoding="utf-8"))
            session.run("CREATE TABLE version (number bigint NOT NULL); INSERT INTO version VALUES (1)")
        for number in range((stored or VERSION) + 1, VERSION + 1):
            (script,) = [path for path in MIGRATIONS.iterdir() if path.name.startswith(f"{number:04}_")]
            session.run(script.read_text(encoding="utf-8"))
        session.do("UPDATE version SET number = ?", (VERSION,))
        session.commit()
    except BaseException:
        with suppress(ShroffError):
            session.rollback()
        raise


def check_durable(session: PostgresSession) -> None:
    """Raises: StorageError if the server acknowledges a commit before it has flushed it to the disk."""
    ((fsync,),) = session.ask("SHOW fsync")
    if fsync != "on":
        raise StorageError(
            f"{session.place}: the server does not flush to disk, so acknowledged data may be lost. Set "
            f"fsync = on there; it is {fsync}"
        )


def size_bytes(session: PostgresSession) -> int:
    sql = (
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ? AND c.relkind = 'r'"
    )
    return int(session.ask(sql, (session.schema,))[0][0])


def _check_empty(session: PostgresSession) -> None:
    """Raises: StorageError if another program's tables are in the schema."""
    sql = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ?"
    if session.ask(sql, (session.schema,))[0][0]:
        raise StorageError(
            f"{session.place}: the schema {session.schema} has tables that are not a log of shroff. Use another "
            f"schema in the address, as in ?schema=shroff_log"
        )
