"""Zones as files write them beside a time: abbreviations such as EDT, and names such as Europe/Berlin."""

from __future__ import annotations

from shroff.language.values import HOUR_MS, is_zone, zoned_ms

ZONE_HOURS = {  # offsets of abbreviations that mean one zone in files; IST and others mean several, and are none
    word: float(hours)
    for hours, words in (
        line.split(" ", 1)
        for line in (
            "0 UTC GMT WET,1 CET WEST BST,2 EET CEST SAST,3 MSK EEST,5 PKT,7 WIB,8 AWST SGT HKT,9 JST KST,"
            "9.5 ACST,10 AEST,10.5 ACDT,11 AEDT,12 NZST,13 NZDT,-3 BRT ART ADT,-4 AST EDT,-5 EST CDT,-6 CST MDT,"
            "-7 MST PDT,-8 PST AKDT,-9 AKST,-10 HST"
        ).split(",")
    )
    for word in words.split()
}


def is_zone_word(word: str) -> bool:
    """Whether a word is an abbreviation of `ZONE_HOURS`, or a zone such as Europe/Berlin."""
    return word.upper() in ZONE_HOURS or is_zone(word)


def word_zoned_ms(local_ms: int, word: str) -> int:
    """The instant at which the clock of a zone shows a time, given as if that were UTC; see `is_zone_word`."""
    hours = ZONE_HOURS.get(word.upper())
    return zoned_ms(local_ms, word) if hours is None else local_ms - round(hours * HOUR_MS)
