"""Messages of ISO 8583 as JSON or Parquet, whose fields are called by their numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from shroff.services.proposals.profile import FileColumn

AMOUNT = ("", "amount_4")  # paths that no column of a line has
SENT_AT = ("", "sent_at_7")
_FIELDS_MIN = 6
_FORMS = re.compile("4 [0-9]+|7 [0-9]{10}")  # a data frame has others
_NAMES = dict(
    pair.split(":")
    for pair in "2:card_number 3:processing_code 4:amount 7:sent_at 11:trace_code 12:local_clock 13:local_day "
    "18:mcc 22:entry_mode 32:acquirer_code 37:reference 39:response_code 41:terminal_id 42:merchant_id "
    "43:merchant_name 49:currency_code".split()
)


def name_fields(columns: Sequence[FileColumn]) -> None:
    """Name the columns of a file that has fields of ISO 8583, with their numbers."""
    numbered = [column for column in columns if column.path[-1] in _NAMES]
    texts = [f"{column.path[-1]} {text}" for column in numbered for text in column.distinct]
    telling = [text for text in texts if text.startswith(("4 ", "7 "))]
    if len(numbered) >= _FIELDS_MIN and telling and all(map(_FORMS.fullmatch, telling)):
        for column in numbered:
            column.number = column.name
            column.path = ("", f"{_NAMES[column.path[-1]]}_{column.path[-1]}")


def year_of(sent_at: FileColumn) -> int:
    """The year in which the latest of these months and days has passed, since they have none."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    return tomorrow.year - (max(sent_at.distinct)[:4] > f"{tomorrow:%m%d}")
