"""Records and decisions of large batches as tests: whatever an adapter makes of them, they read as any others.

A part of `contracts.log`.
"""

from __future__ import annotations

from hashlib import sha256
from itertools import chain
from pathlib import Path

import pytest

from shroff.errors import StateError
from shroff.runtime.values import replace
from shroff.streams.log import Batch, DecisionRow, Log, Record
from tests.support.contracts.log import LogCase
from tests.support.log_rows import payments, record


class LogLargeBatchContract(LogCase):
    """The log contract: records and decisions of large batches."""

    def test_decisions_of_large_batches_read_as_those_of_small_ones(self, log: Log, tmp_path: Path) -> None:
        mixed = payments(4, 700)
        mixed.records = [  # a label and what is not decided stand between them
            row if at % 7 else record(at + 4, kind="label", type="label", id=f"l-{at}")
            for at, row in enumerate(mixed.records)
        ]
        undecided = {record.seq for record in mixed.records if record.kind == "label" or record.seq % 11 == 0}
        made = [_sealed(decision) for decision in mixed.decisions if decision.seq not in undecided]
        mixed.decisions, mixed.hits = made, [hit for hit in mixed.hits if hit.seq not in undecided]
        batches = [payments(1, 3), mixed, payments(704, 5), payments(709, 300)]
        for batch in batches:
            log.append(batch)
        decisions = [decision for batch in batches for decision in batch.decisions]
        outcomes = {decision.seq: b"%d %s\n" % (decision.seq, decision.outcome.encode()) for decision in decisions}

        reader = self.make_reader(tmp_path)
        for each in (log, reader):
            for after, upto, size in ((0, None, 4_096), (0, None, 100), (2, 700, 256), (300, 301, 9), (3, 4, 1)):
                last = upto or 10_000
                found = [row for part in each.decisions.after(after, upto, size) for row in part]
                assert found == [decision for decision in decisions if after < decision.seq <= last]
                assert all(len(part) <= size for part in each.decisions.after(after, upto, size))
                lines = b"".join(each.decisions.outcome_lines(after, upto, size))
                assert lines == b"".join([line for seq, line in outcomes.items() if after < seq <= last])
            for wanted in (decisions[1:500:3], decisions[-1:], decisions[:2] + decisions[400:402]):
                ids = [record.id for record in wanted]
                assert each.decisions.of("payment", [*ids, "nobody", "p-22"]) == dict(zip(ids, wanted, strict=True))
            assert each.decisions.of("login", [decisions[0].id]) == {}
        reader.close()

    def test_records_of_large_batches_read_as_those_of_small_ones(self, log: Log, tmp_path: Path) -> None:
        batches = [
            Batch(records=part) for part in (_mixed(1, 3), _mixed(4, 2_500), _mixed(2_504, 5), _mixed(2_509, 300))
        ]
        for batch in batches:
            log.append(batch)
        records = [record for batch in batches for record in batch.records]
        lines = [b"%c%d%s %s\n" % (ord(x.kind[0]), x.decided, x.type.encode(), x.body) for x in records]

        reader = self.make_reader(tmp_path)
        for each in (log, reader):
            assert each.last_seq() == 2_808
            for after, upto, size in (
                (0, None, 4_096),
                (0, None, 100),
                (2, 2_400, 256),
                (300, 301, 9),
                (2_500, None, 7),
            ):
                last, parts = upto or 2_808, list(each.read(after, upto, size))
                assert list(chain.from_iterable(parts)) == records[after:last]
                assert all(len(part) <= size for part in parts)
                assert b"".join(each.lines(after, upto, size)) == b"".join(lines[after:last])
                labels = list(chain.from_iterable(each.labels_after(after, upto, size)))
                assert labels == [record for record in records[after:last] if record.kind == "label"]
                assert each.controls(after, upto) == [
                    record for record in records[after:last] if record.kind == "control"
                ]
            for wanted in (records[1:2_000:3], records[-1:], records[:2] + records[400:402] + records[2_502:2_510]):
                assert each.records_at([9_999, *(record.seq for record in wanted)]) == {
                    record.seq: record for record in wanted
                }
                payments_ = {record.id: record for record in wanted if record.type == "payment"}
                assert each.find("payment", [*(record.id for record in wanted), "nobody"]) == payments_
            assert each.find("login", [records[0].id]) == {}
        reader.close()

    def test_an_id_is_taken_by_batches_of_any_size(self, log: Log) -> None:
        for batch in (payments(1, 3), payments(4, 300)):
            log.append(batch)
        for count in (1, 300):
            for id_ in ("p-2", "p-7"):
                *before, last = payments(304, count).records
                batch = Batch(records=[*before, replace(last, id=id_)])
                with pytest.raises(
                    StateError, match=f"payment/{id_} is already in the log at sequence number {id_[2:]}"
                ):
                    log.append(batch)
            *before, last = payments(304, count + 1).records
            batch = Batch(records=[*before, replace(last, id="p-304")])
            with pytest.raises(StateError, match="payment/p-304 is already in the log"):
                log.append(batch)
        assert log.last_seq() == 303

    def test_a_large_batch_is_pruned_at_any_place(self, log: Log, tmp_path: Path) -> None:
        large, control = payments(1, 600), record(2, "c-2", type="control", kind="control")
        large.records = [large.records[0], control, *large.records[2:]]
        large.decisions = [large.decisions[0], *large.decisions[2:]]
        log.append(large)
        log.append(payments(601, 2))
        records = list(chain.from_iterable(log.read()))
        before, ids = list(chain.from_iterable(log.decisions.after())), [record(seq).id for seq in range(1, 603)]
        for stop in (1, 299, 300, 301, 599, 601):
            assert log.prune(stop) == stop
            assert list(chain.from_iterable(log.read(stop))) == records[stop:]
            assert b"".join(log.lines(stop)).count(b"\n") == 602 - stop
            assert log.controls() == [control]
            assert log.find("payment", ids) == {
                record.id: record for record in records[stop:] if record.type == "payment"
            }
            assert log.pruned_places("payment", ids) == {
                record.id: record.seq for record in records[:stop] if record != control
            }
            kept = [decision for decision in before if decision.seq > stop]
            assert list(chain.from_iterable(log.decisions.after(stop))) == kept
            assert b"".join(log.decisions.outcome_lines(stop)) == b"".join(
                [b"%d approve\n" % decision.seq for decision in kept]
            )
            assert log.decisions.of("payment", ids) == {decision.id: decision for decision in kept}
        log.append(payments(603, 300))
        log.close()
        again = self.make_log(tmp_path)
        assert list(chain.from_iterable(again.read(601))) == [records[-1], *payments(603, 300).records]
        assert b"".join(again.lines(601, size=2)).count(b"\n") == 301
        again.close()


def _mixed(first: int, count: int) -> list[Record]:
    """Records of all kinds; ids that their bodies have, and have not; times that go back, and that are far apart."""
    records = [record(seq, at=(-seq if seq % 5 else seq * 10**9)) for seq in range(first, first + count)]
    for at, row in enumerate(records):
        if row.seq % 50 == 7:
            records[at] = replace(row, kind="label", type="label", id=f"l-{row.seq}", decided=False)
        elif row.seq % 900 == 8:
            records[at] = replace(row, kind="control", type="control", id=f"c-{row.seq}", decided=False)
        elif row.seq % 3 == 0:
            id_ = f'{row.seq} caf\u00e9 "{"x" * (row.seq % 40)}"'
            records[at] = replace(row, id=id_, body=b'{"id":"%s"}' % id_.encode(), decided=row.seq % 2 == 0)
    return records


def _sealed(decision: DecisionRow) -> DecisionRow:
    """A decision whose document ends with its receipt, or has it elsewhere, or not at all."""
    receipt = sha256(decision.document).digest()
    shown = [b'{"receipt":"sha256:%s"}', b'{"receipt":"sha256:%s","exploration":{"explored":true}}', b'{"no":"%.9s"}']
    document = shown[decision.seq % 3] % receipt.hex().encode()
    return replace(
        decision, receipt=receipt, document=document, outcome=("approve", "review", "decline")[decision.seq % 3]
    )
