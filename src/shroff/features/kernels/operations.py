"""Instructions of programs: constants that Python and the kernels share."""

from __future__ import annotations

MISSING = 0
THERE = 1
OUTSIDE = 2  # an exact value beyond 64 bits: whoever can calculate with it is asked instead

REGISTER_WORDS = 2
OPERATION_WORDS = 4
WHAT = 0
TARGET = 1
LEFT = 2
RIGHT = 3

# Of truths and of what may be missing.
AND = 0
OR = 1
NOT = 2
IS_MISSING = 3
ELSE = 4
WHEN = 5
# Of words: exact numbers, times, truths and codes of texts. These need both sides.
EQUAL = 6
UNEQUAL = 7
BELOW = 8
AT_MOST = 9
LEAST = 10
GREATEST = 11
PLUS = 12
MINUS = 13
TIMES = 14
SIZE = 15
TO_REAL = 16
EXACT_QUOTIENT = 17
# Of reals.
REALS = 20
REAL_EQUAL = 20
REAL_UNEQUAL = 21
REAL_BELOW = 22
REAL_AT_MOST = 23
REAL_LEAST = 24
REAL_GREATEST = 25
REAL_PLUS = 26
REAL_MINUS = 27
REAL_TIMES = 28
REAL_SIZE = 29
REAL_QUOTIENT = 30
REAL_ROOT = 31

# Arguments of the rule kernel.
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
