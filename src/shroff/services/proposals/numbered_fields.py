"""Messages of ISO 8583 as JSON or Parquet, whose fields are called by their numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from shroff.events.field_roles import is_named
from shroff.services.proposals.profile import FileColumn

AMOUNT = ("", "amount_4")  # paths that no column of a line has
SENT_AT = ("", "sent_at_7")
_FIELDS_MIN = 6
_FORMS = re.compile("4 [0-9]+|7 [0-9]{9,10}")  # a data frame has others
_CURRENCIES = dict(
    pair.split(":")
    for pair in "978:EUR 840:USD 826:GBP 392:JPY 756:CHF 752:SEK 578:NOK 208:DKK 985:PLN 203:CZK 348:HUF 946:RON "
    "949:TRY 124:CAD 036:AUD 554:NZD 356:INR 156:CNY 344:HKD 702:SGD 410:KRW 986:BRL 484:MXN 710:ZAR 784:AED 682:SAR "
    "376:ILS 414:KWD 048:BHD 512:OMR 400:JOD 788:TND 360:IDR 458:MYR 764:THB 608:PHP 704:VND 566:NGN 404:KES 818:EGP "
    "504:MAD 643:RUB 980:UAH 901:TWD 032:ARS 152:CLP 170:COP 604:PEN 352:ISK".split()
)
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


def read_numeric_currencies(columns: Sequence[FileColumn]) -> None:
    """Read columns that have a currency's number of ISO 4217, such as 978, as its code."""
    for column in columns:
        codes = {text: _CURRENCIES.get(text.strip().zfill(3), "") for text in column.distinct}
        if codes and all(codes.values()) and is_named(column.path[-1].lower(), "currency"):
            parts = [f"'{code}' when {column.row} == {text!r}" for text, code in codes.items()]
            column.row = f"({' else '.join(parts)})"
            column.has_other = True
            column.texts = [codes.get(text, "") for text in column.texts]
            column.measure("")


def year_of(sent_at: FileColumn) -> int:
    """The year in which the latest of these months and days has passed, since they have none."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    latest = max(text.zfill(10) for text in sent_at.distinct)
    return tomorrow.year - (latest[:4] > f"{tomorrow:%m%d}")
