"""Instructions of programs: constants that Python and the kernels share."""

from __future__ import annotations

from typing import Final

MISSING: Final = 0
THERE: Final = 1
OUTSIDE: Final = 2  # an exact value beyond 64 bits: whoever can calculate with it is asked instead

REGISTER_WORDS: Final = 2
OPERATION_WORDS: Final = 4
WHAT: Final = 0
TARGET: Final = 1
LEFT: Final = 2
RIGHT: Final = 3

# Of truths and of what may be missing.
AND: Final = 0
OR: Final = 1
NOT: Final = 2
IS_MISSING: Final = 3
ELSE: Final = 4
WHEN: Final = 5
# Of words: exact numbers, times, truths and codes of texts. These need both sides.
EQUAL: Final = 6
UNEQUAL: Final = 7
BELOW: Final = 8
AT_MOST: Final = 9
LEAST: Final = 10
GREATEST: Final = 11
PLUS: Final = 12
MINUS: Final = 13
TIMES: Final = 14
SIZE: Final = 15
TO_REAL: Final = 16
EXACT_QUOTIENT: Final = 17
# Of reals.
REALS: Final = 20
REAL_EQUAL: Final = 20
REAL_UNEQUAL: Final = 21
REAL_BELOW: Final = 22
REAL_AT_MOST: Final = 23
REAL_LEAST: Final = 24
REAL_GREATEST: Final = 25
REAL_PLUS: Final = 26
REAL_MINUS: Final = 27
REAL_TIMES: Final = 28
REAL_SIZE: Final = 29
REAL_QUOTIENT: Final = 30
REAL_ROOT: Final = 31
