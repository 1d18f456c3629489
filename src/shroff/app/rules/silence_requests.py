"""Silence requests: silences that wait for the second person whom shroff.yaml asks for, among the other requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shroff import config
from shroff.app.parts import ProjectPart
from shroff.app.rules.agreements import OF_SILENCE, Author, PendingApproval
from shroff.app.rules.rule_files import ChangedMeanwhileError
from shroff.app.rules.silences import Silences
from shroff.errors import UsageError
from shroff.language.values import parse_time

Recorded = Callable[[], None]  # tells what is about to be done; where it raises, nothing is


class PendingSilences(ProjectPart):
    """Requested silences that wait for a second person.

    The `change` of each has `rule`, `entity`, `key`, `until` and `note`; the first of its `authors` asked for it.
    """

    def all(self) -> list[PendingApproval]:
        """List the requests that have not expired, by rule and key."""
        found = [waiting for waiting in self._agreements.all() if waiting.subject.startswith(OF_SILENCE)]
        return sorted(found, key=lambda waiting: (waiting.change["rule"], waiting.change["key"]))

    def ask(
        self, rule: str, key: str, until: str, note: str, authors: Sequence[Author], before: Recorded
    ) -> PendingApproval:
        """Request a silence; it replaces an earlier request for this rule and key.

        Raises: as `silence`.
        """
        entry = Silences(self._context).entry(rule, key, until, note, authors[0].name)
        entity = next(declared.by for declared in self._definitions.rules if declared.id == rule)
        subject, until = f"{OF_SILENCE}{entity} {key}", entry.expires_at
        change = {"rule": rule, "entity": entity, "key": key, "until": until, "note": note}
        with config.editing(self._paths):
            was = self._of(rule, key)
            hands = [] if was is None else [author for author in was.authors if author not in authors]
            says, now_ms = f"silence {rule} until {until}", self._context.now_ms()
            request = PendingApproval(subject, change, says, [*authors, *hands], now_ms, parse_time(until))
            before()
            self._agreements.put(request, was)
        return request

    def approve(self, rule: str, key: str, tag: str, before: Recorded) -> None:
        """Approve a silence that somebody else requested: as `write_silence`.

        Raises: UsageError where nobody asked; ChangedMeanwhileError where something else is asked for now;
            NotAllowedError for who had a hand in it, and for a key.
        """
        request = self._known_request(rule, key, tag)
        self._agreements.second(request.authors, "a silence")

        def still_asked(_: object) -> None:
            self._known_request(rule, key, tag)  # nobody took it back meanwhile
            before()

        until, note = request.change["until"], request.change["note"]
        Silences(self._context).write(rule, key, until, note=note, by=request.by, before=still_asked)
        self._agreements.forget(request.subject, request.change)

    def drop(self, rule: str, key: str, before: Recorded) -> None:
        """Delete a request. Raises: UsageError if there is none."""
        request = self._known_request(rule, key)
        before()
        self._agreements.forget(request.subject, request.change)

    def _of(self, rule: str, key: str) -> PendingApproval | None:
        return next((it for it in self.all() if (it.change["rule"], it.change["key"]) == (rule, key)), None)

    def _known_request(self, rule: str, key: str, tag: str | None = None) -> PendingApproval:
        found = self._of(rule, key)
        if found is None:
            raise UsageError(f"there is no request any more to silence rule {rule[:100]!r} for this key.")
        if tag not in {None, found.tag}:
            raise ChangedMeanwhileError(f"another silence of {rule} is requested now; reload, and approve that one.")
        return found
