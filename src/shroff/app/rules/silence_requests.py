"""Silence requests: silences that wait for the second person whom shroff.yaml asks for.

They lie in a file beside the log, as what is known of drafts does: nothing of it is in force.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from shroff import config
from shroff.app.parts import ProjectPart
from shroff.app.rules.agreements import Author, keep, read_kept
from shroff.app.rules.rule_files import ChangedMeanwhileError
from shroff.app.rules.silences import Silences
from shroff.errors import NotAllowedError, UsageError
from shroff.language.values import parse_time
from shroff.rules.texts import tag_of
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from pathlib import Path


LEDGER = "silences.json"
Recorded = Callable[[], None]  # tells what is about to be done; where it raises, nothing is


class PendingSilence(FrozenStruct):
    """A silence that waits for a second person. `authors` are all who had a hand in it; the last one asked for it."""

    rule: str
    entity: str
    key: str
    until: str
    note: str
    authors: list[Author]

    @property
    def by(self) -> str:
        return self.authors[-1].name

    @property
    def tag(self) -> str:
        """Changes with what is asked for."""
        return tag_of(f"{self.rule}\n{self.key}\n{self.until}\n{self.note}")


class PendingSilences(ProjectPart):
    """Requested silences that wait for a second person."""

    def all(self) -> list[PendingSilence]:
        """List the requests that have not expired, by rule and key."""
        now_ms = self._context.now_ms()
        return sorted(
            (request for request in self._pending() if parse_time(request.until) > now_ms),
            key=lambda request: (request.rule, request.key),
        )

    def ask(
        self, rule: str, key: str, until: str, note: str, authors: Sequence[Author], before: Recorded
    ) -> PendingSilence:
        """Request a silence; it replaces an earlier request for this rule and key.

        Raises: as `silence`.
        """
        entry = Silences(self._context).entry(rule, key, until, note, authors[-1].name)
        entity = next(declared.by for declared in self._definitions.rules if declared.id == rule)
        with config.editing(self._paths):
            requests = self.all()
            was = next((earlier for earlier in requests if (earlier.rule, earlier.key) == (rule, key)), None)
            hands = [] if was is None else [author for author in was.authors if author not in authors]
            request = PendingSilence(rule, entity, key, entry.expires_at, note, [*hands, *authors])
            before()
            self._put([other for other in requests if other != was], request)
        return request

    def approve(self, rule: str, key: str, tag: str, author: Author, before: Recorded) -> None:
        """Approve a silence that somebody else requested: as `write_silence`.

        Raises: UsageError where nobody asked; ChangedMeanwhileError where something else is asked for now;
            NotAllowedError for who had a hand in it.
        """
        request = self._known_request(rule, key, tag)
        if author.id in {requester.id for requester in request.authors}:
            raise NotAllowedError(f"{author.name} requested this silence; another person must approve it")

        def still_asked(_: object) -> None:
            self._known_request(rule, key, tag)  # nobody took it back meanwhile
            before()

        Silences(self._context).write(rule, key, request.until, note=request.note, by=request.by, before=still_asked)
        self._drop(request)

    def drop(self, rule: str, key: str, before: Recorded) -> None:
        """Delete a request. Raises: UsageError if there is none."""
        request = self._known_request(rule, key)
        before()
        self._drop(request)

    # ---- inside

    @property
    def _requests_file(self) -> Path:
        return self._paths.state / LEDGER

    def _pending(self) -> list[PendingSilence]:
        cure = "Delete it: silences that wait for approval must then be requested again"
        return read_kept(self._requests_file, list[PendingSilence], cure)

    def _known_request(self, rule: str, key: str, tag: str | None = None) -> PendingSilence:
        found = next((request for request in self.all() if (request.rule, request.key) == (rule, key)), None)
        if found is None:
            raise UsageError(f"there is no request any more to silence rule {rule[:100]!r} for this key.")
        if tag not in {None, found.tag}:
            raise ChangedMeanwhileError(f"another silence of {rule} is requested now; reload, and approve that one.")
        return found

    def _drop(self, request: PendingSilence) -> None:
        with config.editing(self._paths):
            self._put([other for other in self.all() if other != request])

    def _put(self, requests: Sequence[PendingSilence], *more: PendingSilence) -> None:
        keep(self._requests_file, [*requests, *more])
