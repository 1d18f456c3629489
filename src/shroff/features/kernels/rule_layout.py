"""Arguments of the rule kernel: constants that Python and the kernel share."""

from __future__ import annotations

# A group of a rule: where its heap is, and which rows of what is fed and answered are its own.
GROUP_WORDS = 10
HEAP = 0
HEAP_SIZE = 1
FIRST_ROW = 2
ROWS = 3
FIRST_OUT = 4
OUTS = 5
LINKS = 6  # for each key its last pair, for each pair the one before it; 0: its keys are no pairs
LINKS_SIZE = 7
NEXTS = 8
NEXTS_SIZE = 9

# The shape of a program whose registers stand at the beginning of their array.
DO = 0
DO_COUNT = 1
RESULT = 2

# What is known of a row: NO_HIT and HIT before and after, ASKED before, UNKNOWN after.
NO_HIT = 0
HIT = 1
UNKNOWN = 2
ASKED = 3

STOPPED_BY_HEAP = 0
STOPPED_BY_WIDTH = 1
