"""Decisions of large batches as tests: whatever an adapter makes of them, they read as any others.

A part of `contracts.log`.
"""

from __future__ import annotations

from abc import abstractmethod
from hashlib import sha256
from itertools import chain
from pathlib import Path

from msgspec.structs import replace

from shroff.streams.log import DecisionRow, Log
from shroff.testing.contracts.promises import Contract
from shroff.testing.rows import payments, record


class LogLargeBatchContract(Contract):
    """The log contract: decisions of large batches."""

    @abstractmethod
    def make_log(self, folder: Path) -> Log:
        """Open the log in this folder for writing, a new one where there is none."""

    @abstractmethod
    def make_reader(self, folder: Path) -> Log:
        """Open the log in this folder for reading, beside a writer."""

    def test_decisions_of_large_batches_read_as_those_of_small_ones(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        mixed = payments(4, 700)
        for at in range(0, 700, 7):  # a label and what is not decided stand between them
            mixed.records[at] = record(at + 4, kind="label", type="label", id=f"l-{at}")
        undecided = {one.seq for one in mixed.records if one.kind == "label" or one.seq % 11 == 0}
        made = [_sealed(one) for one in mixed.decisions if one.seq not in undecided]
        mixed.decisions, mixed.hits = made, [one for one in mixed.hits if one.seq not in undecided]
        batches = [payments(1, 3), mixed, payments(704, 5), payments(709, 300)]
        for batch in batches:
            log.append(batch)
        decisions = [one for batch in batches for one in batch.decisions]
        outcomes = {one.seq: b"%d %s\n" % (one.seq, one.outcome.encode()) for one in decisions}

        reader = self.make_reader(tmp_path)
        for each in (log, reader):
            for after, upto, size in ((0, None, 4_096), (0, None, 100), (2, 700, 256), (300, 301, 9), (3, 4, 1)):
                last = upto or 10_000
                found = [one for part in each.decisions_after(after, upto, size) for one in part]
                assert found == [one for one in decisions if after < one.seq <= last]
                assert all(len(part) <= size for part in each.decisions_after(after, upto, size))
                lines = b"".join(each.outcome_lines(after, upto, size))
                assert lines == b"".join([line for seq, line in outcomes.items() if after < seq <= last])
            for wanted in (decisions[1:500:3], decisions[-1:], decisions[:2] + decisions[400:402]):
                ids = [one.id for one in wanted]
                assert each.decisions("payment", [*ids, "nobody", "p-22"]) == dict(zip(ids, wanted, strict=True))
            assert each.decisions("login", [decisions[0].id]) == {}
        reader.close()
        log.close()

    def test_a_large_batch_is_pruned_at_any_place(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(payments(1, 600))
        log.append(payments(601, 2))
        before, ids = list(chain.from_iterable(log.decisions_after())), [record(seq).id for seq in range(1, 603)]
        for stop in (1, 299, 300, 301, 599, 601):
            assert log.prune(stop) == stop
            assert list(chain.from_iterable(log.decisions_after(stop))) == before[stop:]
            assert b"".join(log.outcome_lines(stop)) == b"".join(
                [b"%d approve\n" % seq for seq in range(stop + 1, 603)]
            )
            assert log.decisions("payment", ids) == {one.id: one for one in before[stop:]}
        log.close()


def _sealed(one: DecisionRow) -> DecisionRow:
    """A decision whose document ends with its receipt, or has it elsewhere, or not at all."""
    receipt = sha256(one.document).digest()
    shown = [b'{"receipt":"sha256:%s"}', b'{"receipt":"sha256:%s","exploration":{"explored":true}}', b'{"no":"%.9s"}']
    document = shown[one.seq % 3] % receipt.hex().encode()
    return replace(one, receipt=receipt, document=document, outcome=("approve", "review", "decline")[one.seq % 3])
