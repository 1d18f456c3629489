"""Rules with `since flag`, for the online engine: row by row, because each hit changes what the next row reads.

If the condition has a program, a kernel processes all rows of a batch; otherwise each row is evaluated in Python. Both
repeat the hits of recorded rows, and decide for each other row whether the rule hits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shroff.arrays import Bytes, Ints
from shroff.events.definitions import Entity
from shroff.features.computed import Computed
from shroff.features.frames import Frames
from shroff.features.kernels.operations import ASKED, HIT, NO_HIT, UNKNOWN
from shroff.features.key_texts import Hits, read_key
from shroff.features.online.group_state import GroupState
from shroff.features.online.since_flag_kernel import RuleByKernel, rule_program
from shroff.features.online.since_flag_rows import RuleByRows
from shroff.language.columns import Column


class SinceFlag:
    """A rule with `since flag` and its groups of aggregates. A hit removes the events of its key from their histories.

    Args:
        is_told: Whether to write the aggregates into the frames, because the rule's reason shows them.
    """

    def __init__(self, wanted: Computed, groups: list[GroupState], entity: Entity, *, is_told: bool) -> None:
        self.wanted = wanted
        self.groups = groups
        self._entity = entity
        self._is_told = is_told
        self.keys = groups[0].keys.entity_codes
        program = rule_program(wanted, groups)
        self.rule = RuleByRows(wanted, groups) if program is None else RuleByKernel(wanted, groups, *program)

    def run(self, times: Ints, frames: Frames, watermark_ms: int | None, hits: Sequence[Hits | None] | None) -> None:
        """Process a batch, and write into its frames whether the rule hits; missing for rows that are not evaluated.

        `rule` gets for each row a key code (-1: none) and an answer: ASKED to evaluate, or the HIT or NO_HIT of a
        recorded row. It replaces ASKED by HIT, NO_HIT or UNKNOWN.
        """
        size = len(times)
        keys = np.full(size, -1, np.int64)
        answers = np.full(size, NO_HIT, np.uint8)
        for event in self.wanted.events & frames.keys():
            frame = frames[event]
            keys[frame.rows] = frame.key_codes(self.wanted.entity, self.keys)
            answers[frame.rows] = ASKED
        if self.wanted.expires_ms is not None:
            answers[times >= self.wanted.expires_ms] = NO_HIT
        is_new = np.ones(size, np.bool_)
        if hits is not None:
            is_new = np.array([past is None for past in hits], np.bool_)
            answers[~is_new] = NO_HIT
        feeds = [group.feed(frames, size) if group.kernel is not None else None for group in self.groups]
        for group in self.groups:
            group.link_pairs()
        if hits is not None:
            self._follow(hits, keys, answers)
        is_asked = answers == ASKED
        deliver = self.rule.run(times, frames, feeds, watermark_ms, keys, answers)
        if self._is_told:
            deliver(frames)
        for event in self.wanted.events & frames.keys():
            rows = frames[event].rows
            is_answered = is_asked[rows] & (answers[rows] != UNKNOWN)
            frames[event].computed[self.wanted.name] = Column((answers[rows] == HIT) & is_answered, is_answered)

    def _follow(self, hits: Sequence[Hits | None], keys: Ints, answers: Bytes) -> None:
        """Take over the hits of recorded rows, with their recorded keys: another version may have had other keys."""
        rule = self.wanted.rule
        assert rule is not None
        for row, past in enumerate(hits):
            if past and rule in past:
                answers[row] = HIT
                keys[row] = self.keys.known.get(read_key(past[rule], self._entity), -1)
