"""Approvals by a second person, where shroff.yaml requires two: changes of lists, rollbacks of rules, silences.

Another signed-in user approves a change by requesting the same one. Until then it is stored as a document beside the
log, and nothing of it is active.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypedDict

from msgspec.json import encode as to_json

from shroff import config
from shroff.errors import NotAllowedError, RefusalError, StorageError, TransientError
from shroff.events.event import TimeText, time_text
from shroff.json_types import JsonMapping
from shroff.language.values import DAY_MS
from shroff.people.keys import maker
from shroff.project.lists import Entry
from shroff.rules.texts import tag_of
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.documents import Documents
from shroff.services.parts import ProjectPart
from shroff.services.people.project_people import ProjectPeople
from shroff.services.rules.files import ChangedMeanwhileError, NotActiveError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from shroff.people.access import Right

KIND = "approval"  # of its documents
OWN = frozenset({"reason", "by", "password", "code"})  # fields that may differ between the two requests
LASTS_MS = 7 * DAY_MS  # then a request expires
KEPT = 100  # newest requests, not counting silences; each may be a whole list
SHOWN_MAX = 50  # values of one change shown to approvers and in the audit log
_TOLD = ("says", "rows", "out", "more")  # fields of a request in the audit log
OF_SILENCE = "silence of "  # prefix of the subject of silences alone

UNKNOWN_MAKER = (
    "a second person approves this here, and no user of the service made this key, so nobody knows who wrote it; "
    "sign in, or make a key at Settings while you are signed in"
)


class WaitsError(RefusalError):
    """The change waits for a second person."""

    status, code, title = 403, "waits-for-second", "This waits for a second person"


class Author(FrozenStruct):
    """A user or key as in the audit log."""

    id: str
    name: str

    def is_among(self, authors: Iterable[Author]) -> bool:
        """Return whether this person is among `authors`: the same id, or the same name after removal and return."""
        return any(self.id == author.id or self.name == author.name for author in authors)


class ChangeAsked(TypedDict):
    """A change that waits for a second person.

    `rows` are to be put into a list and `out` to be taken out, as it was at the request; `more` counts those not shown.
    `ended` is empty, or the reason why it cannot be approved any more: what it was for has changed since.
    """

    etag: str
    subject: str
    says: str
    by: str
    at: TimeText
    rows: list[Entry]
    out: list[str]
    more: int
    ended: str


class PendingApproval(FrozenStruct):
    """A change that waits for a second person. `subject` is its target, `authors` are the users who requested it.

    `change` is the change as JSON; `says` the same in words; `ends_ms` is when a silence ends, and so its request.
    `out` are the first values removed from a list, of `out_count`. `ended` is the reason why a request no longer waits.
    """

    subject: str
    change: Any
    says: str
    authors: list[Author]
    at_ms: int
    ends_ms: int = 0
    out: tuple[str, ...] = ()
    out_count: int = 0
    ended: str = ""

    @property
    def by(self) -> str:
        return self.authors[0].name

    @property
    def document(self) -> ChangeAsked:
        put = self.change.get("put", [])
        rows = [Entry(value, note, self.by, expires_at) for value, note, expires_at in put[:SHOWN_MAX]]
        return {
            "etag": self.tag,
            "subject": self.subject.removeprefix(OF_SILENCE),
            "says": self.says,
            "by": self.by,
            "at": time_text(self.at_ms),
            "rows": rows,
            "out": [*self.out],
            "more": len(put) + self.out_count - len(rows) - len(self.out),
            "ended": self.ended,
        }

    @property
    def tag(self) -> str:
        return tag_of(to_json([self.subject, self.change], order="sorted").decode())


class Agreements(ProjectPart):
    """Changes that wait for approval by a second person."""

    _documents: Documents
    _people: ProjectPeople

    def asked(self, subject: str) -> list[PendingApproval]:
        """List the waiting requests about one subject, oldest first."""
        return [approval for approval in self.all() if approval.subject == subject and not approval.ended]

    def agrees(
        self, subject: str, change: object, says: str, right: Right | None = None, out: Sequence[str] = ()
    ) -> bool:
        """Return whether this call approves a requested change; otherwise record and store the request.

        It needs `right`, if given. `out` are values removed from a list. A key cannot approve, and its creator counts
        as an author, too. After the approved change is made, call `forget`. Raises: NotAllowedError for a key whose
        creator is unknown.
        """
        authors = self.authors(of_two=True)
        shown = tuple(out[:SHOWN_MAX])
        request = PendingApproval(subject, change, says, authors, self._now_ms(), 0, shown, len(out))
        who = self._context.who
        may_approve = who.kind == "user" and (right is None or who.may(right))
        with config.editing(self._paths):
            others = next((waiting.authors for waiting in self.asked(subject) if waiting.tag == request.tag), [])
            if others and may_approve and not any(author.is_among(authors) for author in others):
                return True
            details = {name: value for name, value in request.document.items() if value and name in _TOLD}
            self._people.record("change.ask", subject, None, details)
            self.put(request)
        return False

    def put(self, wanted: PendingApproval, known: PendingApproval | None = None) -> None:
        """Store a request, replacing the same one, waiting or ended, and `known`.

        The authors of the same waiting request, which may come from another machine, stay authors. Call it with the
        project's files locked.
        """
        with self._documents.edit(KIND, PendingApproval) as stored:
            for expired in stored.keys() - {approval.tag for approval in self._current(stored.values())}:
                del stored[expired]
            if known is not None:
                stored.pop(known.tag, None)
            same = stored.pop(wanted.tag, None)
            if same is not None and not same.ended:
                earlier = [author for author in same.authors if not author.is_among(wanted.authors)]
                wanted = replace(wanted, authors=[*earlier, *wanted.authors])
            stored[wanted.tag] = wanted
            for oldest in [tag for tag, approval in stored.items() if not approval.ends_ms][:-KEPT]:
                del stored[oldest]

    def second(self, authors: Sequence[Author], what: str) -> Author:
        """Return the caller as the approving second person.

        Raises: NotAllowedError for a key, for an author, and if no author is known.
        """
        who = self._context.who
        caller = Author(who.id, who.name)
        if who.kind != "user":
            raise NotAllowedError(f"approving {what} needs a signed-in user, not an API key")
        if not authors:
            raise NotAllowedError(f"nobody knows who wrote {what}; save it again first")
        if caller.is_among(authors):
            raise NotAllowedError(f"{who.name} is among the authors of {what}; another person must approve it")
        return caller

    @contextmanager
    def need(self, kind: str, subject: str, change: JsonMapping) -> Iterator[str]:
        """Let the caller proceed if another user requested the same change, and yield their name; reasons may differ.

        Raises: WaitsError if this call is the request; NotAllowedError for commands and programs; as `approved`.
        """
        if self._context.who.kind not in {"user", "key"}:  # local user names do not prove that two are different people
            message = f"a second person approves changes of {kind} here (shroff.yaml: second_person)"
            raise NotAllowedError(f"{message}, so this works only in the service")
        requested = {name: value for name, value in change.items() if name not in OWN}
        lines = {name: f"{value}".count("\n") for name, value in requested.items()}  # whole files are summarized
        said = {name: f"of {lines[name]} lines" if lines[name] else value for name, value in requested.items()}
        says = ", ".join(f"{name} {value}" for name, value in said.items() if value)
        if not self.agrees(subject, requested, says):
            raise WaitsError("requested; it takes effect when another person does the same within 7 days")
        with self.approved(subject, requested) as asked:
            yield asked.authors[-1].name

    @contextmanager
    def approved(self, subject: str, change: object) -> Iterator[PendingApproval]:
        """Remove a request while its change is made; restore it if that fails.

        If it was for another version of its subject, it can no longer be made and ends with that reason.

        Raises: ChangedMeanwhileError if another user approved it at the same time.
        """
        if not (requests := self.forget(subject, change)):
            raise ChangedMeanwhileError("another person approved or withdrew it")
        try:
            yield requests[0]
        except BaseException as error:
            ends = isinstance(error, ChangedMeanwhileError) and not isinstance(error, NotActiveError)
            with suppress(StorageError, TransientError), config.editing(self._paths):  # `error` says more than these
                self.put(replace(requests[0], ended=str(error) if ends else ""))
            raise

    def authors(self, *, of_two: bool = False) -> list[Author]:
        """Return the caller, and for a key also its creator, who counts as an author of its changes.

        Raises: NotAllowedError if two people are required (`of_two`) and the creator of the key is unknown: they could
            approve the key's change.
        """
        who = self._context.who
        asks = Author(who.id, who.name)
        if who.kind != "key":
            return [asks]
        with self._people.open() as desk, desk.store.look() as look:
            user = maker(look, who.id)
        if user is not None:
            return [asks, Author(user.id, user.name)]
        if of_two:
            raise NotAllowedError(UNKNOWN_MAKER)
        return [asks]

    def forget(self, subject: str, change: object | None = None) -> list[PendingApproval]:
        """Delete the requests about one subject, or only those for a completed change; return them."""
        tag = None if change is None else PendingApproval(subject, change, "", [], 0).tag
        with config.editing(self._paths):
            gone = [approval for approval in self.all() if approval.subject == subject and tag in {None, approval.tag}]
            if not gone:
                return []
            with self._documents.edit(KIND, PendingApproval) as stored:
                return [stored.pop(approval.tag) for approval in gone if approval.tag in stored]

    def all(self) -> list[PendingApproval]:
        """List all requests that wait or have ended, oldest first."""
        return self._current(self._documents.read(KIND, PendingApproval).values())

    def _current(self, approvals: Iterable[PendingApproval]) -> list[PendingApproval]:
        now_ms = self._now_ms()
        return [approval for approval in approvals if (approval.ends_ms or approval.at_ms + LASTS_MS) > now_ms]
