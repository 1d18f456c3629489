"""Cases in the database of the log, beside people's tables and in their transactions: SQLite, PostgreSQL, MariaDB."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from sqlalchemy import Connection, Table, Update, bindparam, delete, insert, update

from shroff.adapters.cases.questions import CASE_COLUMNS, CaseLooking, alert_values, case_values
from shroff.adapters.cases.schema import CaseTables, case_tables
from shroff.adapters.people.sql import SqlPeople
from shroff.cases.case import WRITTEN, Alert, Attached, Case, Happened, Pending, View
from shroff.cases.store import CaseChange, CaseLook
from shroff.people.store import Change, PeopleStore

_CASE_KEY = ("number",)
_CASE_REST = tuple(name for name in CASE_COLUMNS if name not in _CASE_KEY)
_ALERT_KEY = ("seq", "entity")
_ANSWERED = ("verdict", "decided_ms", "decided_by", "label", "label_source", "label_ms", "customer")


class SqlCases:
    """Keeps every promise of `cases.store.CaseStore`, in the database that people are kept in.

    Cost in SQLite: 0.3 ms and a flush for what a click changes; 10 ms for 200 alerts of 100 cases.
    """

    def __init__(self, people: SqlPeople) -> None:
        self._people, self.changes = people, 0
        self._tables = case_tables(people.database.prefix)

    @contextmanager
    def look(self) -> Iterator[CaseLook]:
        with self._people.database.transaction(is_change=False) as connection:
            yield CaseLooking(connection, self._tables)

    @contextmanager
    def change(self) -> Iterator[CaseChange]:
        with self._people.change_beside() as (people, connection):
            yield CaseChanging(connection, self._tables, people)
        self.changes += 1


def beside(people: PeopleStore) -> SqlCases:
    """Cases in the database that people are kept in."""
    assert isinstance(people, SqlPeople), "cases are kept where our own store keeps people"
    return SqlCases(people)


class CaseChanging(CaseLooking):
    """One transaction that changes cases."""

    def __init__(self, connection: Connection, found: CaseTables, people: Change) -> None:
        super().__init__(connection, found)
        self._people = people

    @property
    def people(self) -> Change:
        return self._people

    def put_place(self, seq: int, last_case: int) -> None:
        self._run(update(self._tables.case_place).values({"seq": seq, "last_case": last_case}))

    def add_cases(self, cases: Sequence[Case]) -> None:
        self._run_all(insert(self._tables.cases), [case_values(case) for case in cases])

    def put_cases(self, cases: Sequence[Case]) -> None:
        self._put(self._tables.cases, _CASE_KEY, _CASE_REST, map(case_values, cases))

    def add_alerts(self, alerts: Sequence[Alert]) -> None:
        self._run_all(insert(self._tables.case_alerts), [alert_values(alert) for alert in alerts])

    def put_alerts(self, alerts: Sequence[Alert]) -> None:
        self._put(self._tables.case_alerts, _ALERT_KEY, _ANSWERED, map(alert_values, alerts))

    def add_history(self, rows: Sequence[Happened]) -> None:
        names = self._tables.case_history.c.keys()[1:]
        values = [
            dict(zip(names, (row.case, row.at_ms, row.who, row.name, row.what, row.words, row.more), strict=True))
            for row in rows
        ]
        self._run_all(insert(self._tables.case_history), values)

    def add_pending(self, pending: Pending) -> int:
        return self._add(self._tables.case_pending, self._pending_values(pending))

    def put_pending(self, pending: Pending) -> None:
        table = self._tables.case_pending
        self._run(update(table).where(table.c.number == pending.number).values(self._pending_values(pending)))

    def end_pending(self, number: int) -> None:
        table = self._tables.case_pending
        self._run(delete(table).where(table.c.number == number))

    def attach(self, attached: Attached, content: bytes) -> Attached:
        table = self._tables.case_files
        parts = [getattr(attached, name) for name in Attached.__struct_fields__[1:]]
        number = self._add(table, dict(zip(table.c.keys()[1:], (*parts, content), strict=True)))
        return Attached(number, *parts)

    def forget(self, cases: Collection[int]) -> None:
        history, files = self._tables.case_history, self._tables.case_files
        for case in cases:
            is_written = (history.c.case_ == case) & history.c.what.in_(WRITTEN)
            self._run(update(history).where(is_written).values({"words": ""}))
            self._run(delete(files).where(files.c.case_ == case))

    def put_view(self, view: View) -> None:
        table = self._tables.case_views
        self.remove_view(view.owner, view.name)
        parts = (view.owner, view.name, view.owner_name, int(view.is_shared), view.query, view.changed_ms)
        self._run(insert(table).values(dict(zip(table.c.keys(), parts, strict=True))))

    def remove_view(self, owner: str, name: str) -> bool:
        table = self._tables.case_views
        return bool(self._run(delete(table).where(table.c.owner == owner, table.c.name == name)).rowcount)

    # Below: how statements are run

    def _pending_values(self, pending: Pending) -> dict[str, Any]:
        names = self._tables.case_pending.c.keys()[1:]
        parts = (
            pending.kind,
            pending.who,
            pending.name,
            pending.who_kind,
            pending.role,
            pending.at_ms,
            pending.due_ms,
            pending.body.decode(),
        )
        return dict(zip(names, parts, strict=True))

    def _run(self, statement: Any) -> Any:
        return self._connection.execute(statement)

    def _run_all(self, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
        """Run a statement for each of these rows; for none it is not run at all."""
        if rows:
            self._connection.execute(statement, rows)

    def _put(
        self, table: Table, key: tuple[str, ...], names: tuple[str, ...], rows: Iterable[Mapping[str, Any]]
    ) -> None:
        """Have the rows of these keys hold these values in some columns."""
        self._run_all(
            _putting(table, key, names),
            [
                {**{f"of_{name}": row[name] for name in key}, **{f"to_{name}": row[name] for name in names}}
                for row in rows
            ],
        )

    def _add(self, table: Any, values: dict[str, Any]) -> int:
        """Keep a row whose number the database gives."""
        made = self._connection.execute(insert(table).values(values)).inserted_primary_key
        assert made is not None
        return int(made[0])


@cache
def _putting(table: Table, key: tuple[str, ...], names: tuple[str, ...]) -> Update:
    changed = update(table).where(*(table.c[name] == bindparam(f"of_{name}") for name in key))
    return changed.values({name: bindparam(f"to_{name}") for name in names})
