"""Memory layout of window state in one array: constants that Python and the kernels share.

All state of a history is one array of signed 64-bit words, its *heap*:

    | fixed words | free lists | plan | scratch | zero cell | blocks ...          | free |
    0             FREE         PLAN                                          TAIL

A *block* belongs to a key (its chunk of cells, a deque, a table of values) or is the
directory, which has `HEAD_WORDS` words for each key. The plan says how long a cell and a
head are and where each part of them stands, so one compiled kernel serves every plan.

A *cell* is an event: its time, then for each series a word of two counters and what the
series asks for. Sums stand in cells as running totals, so any window is one subtraction:

    counts   40 bits: kept values up to here; 24 bits: the high part of the running sum
    sum      the running sum modulo 2^64          (88 bits with the part above: exact)
    squares  two words: the running sum of squares, modulo 2^128
    value    the value itself, where there is no sum to take it from

Cells have *positions*, from 1 in the order (time, arrival). The cell before the first live
one stays: it carries the totals of all that was trimmed.
"""

from __future__ import annotations

from typing import Final

VERSION: Final = 4

# Fixed words; word 0 is the version.
TAIL: Final = 1  # first word never used
WANTED: Final = 2  # words that the last refused request asked for
HEADS: Final = 3  # address of the directory
HEADS_ROOM: Final = 4  # keys it has room for
CELLS: Final = 5  # live cells
SWEPT: Final = 6  # key at which the next sweep begins
PHASE: Final = 7  # 1: the row to resume with was inserted already
CELL_WORDS: Final = 8
HEAD_WORDS: Final = 9
ZERO_CELL: Final = 10  # address of a cell of zeros: where nothing was before
LATENESS_MS: Final = 11
REACH_MS: Final = 12  # how far behind the oldest possible row a window looks; -1: no window by time
REACH_CELLS: Final = 13  # how many cells `last n` needs; 0: none
EVER: Final = 14  # 1: some query has no window
DIGEST: Final = 15  # of plan and lateness: a heap fits no other
FREE: Final = 48  # heads of the free lists
FREE_CLASSES: Final = 96
PLAN: Final = FREE + FREE_CLASSES

# Parts of the plan: word of the address, and after it the count.
SERIES: Final = 16
EDGES: Final = 18
WINDOWS: Final = 20
GROUPS: Final = 22
QUERIES: Final = 24
TRACKS: Final = 26
SETS: Final = 28
TABLES: Final = 30
WINDOWS_BEFORE: Final = 32  # windows and groups without `including this` come first
GROUPS_BEFORE: Final = 33
EDGE_PLACES: Final = 34  # address of scratch: the place of each edge at this row
LOOKS: Final = 36
LOOKS_BEFORE: Final = 38  # looks without `including this` come first, too

# A history with links: see `kernels.links`.
UP_TO: Final = 39  # the greatest degree of a link value that counts; 0: there are no links
ARRIVALS: Final = 40  # events so far
MARKS: Final = 41  # counts up: what has the newest mark was seen on the way
MARK: Final = 42  # its offset in a head
ACCOUNTS: Final = 43  # offset in a head of the addresses of its accounts, one for each window, and how many
LOG: Final = 45  # address of the last arrivals, each by head: link value << 32 | key or 0; 0: no account is there yet
LOG_ROOM: Final = 1 << 16
OF_LINK: Final = 3  # these series, from the end: the code of the link value
OF_KEY: Final = 2  # the code of the key
OF_ARRIVAL: Final = 1  # the event's number by arrival, of those that aggregates are over

# A series in the plan. Offsets are into a cell or a head; -1: not there.
SERIES_WORDS: Final = 8
OF_COUNTS: Final = 0
OF_SUM: Final = 1
OF_SQUARES: Final = 2
OF_VALUE: Final = 3
IS_REAL: Final = 4
OF_FOLD: Final = 5
SCALE: Final = 6

# A window in the plan, and its place at this row.
WINDOW_WORDS: Final = 6
LEFT: Final = 0  # edge, or one of the two below
RIGHT: Final = 1  # edge; -1: this row's own time
LAST_N: Final = 2
BEGIN: Final = 3  # scratch: first position inside
END: Final = 4  # scratch: first position behind
W_MANY: Final = 5  # so many link values of a key in the window, and it gets an account
LEFT_EVER: Final = -1
LEFT_LAST_N: Final = -2
RIGHT_NOW: Final = -1

# A group: all queries about one series in one window.
GROUP_WORDS: Final = 4
G_WINDOW: Final = 0
G_SERIES: Final = 1
G_FIRST: Final = 2
G_COUNT: Final = 3

QUERY_WORDS: Final = 5
FUNCTION: Final = 0
ROW_OUT: Final = 1
PART: Final = 2  # address of the track or set in the plan
NUMERATOR: Final = 3
DENOMINATOR: Final = 4

# A look: a query whose condition is a program that is asked of each cell of its window.
# What `this` gives it is fed behind the series, in rows of their own.
LOOK_WORDS: Final = 13
K_WINDOW: Final = 5  # offset of the window; words 0, 1, 3 and 4 are a query's, PART is a register with a time or 0
K_SERIES: Final = 6  # what is aggregated; -1: nothing but the events
K_DO: Final = 7  # the program's operations: address and count
K_DO_COUNT: Final = 8
K_RESULT: Final = 9  # the register that says whether a cell is kept
K_LOADS: Final = 10  # address of the loads: those of the cell first, then those of `this`
K_LOADS_COUNT: Final = 11
K_THIS_COUNT: Final = 12
LOAD_WORDS: Final = 2  # a series, or a row of what is fed; the register that it fills

# An account: what those link values of a key come to that nothing touches for a while, and a list of the others.
# Its class; the first and the last end of a window that it holds for; arrivals when it was made, and those in its list;
# hash table of the heads of quiet values, each plus 1: address and room; heads of the others, and of quiet values that
# came again, those plus 1: address, count, room; the seeds.
A_CLASS, A_AT, A_UNTIL, A_MADE, A_READ, A_TABLE, A_TABLE_ROOM, A_LIST, A_COUNT, A_ROOM, A_SEEDS = range(11)
# What one look has found at the cells of quiet values: a seed for each look of the plan.
# Values kept come first; low and high part of the sum; the extreme, or the number of different values; the number of
# cells; the block of values with their hash table behind, 0: none.
S_SUM, S_BEST, S_CELLS, S_VALUES, SEED_WORDS = 1, 3, 4, 5, 6

# MIN and MAX, FIRST and LAST stand side by side: a kernel asks for either by one range.
COUNT: Final = 0
SHARE: Final = 1
SUM: Final = 2
MEAN: Final = 3
STD: Final = 4
MIN: Final = 5
MAX: Final = 6
FIRST: Final = 7
LAST: Final = 8
DISTINCT: Final = 9
QUANTILE: Final = 10
MEDIAN: Final = 11
MODE: Final = 12
NTH_LAST: Final = 13

# A track: the candidates for one maximum or minimum, for every window with the same right edge.
TRACK_WORDS: Final = 4
T_SERIES: Final = 0
T_FLIP: Final = 1  # -1 for a minimum: keys are ~value, so that the greatest key wins; 0 for a maximum
T_RIGHT: Final = 2
T_HEAD: Final = 3  # its words in a head:
TRACK_HEAD_WORDS: Final = 5
D_AT: Final = 0
D_CLASS: Final = 1
D_BEGIN: Final = 2
D_COUNT: Final = 3
D_FED: Final = 4  # cells before this position are in

# A set: how many different values one window has. Sets of one series share a table.
SET_WORDS: Final = 8
S_SERIES: Final = 0
S_TABLE: Final = 1  # offset of the table's words in a head
S_ENTRY: Final = 2  # words of an entry
S_COUNTER: Final = 3  # its counter in an entry
S_LEFT: Final = 4
S_RIGHT: Final = 5
S_HEAD: Final = 6  # its words in a head:
SET_HEAD_WORDS: Final = 3
L_AT: Final = 0  # cells in [L, R) are counted
R_AT: Final = 1
DIFFERENT: Final = 2
TABLE_WORDS: Final = 2  # a table in the plan: offset in a head, words of an entry
TABLE_HEAD_WORDS: Final = 3
H_AT: Final = 0
H_ROOM: Final = 1  # entries, a power of two
H_USED: Final = 2
ENTRY_VALUE: Final = 0
ENTRY_USES: Final = 1  # sum of its counters; 0: free
ENTRY_COUNTERS: Final = 2

# A head: what is known of one key.
ORIGIN: Final = 0  # address that position 0 would have
LO: Final = 1  # first live position
HI: Final = 2  # behind the last
CHUNK: Final = 3  # address of the block of cells; 0: none
CHUNK_CLASS: Final = 4
HINTS: Final = 5  # one per edge: where it was last

# A fold: what trimmed cells leave behind for queries without a window.
FOLD_WORDS: Final = 6
F_FIRST: Final = 0
F_FIRST_AT: Final = 1
F_LAST: Final = 2
F_LAST_AT: Final = 3
F_MIN: Final = 4
F_MAX: Final = 5

COUNT_BITS: Final = 40
COUNT_MASK: Final = (1 << 40) - 1
NEVER_MS: Final = -(1 << 61)  # before all times
UNREAD: Final = -2  # the key of a row that nobody asks about, and whose answers nobody reads
