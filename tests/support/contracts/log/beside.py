"""Personal values and late events of a log, as tests. A part of `contracts.log`."""

from __future__ import annotations

from pathlib import Path

import pytest

from shroff.errors import StateError
from shroff.streams.log import Batch, Counts, HitRow, Log, PersonalValue
from shroff.testing.contracts.promises import ODD_IDS
from tests.support.contracts.log import LogCase
from tests.support.log_rows import NOW_MS, contents, flag, late, payments, personal, record


class LogBesideContract(LogCase):
    """The log contract: data beside its events."""

    def test_a_batch_may_set_the_watermark_and_later_events_move_it_on_from_there(self, log: Log) -> None:
        log.append(Batch(records=[record(1, at=90)]))
        log.append(Batch(records=[record(2, kind="control", at=0)], watermark_ms=NOW_MS + 20))
        seen = [log.watermark_ms()]
        for seq, at in ((3, 10), (4, 30)):
            log.append(Batch(records=[record(seq, at=at)]))
            seen.append(log.watermark_ms())

        assert seen == [NOW_MS + 20, NOW_MS + 20, NOW_MS + 30]

    def test_personal_values_are_found_by_their_event(self, log: Log) -> None:
        log.append(Batch(personal=[personal("p-1"), personal("p-1", "phone", "+1"), personal("p-2")]))
        log.append(Batch(personal=[PersonalValue("login", "p-1", "email", "x")]))

        email = personal("p-1").value
        assert log.personal.of("payment", ["p-1", "p-2", "p-3"]) == {
            "p-1": {"email": email, "phone": "+1"},
            "p-2": {"email": email},
        }
        assert log.personal.of("login", ["p-1", "p-2"]) == {"p-1": {"email": "x"}}
        assert log.personal.of("payment", []) == {}

    def test_what_is_erased_is_gone_and_nothing_else(self, log: Log) -> None:
        batch = payments(1, 3)
        batch.personal = [personal(record.id) for record in batch.records]
        log.append(batch)
        before = contents(log)[:6]
        ids = [record.id for record in batch.records]
        log.append(Batch(erased=[("payment", ids[0]), ("login", ids[1]), ("payment", "never there")]))

        assert sorted(log.personal.of("payment", ids)) == sorted(ids[1:])
        assert contents(log)[:6] == before
        log.append(Batch(erased=[("payment", ids[1])], personal=[personal(ids[1], "phone", "+1")]))
        assert log.personal.of("payment", ids)[ids[1]] == {"phone": "+1"}

    def test_many_are_erased_at_once(self, log: Log) -> None:
        ids = [f"p-{number}" for number in range(3_000)]
        log.append(Batch(personal=[personal(id_) for id_ in ids]))
        log.append(Batch(erased=[("payment", id_) for id_ in ids[1:]]))

        assert list(log.personal.of("payment", ids)) == ids[:1]

    def test_late_events_are_kept_without_a_place_in_the_order_of_their_names(self, log: Log) -> None:
        rows = [late("b"), late("B"), late("a"), late("z", "login")]
        log.append(Batch(late=rows))
        in_order = [rows[3], rows[1], rows[2], rows[0]]

        assert log.late.after() == in_order
        assert log.late.after("login", "z", 2) == in_order[1:3]
        assert log.late.with_ids("payment", ["a", "z", "b"]) == {"a": rows[2], "b": rows[0]}
        assert (log.last_seq(), log.watermark_ms(), log.counts()) == (0, None, Counts(0, 0, 0, 0, 4))

    def test_odd_ids_of_what_lies_beside_stay_as_they_are(self, log: Log) -> None:
        log.append(
            Batch(personal=[personal(id_, value=id_ or "-") for id_ in ODD_IDS], late=[late(id_) for id_ in ODD_IDS])
        )

        assert log.personal.of("payment", ODD_IDS) == {id_: {"email": id_ or "-"} for id_ in ODD_IDS}
        assert log.late.with_ids("payment", ODD_IDS) == {id_: late(id_) for id_ in ODD_IDS}

    def test_a_refused_batch_leaves_what_lies_beside_as_it_was(self, log: Log) -> None:
        log.append(Batch(personal=[personal("p-1")], late=[late("p-2")]))
        with pytest.raises(StateError):
            log.append(Batch(records=[record(7)], erased=[("payment", "p-1")], late=[late("p-3")]))

        assert list(log.personal.of("payment", ["p-1"])) == ["p-1"]
        assert log.late.after() == [late("p-2")]

    def test_what_lies_beside_is_there_after_a_start(self, tmp_path: Path) -> None:
        log = self.make_log(tmp_path)
        log.append(Batch(personal=[personal("p-1")], late=[late("p-2")]))
        log.close()
        log = self.make_log(tmp_path)

        assert log.personal.of("payment", ["p-1"]) == {"p-1": {"email": personal("p-1").value}}
        assert log.late.after() == [late("p-2")]
        log.close()


class LogFlagsContract(LogCase):
    """The log contract: flags and hits."""

    def test_several_flags_and_hits_of_one_event_keep_their_order(self, log: Log) -> None:
        flags = [flag(1, "b"), flag(1, "a"), flag(1, "a", "c2"), flag(2, "c"), flag(2, "b")]
        hits = [HitRow(each.seq, each.rule, each.key, shadow=each.rule == "b") for each in flags]
        log.append(Batch(records=[record(1), record(2)], flags=flags, hits=hits))

        assert [row for part in log.flags.after(size=2) for row in part] == flags
        assert [row for part in log.hits.after(size=1) for row in part] == hits
        assert [row for part in log.hits.after(after=1) for row in part] == hits[3:]

    def test_flags_of_a_key_come_newest_first_and_go_on_where_they_ended(self, log: Log) -> None:
        flags = [flag(1, "b"), flag(1, "a"), flag(1, "a", "c2"), flag(2, "c"), flag(2, "b"), flag(3, "a", "C")]
        log.append(Batch(records=[record(1), record(2), record(3)], flags=flags))
        entity, key = flags[0].entity, flags[0].key
        newest_first = [flags[4], flags[3], flags[1], flags[0]]

        assert log.flags.of(entity, key) == newest_first
        assert log.flags.of(entity, key, limit=3) == newest_first[:3]
        assert log.flags.of(entity, key, (1, "a"), limit=3) == newest_first[3:]
        assert log.flags.of(entity, "c2") == [flags[2]]
        assert log.flags.of("other", key) == log.flags.of(entity, "nobody") == []
