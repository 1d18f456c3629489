"""Memory layout of window state in one array: constants that Python and the kernels share.

All state of a history is one array of signed 64-bit words, its *heap*:

    | fixed words | free lists | plan | scratch | blocks ...          | free |
    0             FREE         PLAN             BLOCKS                TAIL

A *block* belongs to a key (its chunk of cells, a deque, a table of values), or is the directory, which has a *head* of
`HEAD_WORDS` words for each key. The plan has the length of cells and heads and the offset of each part of them, so one
compiled kernel serves every plan.

A *cell* is an event. The cells of a key are all packed or all wide:

    packed   halves of words: the time since `BASE_MS`, then the value of each series, `MISSING` for none
    wide     the time, a bit for each series that has a value, then the values

Cells have *positions*, from 1, in the order (time, arrival). Before each 16 cells, except a chunk's first, stand the
running *totals* of the chunk's earlier cells, for each series:

    counts   40 bits: number of values; 24 bits: the high part of the sum
    sum      the sum modulo 2^64                  (88 bits with the high part: exact)
    squares  two words: the sum of squares, modulo 2^128

If a query has no window, totals include those of all cells before the chunk, which the head has.
"""

from __future__ import annotations

VERSION = 6

# Fixed words; word 0 is the version.
TAIL = 1  # first word that was never used
WANTED = 2  # words of the last block that did not fit
HEADS = 3  # address of the directory
HEADS_ROOM = 4  # number of keys for which the directory has room
CELLS = 5  # live cells
PACKED_WORDS = 6  # words of a packed cell; 0: all cells are wide
PHASE = 7  # 1: the row at which a call resumes was inserted already
CELL_WORDS = 8  # words of a wide cell
HEAD_WORDS = 9
BLOCKS = 10  # address of the first block
LATENESS_MS = 11
REACH_MS = 12  # longest time that a window reaches back from the oldest possible row; -1: no window by time
REACH_CELLS = 13  # number of cells that `last n` needs; 0: none
EVER = 14  # 1: some query has no window
DIGEST = 15  # of plan and lateness, with which alone a heap may be used
FREE = 48  # heads of the free lists
FREE_CLASSES = 96
PLAN = FREE + FREE_CLASSES

# Parts of the plan: word of the address, and after it the count.
SERIES = 16
EDGES = 18
WINDOWS = 20
GROUPS = 22
QUERIES = 24
TRACKS = 26
SETS = 28
TABLES = 30
WINDOWS_BEFORE = 32  # windows and groups without `including this` come first
GROUPS_BEFORE = 33
EDGE_PLACES = 34  # address of scratch: the position of each edge for this row
LOOKS = 36
LOOKS_BEFORE = 38  # looks without `including this` come first, too

# A history with links: see `kernels.links`.
UP_TO = 39  # most keys of a link value that is no hub; 0: there are no links
ARRIVALS = 40  # events so far
MARKS = 41  # the newest mark, which increases; a head with it was visited by the current search
MARK = 42  # offset in a head of its mark
ACCOUNTS = 43  # offset in a head of the addresses of its accounts, one for each window, and their number
LOG = 45  # address of the last arrivals, as head numbers: link value << 32 | key or 0; 0: there is no account yet
LOG_ROOM = 1 << 16
TOTALS_WORDS = 46  # words of the totals before 16 cells
BEFORE = 47  # offset in a head of the totals before the chunk; 0: all queries have windows
OF_LINK = 3  # series, from the end: the code of the link value
OF_KEY = 2  # the code of the key
OF_ARRIVAL = 1  # the arrival number of an event that is aggregated

# A series in the plan. Offsets are into a wide cell or a head; -1: none.
SERIES_WORDS = 5
NUMBER = 0
OF_VALUE = 1
IS_REAL = 2
OF_FOLD = 3
SCALE = 4

# A window in the plan, and its positions for this row.
WINDOW_WORDS = 6
LEFT = 0  # edge, or one of the two below
RIGHT = 1  # edge; -1: this row's own time
LAST_N = 2
BEGIN = 3  # scratch: first position inside
END = 4  # scratch: first position after it
W_MANY = 5  # number of link values in the window from which a key gets an account
LEFT_EVER = -1
LEFT_LAST_N = -2
RIGHT_NOW = -1

# A group: all queries about one series in one window.
GROUP_WORDS = 4
G_WINDOW = 0
G_SERIES = 1
G_FIRST = 2
G_COUNT = 3

QUERY_WORDS = 5
FUNCTION = 0
ROW_OUT = 1
PART = 2  # address of the track or set in the plan
NUMERATOR = 3
DENOMINATOR = 4

# A look: a query whose condition is a program that is evaluated for each cell of its window.
# Values of `this` are passed after those of the series, in rows of their own.
LOOK_WORDS = 13
K_WINDOW = 5  # offset of the window; words 0, 1, 3 and 4 are as in a query, PART is a register with a time or 0
K_SERIES = 6  # the aggregated series; -1: the events are counted
K_DO = 7  # the program's operations: address and count
K_DO_COUNT = 8
K_RESULT = 9  # the register with the result of the condition
K_LOADS = 10  # address of the loads: those of the cell first, then those of `this`
K_LOADS_COUNT = 11
K_THIS_COUNT = 12
LOAD_WORDS = 2  # a series, or a row of values of `this`; the register to load

# An account: totals over the quiet link values of a key, and a list of the others (see `kernels.links`).
# Its class; the first and the last window end for which it is valid; arrivals when it was made, and those in its list;
# hash table of the heads of quiet values, each plus 1: address and room; heads of the others, and of quiet values with
# new events, the latter plus 1: address, count, room; the seeds.
A_CLASS, A_AT, A_UNTIL, A_MADE, A_READ, A_TABLE, A_TABLE_ROOM, A_LIST, A_COUNT, A_ROOM, A_SEEDS = range(11)
# A seed: the totals of one look over the cells of quiet values; there is one for each look of the plan.
# The number of values; low and high part of the sum; the extreme, or the number of distinct values; the number of
# cells; the block of values followed by their hash table, 0: none.
S_SUM, S_BEST, S_CELLS, S_VALUES, SEED_WORDS = 1, 3, 4, 5, 6

# MIN and MAX, and FIRST and LAST, are adjacent, since kernels compare with ranges.
COUNT = 0
SHARE = 1
SUM = 2
MEAN = 3
STD = 4
MIN = 5
MAX = 6
FIRST = 7
LAST = 8
DISTINCT = 9
QUANTILE = 10
MEDIAN = 11
MODE = 12
NTH_LAST = 13

# A track: the candidates for one maximum or minimum, for every window with the same right edge.
TRACK_WORDS = 4
T_SERIES = 0
T_FLIP = 1  # -1 for a minimum: keys are ~value, so that the greatest key wins; 0 for a maximum
T_RIGHT = 2
T_HEAD = 3  # its words in a head:
TRACK_HEAD_WORDS = 5
D_AT = 0
D_CLASS = 1
D_BEGIN = 2
D_COUNT = 3
D_FED = 4  # cells before this position are in

# A set: the distinct count of one window. Sets of one series share a table.
SET_WORDS = 8
S_SERIES = 0
S_TABLE = 1  # offset of the table's words in a head
S_ENTRY = 2  # words of an entry
S_COUNTER = 3  # its counter in an entry
S_LEFT = 4
S_RIGHT = 5
S_HEAD = 6  # its words in a head:
SET_HEAD_WORDS = 3
L_AT = 0  # cells in [L, R) are counted
R_AT = 1
DIFFERENT = 2
TABLE_WORDS = 2  # a table in the plan: offset in a head, words of an entry
TABLE_HEAD_WORDS = 3
H_AT = 0
H_ROOM = 1  # entries, a power of two
H_USED = 2
ENTRY_VALUE = 0
ENTRY_USES = 1  # sum of its counters; 0: free
ENTRY_COUNTERS = 2

# A head: the state of one key.
CHUNK_LO = 0  # position of the first cell of the chunk, live or not
LO = 1  # first live position
HI = 2  # position after the last cell
CHUNK = 3  # address of the block of cells; 0: none
CHUNK_CLASS = 4
OLDEST_MS = 5  # time of the first live cell; FAR_MS: none
BASE_MS = 6  # of packed cells; WIDE: the cells are wide
HINTS = 7  # last position of each edge

# A fold: totals over trimmed cells for queries without a window.
FOLD_WORDS = 6
F_FIRST = 0
F_FIRST_AT = 1
F_LAST = 2
F_LAST_AT = 3
F_MIN = 4
F_MAX = 5

SERIES_TOTALS = 4  # counts, sum, low and high word of squares
GROUP_BITS = 4  # 16 cells between totals
GROUP = 1 << GROUP_BITS
HALF_MASK = (1 << 32) - 1
MISSING = -(1 << 31)
SPARE_MS = 1 << 28  # 3 days: a chunk is packed if cells of so much later fit, too
COUNT_BITS = 40
COUNT_MASK = (1 << 40) - 1
NEVER_MS = -(1 << 61)  # before all times
FAR_MS = 1 << 61  # after all times
WIDE = FAR_MS
UNREAD = -2  # key of a row whose answers are not needed
