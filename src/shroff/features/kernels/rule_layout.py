"""Arguments of the rule kernel: constants that Python and the kernel share."""

from __future__ import annotations

from typing import Final

# A group of a rule: where its heap is, and which rows of what is fed and answered are its own.
GROUP_WORDS: Final = 10
HEAP: Final = 0
HEAP_SIZE: Final = 1
FIRST_ROW: Final = 2
ROWS: Final = 3
FIRST_OUT: Final = 4
OUTS: Final = 5
LINKS: Final = 6  # for each key its last pair, for each pair the one before it; 0: its keys are no pairs
LINKS_SIZE: Final = 7
NEXTS: Final = 8
NEXTS_SIZE: Final = 9

# The shape of a program whose registers stand at the beginning of their array.
DO: Final = 0
DO_COUNT: Final = 1
RESULT: Final = 2

# What is known of a row: NO_HIT and HIT before and after, ASKED before, UNKNOWN after.
NO_HIT: Final = 0
HIT: Final = 1
UNKNOWN: Final = 2
ASKED: Final = 3

STOPPED_BY_HEAP: Final = 0
STOPPED_BY_WIDTH: Final = 1
