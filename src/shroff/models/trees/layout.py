"""Flat arrays of trees of every library: written by `models.trees.forest`, read by `models.trees.walker`.

A node is two words. The first has the bits of its threshold: a row goes left where `value <= threshold`; of a node that
asks for a set of categories it is the set's place in `sets`. The second is its link: from the top the place of its left
child, whose right sibling stands behind it; the slot of the row that it compares; a bit that it looks up a set. A leaf
compares with NaN, so that it always goes right, and is linked to the place before it: it stays where it is.

A row is staged before it is walked: a slot for each pair of an input and a way to treat what is absent in it. A missing
value as -inf always goes left, as NaN always right; so no step asks whether a value is missing.

A set is: how many codes it has bits for; 1 where a missing category goes left; 1 where its members go left; the bits.
"""

from __future__ import annotations

LINK_SHIFT = 24
SLOT_MASK = (1 << 23) - 1
LOOKS_UP = 1  # the bit of a link whose node asks for a set
SET_HEADER = 3
TOGETHER = 8  # trees are walked in groups of so many; the last group is filled up
BLOCK = 64  # rows are staged so many at once

# Ways to treat what is absent: the second word of a slot.
ABSENT_RIGHT = 0  # a missing value goes right
ABSENT_LEFT = 1  # a missing value goes left
ABSENT_ZERO = 2  # a missing value counts as 0
ZERO_RIGHT = 3  # a missing value and 0 go right
ZERO_LEFT = 4  # a missing value and 0 go left
CATEGORY = 5  # a code; outside 0 .. count - 1, the third word of the slot, it is missing
