"""Queries of the case store, with SQLAlchemy."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Executable,
    Select,
    Table,
    Text,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
)
from sqlalchemy import case as case_when
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from shroff.cases.case import (
    CHECKED,
    CLAIMED,
    CLOSED,
    DISPUTED,
    DONE,
    ESCALATED,
    FRAUD,
    OPEN,
    RESOLVED,
    SCORE_PARTS,
    SECOND,
    SNOOZED,
    UNCLOSED,
    URGENT_STAKE_MAX,
    URGENT_STEP,
    Agreement,
    Alert,
    Attached,
    Case,
    CaseActivity,
    CaseFilter,
    Closer,
    Cursor,
    Happened,
    Pending,
    Totals,
    View,
)
from shroff.cases.case_history import DISAGREED
from shroff.cases.filters import LARGEST
from shroff.cases.sql_tables import CaseTables
from shroff.engine.exploration import SAMPLED
from shroff.language.values import DAY_MS
from shroff.people.access import RIGHTS, Right, Role
from shroff.people.sql import parts_of, tables
from shroff.people.store import User
from shroff.runtime.texts import escaped
from shroff.runtime.values import replace

_ANSWERS = ("decided", "undone")  # history entries that show whether somebody answered
_RENAMED = {"key": "key_", "rule": "rule_", "look": "look_", "case": "case_"}  # names that are words of SQL
CASE_COLUMNS = tuple(_RENAMED.get(name, name) for name in Case.__struct_fields__)
ALERT_COLUMNS = tuple(_RENAMED.get(name, name) for name in Alert.__struct_fields__)
_case_parts = attrgetter(*Case.__struct_fields__)
_alert_parts = attrgetter(*Alert.__struct_fields__)


@dataclass
class CaseFigures:
    """Figures of cases and of the people who work on them, on one connection."""

    _connection: Connection
    _tables: CaseTables

    def done_since(self, start_ms: int, who: str = "") -> CaseActivity:
        """Count decisions and closed cases since a moment of the clock, and opened cases by event time.

        Cases closed by labels do not count. With `who`, only that user's decisions and closed cases count.
        """
        cases = self._tables.cases
        alerts = self._tables.case_alerts

        def count(column: ColumnElement[Any], *more: ColumnElement[bool]) -> int:
            return int(_rows(self._connection, select(func.count()).where(column >= start_ms, *more))[0][0])

        closed_by = cases.c.closed_by
        decided_by = alerts.c.decided_by
        closed_count = count(cases.c.closed_ms, closed_by == who if who else closed_by != "")
        answered = count(alerts.c.decided_ms, *([decided_by == who] if who else []))
        return CaseActivity(answered, closed_count, count(cases.c.opened_ms))

    def closers(self, start_ms: int) -> Sequence[Closer]:
        """Count cases that each person closed, and answered, since a moment; most closed first.

        A second look that disagreed is closed by a third person, but counts for the second person too.
        """
        table = self._tables.cases
        closed = func.count()
        is_look = table.c.look_ == DONE
        looks = func.sum(case_when((is_look, 1), else_=0))
        agreed = func.sum(case_when((and_(is_look, table.c.verdict == table.c.first_verdict), 1), else_=0))
        of_people = and_(table.c.state == CLOSED, table.c.closed_ms >= start_ms, table.c.closed_by != "")
        query = select(table.c.closed_by, func.max(table.c.closed_name), closed, looks, agreed).where(of_people)
        closers = {
            str(who): Closer(str(name), *map(int, counts))
            for who, name, *counts in _rows(self._connection, query.group_by(table.c.closed_by))
        }
        for who, name, answered in _answered(self._connection, self._tables.case_history, start_ms):
            closers[str(who)] = replace(closers.get(str(who), Closer(str(name), 0, 0, 0)), answered=int(answered))
        history = self._tables.case_history
        disputes = select(table.c.first_by).where(table.c.number == history.c.case_, history.c.what == DISAGREED)
        for (people,) in _rows(self._connection, disputes.where(history.c.at_ms >= start_ms)):
            second = str(people).rpartition(" ")[2]
            if second in closers:
                closers[second] = replace(closers[second], looks=closers[second].looks + 1)
        return sorted(closers.values(), key=lambda person: (-person.closed, -person.answered, person.name))

    def closings(self, mark: str, closed_name: str, since_ms: int) -> dict[bool, tuple[int, int, int, int]]:
        """Count cases in the sample of a closing rule (key True) and cases that it closed (key False), closed since a
        moment or still open.

        The values are: number of cases, cases known to be fraud or genuine, known frauds, and the newest fraud's case
        number.
        """
        table = self._tables.cases
        alerts = self._tables.case_alerts
        says_fraud = or_(alerts.c.label == FRAUD, alerts.c.verdict == FRAUD)
        is_fraud = exists().where(alerts.c.case_ == table.c.number, says_fraud)
        is_known = or_(is_fraud, table.c.verdict == "genuine")
        parts = ((is_known, 1), (is_fraud, 1))
        sums = [func.sum(case_when((condition, value), else_=0)) for condition, value in parts]
        newest = func.max(case_when((is_fraud, table.c.number), else_=0))
        query = select(table.c.auto_close, func.count(), *sums, newest).where(
            table.c.auto_close.in_((mark, mark + CHECKED)),
            or_(table.c.auto_close != mark, table.c.closed_name == closed_name),
            or_(table.c.closed_ms >= since_ms, table.c.closed_ms.is_(None)),
        )
        rows = _rows(self._connection, query.group_by(table.c.auto_close))
        return {
            name != mark: (int(count), int(known), int(frauds), int(last)) for name, count, known, frauds, last in rows
        }

    def since(self, start_ms: int) -> tuple[list[Alert], dict[int, int]]:
        """Return alerts of cases opened since a moment, in the order of the log, and the time of each case's first
        history entry.

        Entries of closing rules do not count.
        """
        table = self._tables.cases
        alerts = self._tables.case_alerts
        history = self._tables.case_history
        numbers = select(table.c.number).where(table.c.opened_ms >= start_ms)
        query = select(alerts).where(alerts.c.case_.in_(numbers)).order_by(alerts.c.seq, alerts.c.entity)
        first_touch = select(history.c.case_, func.min(history.c.at_ms)).where(
            history.c.case_.in_(numbers), history.c.what.not_in(("auto_closed", "sampled"))
        )
        first = _rows(self._connection, first_touch.group_by(history.c.case_))
        return [_alert(row) for row in _rows(self._connection, query)], {int(case): int(at_ms) for case, at_ms in first}

    def tagged(self, start_ms: int | None = None) -> Counter[tuple[str, str]]:
        table = self._tables.cases
        counts = Counter[tuple[str, str]]()
        condition = table.c.state.in_(UNCLOSED) if start_ms is None else table.c.closed_ms >= start_ms
        query = select(table.c.tags, table.c.verdict, func.count()).where(table.c.tags != "", condition)
        for tags, verdict, count in _rows(self._connection, query.group_by(table.c.tags, table.c.verdict)):
            for tag in tags.split():
                counts[tag, verdict] += count
        return counts

    def worked_ms(self, start_ms: int, end_ms: int, lock_ms: int) -> int:
        """Sum the time from claim to decision of decisions in [start, end), each at most the length of a lock."""
        table = self._tables.case_history
        claimed_ms = dict[tuple[int, str], int]()
        worked_ms = 0
        query = select(table.c.case_, table.c.who, table.c.what, table.c.at_ms).order_by(table.c.number)
        # The claim may lie before `start_ms`
        is_near = table.c.at_ms.between(start_ms - lock_ms - DAY_MS, end_ms - 1)
        is_meant = and_(table.c.what.in_(("claimed", "decided")), is_near, table.c.who != "")
        for case, who, what, at_ms in _rows(self._connection, query.where(is_meant)):
            if what == "claimed":
                claimed_ms[case, who] = at_ms
            elif at_ms >= start_ms:
                worked_ms += min(at_ms - claimed_ms.pop((case, who), at_ms), lock_ms)
        return worked_ms

    def agreement(self) -> Agreement:
        table = self._tables.cases

        def count(*conditions: ColumnElement[bool]) -> int:
            return int(_rows(self._connection, select(func.count()).select_from(table).where(*conditions))[0][0])

        is_closed = table.c.state == CLOSED
        is_open = table.c.state.in_(UNCLOSED)
        is_done = and_(table.c.look_ == DONE, is_closed)
        return Agreement(
            count(table.c.look_ == SECOND, is_open),
            count(or_(is_done, table.c.look_.in_((DISPUTED, RESOLVED)))),
            count(is_done, table.c.verdict == table.c.first_verdict),
            count(table.c.look_ == DISPUTED, is_open),
        )


@dataclass
class CaseReader(CaseFigures):
    """Queries of cases, on one connection.

    Texts are compared exactly; the text of a filter ignores the case of ASCII letters.
    """

    def place(self) -> tuple[int, int]:
        """Return the sequence number up to which alerts were raised, and the number of the newest case."""
        seq, last_case = _rows(self._connection, _place(self._tables))[0]
        return int(seq), int(last_case)

    def case(self, number: int) -> Case | None:
        return self.cases([number]).get(number) if abs(number) <= LARGEST else None

    def cases(self, numbers: Collection[int]) -> dict[int, Case]:
        table = self._tables.cases
        row_parts = (
            _rows(self._connection, select(table).where(table.c.number.in_(part))) for part in parts_of(numbers)
        )
        return {row[0]: Case(*row) for rows in row_parts for row in rows}

    def queue(
        self, filters: CaseFilter, order: str = "due", after: Cursor | None = None, limit: int = 50
    ) -> list[Case]:
        """Return matching cases in an order of `case.ORDERS`: least time left, `urgency`, highest stake, highest score,
        newest.

        Ties are ordered by number.
        """
        table = self._tables.cases
        query = select(table).where(*_conditions(self._tables, filters))
        columns: dict[str, ColumnElement[Any]] = {"due": table.c.due_ms, "newest": table.c.number}
        if order == "urgent":
            columns["urgent"] = _urgency(table.c, filters.soon_ms)
        is_down = order not in {"due", "urgent"}
        value = columns[order] if order in columns else func.coalesce(table.c[order], -1)
        if after is not None:
            query = query.where(_behind(value, table.c.number, after, is_down=is_down))
        query = query.order_by(value.desc() if is_down else value, table.c.number)
        return [Case(*row) for row in _rows(self._connection, query.limit(limit))]

    def totals(self, filters: CaseFilter) -> Totals:
        """Return number and stake of the matching cases. Cost: reads all of their rows."""
        table = self._tables.cases
        figures = func.count(), func.sum(table.c.stake), func.min(table.c.opened_ms)
        ((count, stake, oldest_ms),) = _rows(
            self._connection, select(*figures).select_from(table).where(*_conditions(self._tables, filters))
        )
        return Totals(int(count), None if stake is None else int(stake), oldest_ms)

    def count(self, filters: CaseFilter) -> int:
        """Count the matching cases. Cost: for a filter of states alone, an index scan."""
        query = select(func.count()).select_from(self._tables.cases).where(*_conditions(self._tables, filters))
        return int(_rows(self._connection, query)[0][0])

    def open_about(self, abouts: Collection[bytes]) -> dict[bytes, Case]:
        """Return the newest open case for each hash of entity and key."""
        cases: dict[bytes, Case] = {}
        for part in parts_of(abouts):
            rows = self._connection.execute(_open_about(self._tables), {"abouts": part}).all()
            cases |= {bytes(row[1]): Case(*row) for row in rows}
        return cases

    def alerts(self, case: int, limit: int = 1_000) -> list[Alert]:
        """Return the newest alerts of a case, in the order of the log."""
        table = self._tables.case_alerts
        query = select(table).filter_by(case_=case).order_by(table.c.seq.desc(), table.c.entity.desc())
        return [_alert(row) for row in reversed(_rows(self._connection, query.limit(limit)))]

    def alerts_of(self, events: Collection[tuple[str, str]]) -> list[Alert]:
        table = self._tables.case_alerts
        parts = parts_of([event_hash(event, id_) for event, id_ in events])
        queries = (select(table).where(table.c.event_hash.in_(part)) for part in parts)
        rows = (row for part in queries for row in _rows(self._connection, part))
        return sorted(map(_alert, rows), key=lambda alert: alert.place)

    def alerts_at(self, keys: Collection[tuple[int, str]]) -> list[Alert]:
        """Return the alerts with these primary keys, whatever their case is now."""
        table = self._tables.case_alerts
        parts = parts_of([seq for seq, _ in keys])
        rows = (row for part in parts for row in _rows(self._connection, select(table).where(table.c.seq.in_(part))))
        return sorted((alert for alert in map(_alert, rows) if alert.place in keys), key=lambda alert: alert.place)

    def history(self, case: int, limit: int = 1_000) -> list[Happened]:
        """Return the newest history entries of a case, oldest first."""
        table = self._tables.case_history
        query = select(table).filter_by(case_=case).order_by(table.c.number.desc()).limit(limit)
        return [Happened(*row) for row in reversed(_rows(self._connection, query))]

    def attached(self, case: int) -> list[Attached]:
        table = self._tables.case_files
        columns = [column for column in table.c if column.name != "content"]
        return [
            Attached(*row)
            for row in _rows(self._connection, select(*columns).where(table.c.case_ == case).order_by(table.c.number))
        ]

    def file(self, number: int) -> tuple[Attached, bytes] | None:
        rows = _rows(self._connection, select(self._tables.case_files).filter_by(number=number))
        return (Attached(*rows[0][:-1]), bytes(rows[0][-1])) if rows else None

    def pending(self, number: int) -> Pending | None:
        rows = _rows(self._connection, select(self._tables.case_pending).filter_by(number=number))
        return _pending(rows[0]) if rows else None

    def due(self, now_ms: int, limit: int = 100) -> list[Pending]:
        table = self._tables.case_pending
        query = select(table).where(table.c.due_ms <= now_ms).order_by(table.c.number).limit(limit)
        return [_pending(row) for row in _rows(self._connection, query)]

    def lapsed(self, now_ms: int, limit: int = 100) -> list[Case]:
        table = self._tables.cases
        is_over = or_(
            and_(table.c.state == CLAIMED, table.c.lock_ms <= now_ms),
            and_(table.c.state == SNOOZED, table.c.snoozed_ms <= now_ms),
        )
        query = select(table).where(is_over).order_by(table.c.number).limit(limit)
        return [Case(*row) for row in _rows(self._connection, query)]

    def abandoned(self, limit: int = 100) -> list[Case]:
        """Return cases assigned to users who may no longer work on them: disabled, removed, or in another role."""
        table = self._tables.cases
        users = tables()[User]
        roles = [role for role in Role if Right.WORK_CASES in RIGHTS[role]]
        able = select(literal("user-") + cast(users.c.number, Text)).where(
            users.c.is_disabled == 0, users.c.role.in_(roles)
        )
        is_users = and_(table.c.assignee > "", table.c.assignee.startswith("user-"))  # lets the database use the index
        query = select(table).where(is_users, table.c.state.in_(UNCLOSED), table.c.assignee.not_in(able))
        return [Case(*row) for row in _rows(self._connection, query.order_by(table.c.number).limit(limit))]

    def untouched(self, mark: str, until_ms: int, limit: int = 100) -> list[Case]:
        """Return open cases with the mark of a closing rule, without history or label, and without an event after a
        moment.
        """
        table = self._tables.cases
        alerts = self._tables.case_alerts
        history = self._tables.case_history
        is_late = or_(alerts.c.time_ms > until_ms, alerts.c.label != "", alerts.c.verdict != "")
        query = select(table).where(
            table.c.auto_close == mark,
            table.c.state == OPEN,
            not_(exists().where(alerts.c.case_ == table.c.number, is_late)),
            not_(exists().where(history.c.case_ == table.c.number)),
        )
        return [Case(*row) for row in _rows(self._connection, query.order_by(table.c.number).limit(limit))]

    def views(self, owner: str) -> list[View]:
        """Return a user's own and all shared views, by name."""
        table = self._tables.case_views
        query = select(table).where(or_(table.c.owner == owner, table.c.is_shared == 1))
        rows = _rows(self._connection, query.order_by(table.c.name, table.c.owner))
        return [View(row[0], row[2], row[1], bool(row[3]), *row[4:]) for row in rows]


# ---- how statements are built


def _rows(connection: Connection, statement: Executable) -> Sequence[Any]:
    return connection.execute(statement).fetchall()


def _answered(connection: Connection, table: Table, start_ms: int) -> Sequence[Any]:
    """Count each analyst's answers since a moment, without undone ones, also on cases that others closed."""
    last = {kind: func.max(case_when((table.c.what == kind, table.c.number), else_=0)) for kind in _ANSWERS}
    of_people = and_(table.c.at_ms >= start_ms, table.c.what.in_(_ANSWERS), table.c.who != "")
    query = select(table.c.who, func.max(table.c.name).label("name")).where(of_people)
    cases = query.group_by(table.c.case_, table.c.who).having(last["decided"] > last["undone"]).subquery()
    return _rows(connection, select(cases.c.who, func.max(cases.c.name), func.count()).group_by(cases.c.who))


def _conditions(tables: CaseTables, filters: CaseFilter) -> Iterator[ColumnElement[bool]]:
    table = tables.cases
    alerts = tables.case_alerts

    def has_alert(condition: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(alerts.c.case_ == table.c.number, condition)

    yield table.c.state.in_(filters.states)
    for column, value in ((table.c.entity, filters.entity), (table.c.customer, filters.customer)):
        if value:
            yield column == value
    if filters.tag:
        yield _holds(table.c.tags, f" {filters.tag} ")
    if filters.queues:
        yield table.c.queue.in_(filters.queues)
    if filters.not_queues:
        other_queues = table.c.queue.not_in(filters.not_queues)
        yield or_(other_queues, table.c.assignee == filters.not_for) if filters.not_for else other_queues
    if filters.key:
        yield table.c.key_ == filters.key
    if filters.assignees:
        yield table.c.assignee.in_(filters.assignees)
    if filters.stake_from is not None:
        yield table.c.stake >= filters.stake_from
    if filters.due_before_ms is not None:
        yield table.c.due_ms < filters.due_before_ms
    if filters.after:
        yield table.c.number > filters.after
    if filters.rule:
        yield has_alert(_holds(alerts.c.rules, f" {filters.rule} "))
    elif not (filters.entity or filters.key or filters.text) and "" in (filters.assignees or ("",)):
        yield or_(table.c.rule_ != SAMPLED, table.c.state.in_((ESCALATED, CLOSED)))
    if filters.text:
        text_matches = (_holds(column, filters.text) for column in (table.c.key_, table.c.reason))
        yield or_(*text_matches, has_alert(_holds(alerts.c.id, filters.text)))
    if filters.not_for:
        first = literal(" ") + table.c.first_by + literal(" ")
        is_free = table.c.look_.not_in((SECOND, DISPUTED))
        yield (
            is_free if filters.not_for.startswith("key-") else or_(is_free, not_(_holds(first, f" {filters.not_for} ")))
        )


def _urgency(columns: ReadOnlyColumnCollection[str, Column[Any]], soon_ms: int) -> ColumnElement[Any]:
    late = columns.due_ms < soon_ms
    denied = columns.customer == FRAUD
    stake = func.coalesce(columns.stake, 0)
    capped_stake = case_when((stake > URGENT_STAKE_MAX, URGENT_STAKE_MAX), else_=stake)
    risk = capped_stake * func.coalesce(columns.score, SCORE_PARTS) // SCORE_PARTS
    return case_when((late, 0), else_=2 * URGENT_STEP) + case_when((denied, 0), else_=URGENT_STEP) - risk


def _behind(
    value: ColumnElement[Any], number: ColumnElement[Any], after: Cursor, *, is_down: bool
) -> ColumnElement[bool]:
    is_beyond = value < after[0] if is_down else value > after[0]
    return or_(is_beyond, and_(value == after[0], number > after[1]))


def _holds(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Build a condition: the column contains a text, compared in the database's lower case."""
    plain = escaped(text).replace("/", "//").replace("%", "/%").replace("_", "/_")
    return func.lower(column).like(func.lower(literal(f"%{plain}%")), escape="/")


@cache
def _place(tables: CaseTables) -> Select[tuple[int, int]]:
    return select(tables.case_place.c.seq, tables.case_place.c.last_case)


@cache
def _open_about(tables: CaseTables) -> Select[Any]:
    table = tables.cases
    query = select(table).where(table.c.about.in_(bindparam("abouts", expanding=True)), table.c.state.in_(UNCLOSED))
    return query.order_by(table.c.number)


def event_hash(event: str, id_: str) -> bytes:
    """Return the hash under which an event is searched, since ids may be long."""
    return hashlib.sha256(f"{event}/{id_}".encode("utf-8", "surrogatepass")).digest()


def case_values(case: Case) -> Sequence[Any]:
    return _case_parts(case)


def alert_values(alert: Alert) -> Sequence[Any]:
    row = _alert_parts(alert)
    return (*row[:10], f" {' '.join(alert.rules)} ", *row[11:-2], event_hash(alert.event, alert.id), *row[-2:])


def _alert(row: Any) -> Alert:
    parts = [*row[:-3], *row[-2:]]
    parts[10] = tuple(parts[10].split())
    return Alert(*parts)


def _pending(row: Any) -> Pending:
    parts: list[Any] = [*row[:-1], row[-1].encode()]
    return Pending(*parts)
