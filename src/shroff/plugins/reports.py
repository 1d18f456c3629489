"""Daily reports of plug-ins (`on: report` of a notice): their declaration, and words and numbers as mails show them."""

from __future__ import annotations

from shroff.notices.added_reports import AddedReport
from shroff.notices.texts.localization import (
    MINUS,
    count_text,
    covered,
    day_text,
    moment_text,
    money_text,
    plain,
    share_text,
)
from shroff.notices.texts.words import MARKS as POINTS
from shroff.notices.texts.words import WORDS
