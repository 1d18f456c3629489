"""Store of notices, in the database with the users' tables. Its scripts are in `migrations_notices/`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from types import MappingProxyType
from typing import Final

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from sqlalchemy import Connection, Table, and_, bindparam, delete, func, insert, or_, select, update

from shroff.json_types import JsonMapping
from shroff.notices.store import (
    DROPPED,
    LEFT,
    NO_ONE,
    OPEN,
    PASSED,
    WAITING,
    Due,
    OutgoingMessage,
    Question,
    QuestionCounts,
)
from shroff.people.sql import Change as PeopleChange
from shroff.people.sql import SchemaPart, StoredValues, parts_of, scripted, tables_by_type
from shroff.people.store import PeopleStore

VERSION = 1  # of the tables: number of the last script
_NOTICES_MAX = 200  # notices whose oldest letter is read
_COLUMNS: Final[Mapping[type, str]] = MappingProxyType(
    # In the form of people/sql.py
    {
        Due: "notice_dues key_:t notice:t kind:t event:t rule:t told:t at_ms:i due_ms:i is_held:b letter:t",
        OutgoingMessage: "notice_letters id:t notice:t rule:t who:h made_ms:i due_ms:i dues:t state:t attempts:i "
        "doubts:i claimed_ms:i done_ms:i reason:t shown:t",
        Question: "notice_questions id:t letter:t notice:t event:t receipt:t who:h made_ms:i ends_ms:i answer:t "
        "answered_ms:i is_released:b words:t",
    }
)


@cache
def _tables() -> Mapping[type, Table]:
    return tables_by_type(_COLUMNS)


PART = SchemaPart("notices", VERSION, partial(scripted, "migrations_notices", VERSION))


class NoticeStore:
    """Stores notices in the database of the users' tables, through its connections.

    A change is durable when `change` ends, and changes run one after another, including those of users. Any thread may
    call. Raises: as `people.store.PeopleStore`. The tables are created on first use.
    """

    def __init__(self, people: PeopleStore) -> None:
        """Prepare without opening anything. Closing the store closes `people`."""
        self._people = people

    @contextmanager
    def look(self) -> Iterator[NoticeQueries]:
        """Open a reader; each query sees the state of its own moment."""
        with self._people.look_beside(PART) as connection:
            yield NoticeQueries(connection)

    @contextmanager
    def change(self) -> Iterator[NoticeChange]:
        """Start a transaction; an exception inside rolls it back."""
        with self._people.change(PART) as people:
            yield NoticeChange(people)

    def beside(self, people: PeopleChange) -> NoticeChange:
        """Use the transaction of a user change for notices too; both end together.

        Call `look` once before, because tables cannot be created inside a transaction.
        """
        return NoticeChange(people)

    def close(self) -> None:
        """Close all connections. A second call does nothing."""
        self._people.close()


class NoticeQueries(StoredValues):
    """Queries of the store, on one connection."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, _tables())
        self._dues, self._letters, self._questions = (self._tables[kind] for kind in _COLUMNS)

    def dues_of(self, keys: Collection[str]) -> dict[str, Due]:
        """Return the existing notifications with these keys."""
        return {due.key: due for due in self._at(Due, keys)}

    def dues(self, now_ms: int, limit: int = 500) -> list[Due]:
        """Return due notifications without a letter, longest due first, those of one moment in log order."""
        table = self._dues
        query = select(table).where(table.c.letter == WAITING, table.c.due_ms <= now_ms)
        by_place = table.c.due_ms, func.length(table.c.key_), table.c.key_  # a key ends with its sequence number
        return self._all(Due, query.order_by(*by_place).limit(limit))

    def waiting(self, notice: str, limit: int = 500) -> list[Due]:
        """Return the notifications of a notice without a letter, due or not, oldest first."""
        table = self._dues
        query = select(table).where(table.c.letter == WAITING, table.c.notice == notice)
        return self._all(Due, query.order_by(table.c.at_ms, table.c.key_).limit(limit))

    def newest_due(self, notice: str, kind: str) -> Due | None:
        """Return the newest notification of a kind and notice, sent or not."""
        table = self._dues
        query = select(table).where(table.c.notice == notice, table.c.kind == kind).order_by(table.c.at_ms.desc())
        return self._first(Due, query.limit(1))

    def count_waiting(self) -> int:
        """Count the notifications without a letter."""
        table = self._dues
        return self._number(select(func.count()).select_from(table).where(table.c.letter == WAITING))

    def count_letters(self, states: Collection[str]) -> dict[str, int]:
        """Count the letters in these states, by state, without zeros."""
        table = self._letters
        query = select(table.c.state, func.count()).where(table.c.state.in_(sorted(states))).group_by(table.c.state)
        return {str(state): int(count) for state, count in self._connection.execute(query)}

    def letter(self, id: str) -> OutgoingMessage | None:
        return self.find(OutgoingMessage, id)

    def failing(self) -> list[OutgoingMessage]:
        """Return the oldest deferred letter of each notice that has sent none since that letter was made."""
        table = self._letters
        oldest = dict[str, OutgoingMessage]()
        query = select(table).where(table.c.state == OPEN, table.c.reason != "").order_by(table.c.made_ms)
        for letter in self._all(OutgoingMessage, query.limit(_NOTICES_MAX)):
            oldest.setdefault(letter.notice, letter)
        newest = select(func.max(table.c.done_ms)).where(table.c.state.in_(LEFT))
        last_sent = {name: self._connection.execute(newest.where(table.c.notice == name)).scalar() for name in oldest}
        return [letter for name, letter in oldest.items() if (last_sent[name] or 0) < letter.made_ms]

    def letters_of(self, ids: Collection[str]) -> dict[str, OutgoingMessage]:
        """Return the existing letters with these ids."""
        return {letter.id: letter for letter in self._at(OutgoingMessage, ids)}

    def open_letters(self, now_ms: int, limit: int = 100, without: Collection[str] = ()) -> list[OutgoingMessage]:
        """Return unclaimed letters due by now, longest due first.

        Letters of the notices in `without` are left out.
        """
        table = self._letters
        query = select(table).where(table.c.state == OPEN, table.c.due_ms <= now_ms, table.c.claimed_ms <= now_ms)
        if without:
            query = query.where(table.c.notice.not_in(sorted(without)))
        return self._all(OutgoingMessage, query.order_by(table.c.due_ms, table.c.id).limit(limit))

    def letters(
        self, states: Collection[str] = (), *, before: tuple[int, str] | None = None, limit: int = 100
    ) -> list[OutgoingMessage]:
        """Return letters in these states, or in all, newest first; with `before`, those after that time and id."""
        table = self._letters
        query = select(table)
        if states:
            query = query.where(table.c.state.in_(sorted(states)))
        if before is not None:
            made_ms, id_ = before
            query = query.where(or_(table.c.made_ms < made_ms, and_(table.c.made_ms == made_ms, table.c.id < id_)))
        return self._all(OutgoingMessage, query.order_by(table.c.made_ms.desc(), table.c.id.desc()).limit(limit))

    def letters_about(self, events: Collection[str]) -> list[OutgoingMessage]:
        """Return the letters about any of these events, oldest first."""
        dues = self._dues
        ids = list[str]()
        for part in parts_of(events):
            query = select(dues.c.letter).where(dues.c.event.in_(part), dues.c.letter.not_in((WAITING, PASSED)))
            ids += [str(row[0]) for row in self._connection.execute(query.distinct())]
        return sorted(self.letters_of(ids).values(), key=lambda message: (message.made_ms, message.id))

    def worded_about(self, events: Collection[str]) -> list[Due]:
        """Return notifications about these events that contain texts of people or mail servers: escalations and
        finished letters.
        """
        details_by_due = {due: from_json(due.told or "{}") for due in self._at(Due, events, "event")}
        return [due for due, more in details_by_due.items() if more.get("words") and {"user", "of"} & more.keys()]

    def sent_since(self, notice: str, rule: str, recipient_hash: bytes, since_ms: int) -> list[int]:
        """Return when letters of this notice and rule to these recipients were made after a moment, oldest first.

        Dropped letters do not count, because they notified nobody.
        """
        table = self._letters
        query = select(table.c.made_ms).where(table.c.who == recipient_hash, table.c.made_ms > since_ms)
        query = query.where(table.c.notice == notice, table.c.rule == rule, table.c.state != DROPPED)
        query = query.order_by(table.c.made_ms)
        return [int(row[0]) for row in self._connection.execute(query)]

    def question(self, id: str) -> Question | None:
        return self.find(Question, id)

    def asked_between(self, start_ms: int, end_ms: int, now_ms: int) -> QuestionCounts:
        """Count the questions asked in [start, end) by their result so far."""
        table = self._questions
        is_asked = and_(table.c.made_ms >= start_ms, table.c.made_ms < end_ms, table.c.letter != "")
        by_answer = select(table.c.answer, func.count()).where(is_asked).group_by(table.c.answer)
        counts = {str(answer): int(count) for answer, count in self._connection.execute(by_answer)}
        expired = (
            select(func.count()).select_from(table).where(is_asked, table.c.answer == "", table.c.ends_ms <= now_ms)
        )
        ended = self._number(expired)
        return QuestionCounts(counts.get("yes", 0), counts.get("no", 0), ended, counts.get("", 0) - ended)

    def appeals(self) -> list[Question]:
        """Return the undecided appeals."""
        table = self._questions
        return self._all(Question, select(table).filter_by(answer="wrong"))

    def last_made_ms(self, notice: str) -> int:
        """Return when the newest letter of a notice was made; 0 if there is none."""
        table = self._letters
        return self._number(select(func.max(table.c.made_ms)).where(table.c.notice == notice))

    def questions_about(self, events: Collection[str]) -> list[Question]:
        """Return the questions about any of these events, oldest first."""
        return sorted(self._at(Question, events, "event"), key=lambda question: (question.made_ms, question.id))


class NoticeChange(NoticeQueries):
    """One transaction on notices and users.

    Attributes:
        people: The same transaction for users: audit records, and requests to the log.
    """

    def __init__(self, people: PeopleChange) -> None:
        super().__init__(people.connection)
        self.people = people

    def add_due(self, due: Due) -> bool:
        """Add a notification; False if its key exists."""
        return bool(self.add_dues([due]))

    def add_dues(self, dues: Sequence[Due]) -> int:
        """Add notifications; return how many are new."""
        existing = self.dues_of([due.key for due in dues])
        new_values = {due.key: self._values(due) for due in dues if due.key not in existing}
        if new_values:
            self._connection.execute(insert(self._dues), list(new_values.values()))
        return len(new_values)

    def hold(self, keys: Sequence[str], due_ms: int) -> None:
        """Defer notifications that have no letter yet."""
        self._set(keys, {"due_ms": due_ms, "is_held": True})

    def take(self, keys: Sequence[str], letter: str) -> None:
        """Assign notifications without a letter to this one."""
        self._set(keys, {"letter": letter})

    def take_each(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Assign notifications without a letter, each to its own letter, as pairs of key and letter id."""
        table = self._dues
        statement = update(table).where(table.c.key_ == bindparam("of"), table.c.letter == WAITING)
        self._connection.execute(statement, [{"of": key, "letter": letter} for key, letter in pairs])

    def put_letter(self, letter: OutgoingMessage) -> None:
        """Add or replace a letter."""
        self._put(self._letters, [letter])

    def put_letters(self, letters: Sequence[OutgoingMessage]) -> None:
        """Add or replace letters with different ids."""
        self._put(self._letters, letters)

    def put_question(self, question: Question) -> None:
        """Add or replace a question."""
        self._put(self._questions, [question])

    def forget(self, letters: Sequence[str], events: Collection[str]) -> None:
        """Erase recipients of these letters, recipients of questions about these events, and texts about them.

        An open question can no longer be answered, because its link was signed over the recipient.
        """
        letter_table = self._letters
        questions = self._questions
        for part in parts_of(letters):
            nobody = {"who": NO_ONE, "shown": "", "reason": ""}
            self._connection.execute(update(letter_table).where(letter_table.c.id.in_(part)).values(nobody))
        for part in parts_of(events):
            self._connection.execute(update(questions).where(questions.c.event.in_(part)).values(who=NO_ONE, words=""))
        for due in self.worded_about(events):
            wordless = to_json(from_json(due.told) | {"words": ""}).decode()
            self._connection.execute(update(self._dues).filter_by(key_=due.key).values(told=wordless))

    def sweep(self, before_ms: int) -> None:
        """Delete notifications with a letter, finished letters and expired questions from before a moment."""
        dues = self._dues
        letters = self._letters
        questions = self._questions
        self._connection.execute(delete(dues).where(dues.c.letter != WAITING, dues.c.at_ms < before_ms))
        self._connection.execute(delete(letters).where(letters.c.state != OPEN, letters.c.made_ms < before_ms))
        self._connection.execute(delete(questions).where(questions.c.ends_ms < before_ms))

    def _set(self, keys: Sequence[str], values: JsonMapping) -> None:
        table = self._dues
        for part in parts_of(keys):
            statement = update(table).where(table.c.key_.in_(part), table.c.letter == WAITING)
            self._connection.execute(statement.values(values))

    def _put(self, table: Table, rows: Sequence[OutgoingMessage | Question]) -> None:
        key = table.c[0]
        ids = [row.id for row in rows]
        existing = {
            row[0] for part in parts_of(ids) for row in self._connection.execute(select(key).where(key.in_(part)))
        }
        if fresh := [self._values(row) for row in rows if row.id not in existing]:
            self._connection.execute(insert(table), fresh)
        if changed := [{"of": row.id, **self._values(row)} for row in rows if row.id in existing]:
            self._connection.execute(update(table).where(key == bindparam("of")), changed)
