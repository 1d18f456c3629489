"""Silences: rules that an analyst stopped for a key, stored in lists of keys; and those waiting for a second person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff import config
from shroff.errors import UsageError, nearest
from shroff.events.event import time_text
from shroff.language.values import DAY_MS, parse_file_time, parse_time
from shroff.rules.silences import key_of, list_of, rule_of
from shroff.runtime.values import FrozenStruct
from shroff.services.approvals.agreements import OF_SILENCE, Agreements, Author, PendingApproval
from shroff.services.lists.files import SILENCES, ListFiles
from shroff.services.parts import ProjectPart
from shroff.services.rules.files import ChangedMeanwhileError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shroff.project.lists import Edited, Entry, ListChange
    from shroff.rules.definitions import Rule

DAYS_MAX = 366  # longest silence
TEXT_MAX = 1_000  # characters of a key or a reason


class Silence(FrozenStruct):
    """One key for which a rule is silent, as its list has it: a key that is hashed in events stands hashed.

    `until` is empty where somebody wrote a line without an end into the list: that holds for good.
    """

    rule: str
    entity: str
    key: str
    until: str
    note: str
    by: str

    @property
    def until_ms(self) -> int | None:
        return parse_file_time(self.until) if self.until else None

    def holds(self, now_ms: int) -> bool:
        return self.until_ms is None or now_ms < self.until_ms


class Silences(ProjectPart):
    """Silences of a project."""

    _lists: ListFiles

    def all(self) -> list[Silence]:
        """List all silences, by rule and line; expired ones stay until they are ended."""
        entities = {rule.id: rule.by for rule in self._definitions.rules}
        silences = []
        for name in sorted(self._definitions.reference.lists):
            rule = rule_of(name)
            if rule is None:
                continue
            for entry in self._lists.entries(name):
                entity = entities.get(rule, "")
                silences.append(Silence(rule, entity, entry.value, entry.expires_at, entry.note, entry.added_by))
        return silences

    def add(self, rule: str, key: str, until: str, *, note: str = "", by: str = "") -> ListChange:
        """Silence a rule for a key, for events before `until`; an earlier silence of the key is replaced.

        Raises: UsageError if there is no such rule, its key has several parts or is no text, or `until` is not a time
            within a year from now; NotAllowedError if a second person approves silences.
        """
        entry = self.entry(rule, key, until, note, by)
        return self._lists.change(list_of(rule), [entry], makes=True)

    def end(self, rule: str, key: str) -> ListChange:
        """End the silence of a rule for a key. Raises: UsageError if there is none."""
        self._known_silence(rule)
        return self._lists.remove(list_of(rule), key)

    def write(self, rule: str, key: str, until: str, *, note: str, by: str, before: Callable[[Edited], None]) -> None:
        """Like `add`, but only writes the file (see `ListFiles.write`). Raises: as `add`."""
        entry = self.entry(rule, key, until, note, by)
        self._lists.write(list_of(rule), [entry], makes=True, before=before)

    def write_end(self, rule: str, key: str, before: Callable[[Edited], None]) -> None:
        """Like `end`, but only writes the file (see `ListFiles.write`). Raises: as `end`."""
        self._known_silence(rule)
        self._lists.write(list_of(rule), out=[key], before=before)

    def entry(self, rule: str, key: str, until: str, note: str, by: str) -> Entry:
        """Return the list entry of a silence. Raises: as `add`."""
        from shroff.project.lists import Entry

        self._silenced(rule)
        if not key or any(len(text) > TEXT_MAX or not text.isprintable() for text in (key, note, by)):
            raise UsageError(f"a key and a reason have 1 to {TEXT_MAX:,} characters, on one line.")
        return Entry(key, note, by, time_text(self._until_ms(until)))

    def _known_silence(self, rule: str) -> None:
        if list_of(rule) not in self._definitions.reference.lists:
            raise UsageError(f"rule {rule[:100]!r} is silent for no key.")

    def _silenced(self, id_: str) -> Rule:
        definitions = self._definitions
        rules = {rule.id: rule for rule in definitions.rules}
        rule = rules.get(id_)
        if rule is None:
            raise UsageError(f"there is no rule {id_[:100]!r}. {nearest(id_, rules)}".rstrip())
        if key_of(definitions.events.entities, rule.by, rule.on) is None:
            raise UsageError(
                f"rule {id_} cannot be silent for one {rule.by}: the key of {rule.by} in {rule.on} is not one text."
            )
        return rule

    def _until_ms(self, text: str) -> int:
        try:
            until_ms, now_ms = parse_file_time(text), self._now_ms()
        except ValueError as error:
            raise UsageError(f"until: {error}.") from None
        if not now_ms < until_ms <= now_ms + DAYS_MAX * DAY_MS:
            raise UsageError(f"until: must be a time within the next {DAYS_MAX} days.")
        return until_ms

    @property
    def need_second_person(self) -> bool:
        return SILENCES in self._systems.second_person


# ---- requests


class PendingSilences(ProjectPart):
    """Requested silences that wait for a second person.

    The `change` of each has `rule`, `entity`, `key`, `until` and `note`; the first of its `authors` requested it.
    """

    _silences: Silences
    _agreements: Agreements

    def all(self) -> list[PendingApproval]:
        """List the requests that have not expired, by rule and key."""
        requests = [waiting for waiting in self._agreements.all() if waiting.subject.startswith(OF_SILENCE)]
        return sorted(requests, key=lambda waiting: (waiting.change["rule"], waiting.change["key"]))

    def ask(
        self, rule: str, key: str, until: str, note: str, authors: Sequence[Author], before: Callable[[], None]
    ) -> PendingApproval:
        """Request a silence, replacing an earlier request for this rule and key. Raises: as `Silences.add`."""
        entry = self._silences.entry(rule, key, until, note, authors[0].name)
        entity = next(declared.by for declared in self._definitions.rules if declared.id == rule)
        subject, until = f"{OF_SILENCE}{entity} {key}", entry.expires_at
        change = {"rule": rule, "entity": entity, "key": key, "until": until, "note": note}
        with config.editing(self._paths):
            was = self._of(rule, key)
            hands = [] if was is None else [author for author in was.authors if author not in authors]
            says, now_ms = f"silence {rule} until {until}", self._now_ms()
            request = PendingApproval(subject, change, says, [*authors, *hands], now_ms, parse_time(until))
            before()
            self._agreements.put(request, was)
        return request

    def approve(self, rule: str, key: str, tag: str, before: Callable[[], None]) -> None:
        """Approve a silence that another user requested, and write it as `Silences.write`.

        Raises: UsageError if there is no request; ChangedMeanwhileError if the request changed; NotAllowedError for its
            authors, and for a key.
        """
        request = self._known_request(rule, key, tag)
        self._agreements.second(request.authors, "a silence")

        def still_asked(_: object) -> None:
            self._known_request(rule, key, tag)  # check again that it was not withdrawn
            before()

        until, note = request.change["until"], request.change["note"]
        self._silences.write(rule, key, until, note=note, by=request.by, before=still_asked)
        self._agreements.forget(request.subject, request.change)

    def drop(self, rule: str, key: str, before: Callable[[], None]) -> None:
        """Delete a request. Raises: UsageError if there is none."""
        request = self._known_request(rule, key)
        before()
        self._agreements.forget(request.subject, request.change)

    def _of(self, rule: str, key: str) -> PendingApproval | None:
        return next((it for it in self.all() if (it.change["rule"], it.change["key"]) == (rule, key)), None)

    def _known_request(self, rule: str, key: str, tag: str | None = None) -> PendingApproval:
        request = self._of(rule, key)
        if request is None:
            raise UsageError(f"there is no request any more to silence rule {rule[:100]!r} for this key.")
        if tag not in {None, request.tag}:
            raise ChangedMeanwhileError(f"another silence of {rule} is requested now; reload, and approve that one.")
        return request
