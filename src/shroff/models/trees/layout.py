"""Flat arrays for the trees of every library, written by `models.trees.forest` and read by `models.trees.walker`.

A node is two words. The first holds the bits of its threshold (a row goes left if `value <= threshold`), or for a node
that tests a category the index of its set in `sets`. The second is its link: from the top bit the index of its left
child, whose right sibling follows it; the slot of the row to compare; a bit for a set. A leaf compares with NaN and so
always goes right; its link is the index before its own, so a walk stays on it.

A row is staged before it is walked: one slot for each pair of an input and a treatment of missing values. A missing
value stored as -inf always goes left, as NaN always right, so no step tests for missing values.

A set is: the number of codes that it has bits for; 1 if a missing category goes left; 1 if its members go left; the
bits.
"""

from __future__ import annotations

LINK_SHIFT = 24
SLOT_MASK = (1 << 23) - 1
LOOKS_UP = 1  # bit of a link whose node tests a set
SET_HEADER = 3
TOGETHER = 8  # trees walked in one group; the last group is padded
BLOCK = 64  # rows staged at once

# Treatments of missing values: the second word of a slot.
ABSENT_RIGHT = 0  # a missing value goes right
ABSENT_LEFT = 1  # a missing value goes left
ABSENT_ZERO = 2  # a missing value counts as 0
ZERO_RIGHT = 3  # a missing value and 0 go right
ZERO_LEFT = 4  # a missing value and 0 go left
CATEGORY = 5  # a code; outside 0 .. count - 1, which is the third word of the slot, it counts as missing
