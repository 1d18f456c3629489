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

VERSION = 4

# Fixed words; word 0 is the version.
TAIL = 1  # first word never used
WANTED = 2  # words that the last refused request asked for
HEADS = 3  # address of the directory
HEADS_ROOM = 4  # keys it has room for
CELLS = 5  # live cells
SWEPT = 6  # key at which the next sweep begins
PHASE = 7  # 1: the row to resume with was inserted already
CELL_WORDS = 8
HEAD_WORDS = 9
ZERO_CELL = 10  # address of a cell of zeros: where nothing was before
LATENESS_MS = 11
REACH_MS = 12  # how far behind the oldest possible row a window looks; -1: no window by time
REACH_CELLS = 13  # how many cells `last n` needs; 0: none
EVER = 14  # 1: some query has no window
DIGEST = 15  # of plan and lateness: a heap fits no other
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
EDGE_PLACES = 34  # address of scratch: the place of each edge at this row
LOOKS = 36
LOOKS_BEFORE = 38  # looks without `including this` come first, too

# A history with links: see `kernels.links`.
UP_TO = 39  # the greatest degree of a link value that counts; 0: there are no links
ARRIVALS = 40  # events so far
MARKS = 41  # counts up: what has the newest mark was seen on the way
MARK = 42  # its offset in a head
ACCOUNTS = 43  # offset in a head of the addresses of its accounts, one for each window, and how many
LOG = 45  # address of the last arrivals, each by head: link value << 32 | key or 0; 0: no account is there yet
LOG_ROOM = 1 << 16
OF_LINK = 3  # these series, from the end: the code of the link value
OF_KEY = 2  # the code of the key
OF_ARRIVAL = 1  # the event's number by arrival, of those that aggregates are over

# A series in the plan. Offsets are into a cell or a head; -1: not there.
SERIES_WORDS = 8
OF_COUNTS = 0
OF_SUM = 1
OF_SQUARES = 2
OF_VALUE = 3
IS_REAL = 4
OF_FOLD = 5
SCALE = 6

# A window in the plan, and its place at this row.
WINDOW_WORDS = 6
LEFT = 0  # edge, or one of the two below
RIGHT = 1  # edge; -1: this row's own time
LAST_N = 2
BEGIN = 3  # scratch: first position inside
END = 4  # scratch: first position behind
W_MANY = 5  # so many link values of a key in the window, and it gets an account
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

# A look: a query whose condition is a program that is asked of each cell of its window.
# What `this` gives it is fed behind the series, in rows of their own.
LOOK_WORDS = 13
K_WINDOW = 5  # offset of the window; words 0, 1, 3 and 4 are a query's, PART is a register with a time or 0
K_SERIES = 6  # what is aggregated; -1: nothing but the events
K_DO = 7  # the program's operations: address and count
K_DO_COUNT = 8
K_RESULT = 9  # the register that says whether a cell is kept
K_LOADS = 10  # address of the loads: those of the cell first, then those of `this`
K_LOADS_COUNT = 11
K_THIS_COUNT = 12
LOAD_WORDS = 2  # a series, or a row of what is fed; the register that it fills

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

# A set: how many different values one window has. Sets of one series share a table.
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

# A head: what is known of one key.
ORIGIN = 0  # address that position 0 would have
LO = 1  # first live position
HI = 2  # behind the last
CHUNK = 3  # address of the block of cells; 0: none
CHUNK_CLASS = 4
HINTS = 5  # one per edge: where it was last

# A fold: what trimmed cells leave behind for queries without a window.
FOLD_WORDS = 6
F_FIRST = 0
F_FIRST_AT = 1
F_LAST = 2
F_LAST_AT = 3
F_MIN = 4
F_MAX = 5

COUNT_BITS = 40
COUNT_MASK = (1 << 40) - 1
NEVER_MS = -(1 << 61)  # before all times
UNREAD = -2  # the key of a row that nobody asks about, and whose answers nobody reads
