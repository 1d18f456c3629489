"""Pulled sources: files, tables, and exports of Amplitude. Here is what shroff.yaml may say of each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from shroff.adapters.sinks import sqlite_in_folder
from shroff.language.keys import DURATION, NUMBER, PERCENT, TEXT, WHOLE, Key, Keys, One, choice
from shroff.streams.settings import ADDRESS, BUCKET, CALLS, HTTP, VARIABLE, AdapterSettings

OVERLAP: Final = "1000"  # of a whole number
OVERLAP_TIME: Final = "5m"  # of a time
ROWS: Final = "10000"


def _placed(options: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """A folder is from the project's on."""
    place = str(options["from"])
    return options if "://" in place else {**options, "from": str(folder / place)}


FILES: Final = AdapterSettings(
    "Files of a folder, a bucket, or a list behind a URL: CSV, JSON lines, Parquet or Avro. Each file is taken once.",
    Keys(
        "new files",
        (
            Key(
                "from",
                "A folder, s3://bucket/prefix, gs://bucket/prefix, az://container/prefix, or the URL of a text with a "
                "list of files.",
                One("a folder or an address", r"^\S+$"),
                is_required=True,
                examples=("s3://mybank/exports",),
            ),
            Key(
                "markers",
                "Whether a file is complete only if a file with its name and `.done`, or a file `_SUCCESS`, is beside "
                "it.",
                choice("false", "true"),
                default="false",
            ),
            Key(
                "settled",
                "How long a file of a folder must be unchanged to count as complete. Objects of a bucket are always "
                "complete.",
                DURATION,
                default="2s",
                examples=("1m",),
            ),
            *BUCKET,
            *CALLS,
        ),
    ),
    placed=_placed,
    is_called=True,
)
TABLE: Final = AdapterSettings(
    "New rows of a table or view of PostgreSQL, MariaDB or SQLite, found by an increasing column.",
    Keys(
        "a table",
        (
            Key(
                "url",
                "The database.",
                ADDRESS,
                is_required=True,
                examples=("postgresql://reader:${DB_PASSWORD}@db.bank/core",),
            ),
            Key(
                "table",
                "The table or view; with a schema as SCHEMA.NAME.",
                One("a name", r"^[A-Za-z_][A-Za-z0-9_$]{0,62}(\.[A-Za-z_][A-Za-z0-9_$]{0,62})?$"),
                is_required=True,
                examples=("payments",),
            ),
            Key(
                "by",
                "The column that increases with each row: a whole number, or a time.",
                One("a name", r"^[A-Za-z_][A-Za-z0-9_$]{0,62}$"),
                is_required=True,
                examples=("id",),
            ),
            Key(
                "overlap",
                "How far before the last row each read begins, to catch rows that were committed late: a whole number "
                "of the column, or a duration. Known rows are duplicates.",
                One("a whole number or a duration", r"^[0-9]{1,15}(ms|s|m|h|d)?$"),
                default=f"{OVERLAP}, for a time {OVERLAP_TIME}",
                examples=("1h",),
            ),
            Key("rows", "Number of rows per read; more only if they share one value.", WHOLE, default=ROWS),
        ),
    ),
    placed=sqlite_in_folder,
    moves_rows=True,  # a range of rows is a file, and the next one begins before its end
)
_SECRET: Final = One("an environment variable such as ${AMPLITUDE_API_KEY}", rf"^{VARIABLE}$")
AMPLITUDE: Final = AdapterSettings(
    "Days of Amplitude's export API, by upload hour.",
    Keys(
        "exports of Amplitude",
        (
            Key("api_key", "The project's API key.", _SECRET, is_required=True, examples=("${AMPLITUDE_API_KEY}",)),
            Key(
                "secret_key",
                "The project's secret key.",
                _SECRET,
                is_required=True,
                examples=("${AMPLITUDE_SECRET_KEY}",),
            ),
            Key(
                "from",
                "The first day to take, in UTC.",
                One("a day such as 2026-03-01", rf"^([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|{VARIABLE})$"),
                is_required=True,
                examples=("2026-03-01",),
            ),
            Key("region", "The region of the project's data.", choice("us", "eu"), default="us"),
            Key("settled", "Delay of the request after a day's end, for late events.", DURATION, default="3h"),
            Key(
                "suspicious",
                "Share of bad lines above which a day is marked as suspicious and a notice is sent.",
                PERCENT,
                default="5%",
            ),
            Key(
                "lost_hours",
                "How many hours of a day may be damaged, or missing between busy hours, before it is suspicious, too.",
                One("a number of hours, 0 to 24", r"^(1?[0-9]|2[0-4])$", kinds=(TEXT, NUMBER)),
                default="0",
            ),
            Key("url", "The URL of a server other than Amplitude's.", HTTP),
            *CALLS[:-1],
            Key("timeout", "Time limit for a day's response; then half a day is requested.", DURATION, default="10m"),
        ),
    ),
    is_called=True,
    moves_rows=True,  # a day may come with more lines when it is requested again
)
SETTINGS: Final = {"files": FILES, "table": TABLE, "amplitude": AMPLITUDE}
