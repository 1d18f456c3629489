"""Deployment of the project's files as the active version: pending changes, and applying them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import unified_diff
from hashlib import sha256

import msgspec
from msgspec.json import encode as to_json

from shroff.errors import NotAllowedError, RefusalError
from shroff.log.active_files import NOTICES, NOW, RESTART, SETTING, FileDifference
from shroff.operations.declaration import DryRun, OperationAnswer, OperationRequest, operation
from shroff.people.access import Right
from shroff.project.table_files import row_texts
from shroff.runtime.contents import remove_unnamed
from shroff.runtime.texts import many, one_line, table
from shroff.services.laws.proofs import LawProofs
from shroff.services.people.project_people import ProjectPeople
from shroff.services.project_files import FileVersions, checked
from shroff.services.rules.files import ChangedMeanwhileError
from shroff.services.writer.requests import WriterRequests

WAITS = "The files are unchanged; the process that writes the log makes them active"
LINES_MAX = 200  # per file in text output; --json has all
TABLES = "tables/"
OF_TWO = {"rules": "rules/", "models": "models/", "thresholds": "policy.yaml"}  # files by `second_person`
RIGHTS = (  # right for a change, by prefix of the file name; else EDIT_RULES
    ("policy.yaml", Right.SET_THRESHOLDS),
    ("lists/", Right.EDIT_LISTS),
    (TABLES, Right.EDIT_LISTS),
    ("models/", Right.PROMOTE_MODELS),
    (NOTICES, Right.SEND_NOTICES),
    *((f"{SETTING}{name}", Right.MANAGE_USERS) for name in ("http", "sessions", "sign_in", "sources", "web")),
    *((f"{SETTING}{name}", Right.MEND_INPUT) for name in ("online", "sinks")),
    (SETTING, Right.SEND_NOTICES),
)


class FilesInvalidError(RefusalError):
    """The files are invalid; each error has file, line and column."""  # what a DefinitionError is over HTTP

    status, code, title = 422, "bad-definition", "The project's files would have errors"


class FileChange(msgspec.Struct):
    """A file or setting whose current content is not active.

    `takes` is `now` for changes that can be applied to a running service, else `restart`; `difference` is a unified
    diff of the texts, where both are known; of a table the number of rows added, changed and gone, and these rows.
    """

    file: str
    change: str
    takes: str
    difference: list[str]


class FileChanges(OperationAnswer, rename={"tag": "etag"}):
    """Changes that are only in files; `etag` identifies them."""

    changes: list[FileChange]
    tag: str


class AppliedChanges(OperationAnswer):
    """The changes that were applied, and the sequence number from which the log uses them."""

    changed: list[FileChange]
    seq: int | None
    applied: bool
    why_not: str | None

    @property
    def is_dry(self) -> bool:
        return not self.applied and not self.why_not

    def text(self) -> str:
        lines = [line for change in self.changed for line in _shown(change)]
        if self.changed:
            rows = [(change.file, change.change, change.takes) for change in self.changed]
            lines += [table(rows, ("file", "change", "takes effect"))]
        count = len(self.changed)
        now = sum(change.takes == NOW for change in self.changed)
        if self.why_not:
            lines.append(f"Not active: {self.why_not.rstrip('.')}.")
        elif self.is_dry or not count:
            lines.append(f"{many(count, 'change')} that {'is' if count == 1 else 'are'} not active.")
        else:
            are = many(now, "change is", "changes are")
            lines.append(f"{are} active now. The version that decides has sequence number {self.seq or 0:,}.")
        if later := [change.file for change in self.changed if change.takes == RESTART]:
            lines.append(f"Restart 'shroff serve' or 'shroff run' for {one_line(', '.join(later))}.")
        return "\n".join(lines)

    def hints(self) -> Sequence[str]:
        return ["shroff apply" if self.is_dry and self.changed else "shroff doctor"]

    def exit_status(self) -> int:
        return 1 if self.why_not or (self.is_dry and self.changed) else 0


def _shown(change: FileChange) -> Iterator[str]:
    lines = change.difference
    if lines:
        yield f"{change.file}:"
        yield from (f"  {one_line(line)}" for line in lines[:LINES_MAX])
        if len(lines) > LINES_MAX:
            yield f"  … and {many(len(lines) - LINES_MAX, 'more line')}; --json has them all."
        yield ""


def file_changes(found: Sequence[FileDifference]) -> list[FileChange]:
    return [
        FileChange(
            file=change.file,
            change=change.change,
            takes=change.takes,
            difference=_difference(change.file, change.before or "", change.after or ""),
        )
        for change in found
    ]


def _difference(file: str, before: str, after: str) -> list[str]:
    if file.startswith(TABLES) and before != after:
        return row_differences((file, before), (file, after))
    return [] if before == after else list(unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))[2:]


def row_differences(old: tuple[str, str], new: tuple[str, str]) -> list[str]:
    """List the differing rows of a table, after a line with their counts. A key with a new row counts as changed.

    Each version is a file's name and its text. Rows have no order, so half a million of them are compared in a second.
    """
    before, after = row_texts(*old), row_texts(*new)
    was, now = set(before), set(after)
    gone, come = [row for row in before if row not in now], [row for row in after if row not in was]
    changed = len({row.partition(",")[0] for row in gone} & {row.partition(",")[0] for row in come})
    counts = f"@@ rows: {len(come) - changed} added, {changed} changed, {len(gone) - changed} gone @@"
    return [counts, *(f"-{row}" for row in gone), *(f"+{row}" for row in come)]


def tag_of(found: Sequence[FileDifference]) -> str:
    return sha256(to_json(found)).hexdigest()[:32]


def needed(found: Sequence[FileDifference]) -> frozenset[Right]:
    return frozenset(
        next((right for start, right in RIGHTS if change.file.startswith(start)), Right.EDIT_RULES) for change in found
    )


class FileDeployment(FileVersions):
    """Versions of the project's files, and the step from one to the other."""

    _people: ProjectPeople
    _requests: WriterRequests
    _proofs: LawProofs

    def apply(self, tag: str | None = None) -> AppliedChanges:
        """Make the project's files the active version, through the process that writes the log, or in this one.

        Raises: DefinitionError for errors in the files; UsageError if there is no log yet; ChangedMeanwhileError if the
            changes do not match the tag; NotAllowedError.
        """
        requests, why_not = self._requests, ""
        requests.needs_log("so no version is active; the first event activates the files")
        self._context.reload()
        checked(self._context)
        changes = self.unapplied()
        if tag not in {None, tag_of(changes)}:
            raise ChangedMeanwhileError("the files were changed meanwhile; reload the changes and apply them")
        if refusal := self.why_refused(changes):
            raise NotAllowedError(refusal)
        self._proofs.require()
        if changes:
            files = [change.file for change in changes]
            self._people.record("project.apply", "project", None, {"files": files})
            why_not = requests.put_in_force(WAITS, None, rows_alone=False)
            with self._log.reading() as log:
                bodies = [record.body.decode() for record in log.controls()]
            remove_unnamed(self._paths.tables, [*bodies, *self._definitions.files.values()])
        seq = self.active_seq()
        return AppliedChanges(changed=file_changes(changes), seq=seq, applied=not why_not, why_not=why_not or None)

    def why_refused(self, found: Sequence[FileDifference]) -> str:
        """Return why the caller may not activate these changes; empty if they may."""
        apart = self._systems.second_person if self._context.desk is not None else ()  # in a service
        for kind, start in OF_TWO.items():
            if kind in apart and any(change.file.startswith(start) for change in found):
                return f"{kind} need approval by a second person here, so changed files take effect at a restart"
        missing = sorted(right.value for right in needed(found) if not self._context.who.may(right))
        return f"this also needs the permission {' and '.join(missing)}" if missing else ""


class ShowChanges(OperationRequest[FileChanges]):
    pass


@operation(
    "apply changes", right="read:definitions", http="GET /changes", has_command=False, refusals=[FilesInvalidError]
)
def show_changes(versions: FileDeployment, request: ShowChanges) -> FileChanges:
    """List inactive changes in the project's files: files, and settings of shroff.yaml."""
    changes = versions.unapplied()
    return FileChanges(changes=file_changes(changes), tag=tag_of(changes))


class ApplyFiles(OperationRequest[AppliedChanges]):
    """
    Args:
        is_dry: Show what would change; change nothing.
    """

    is_dry: DryRun = False


@operation("apply", right="edit:rules")
def apply_files(versions: FileDeployment, request: ApplyFiles) -> AppliedChanges:
    """Check the project's files, show what changes, and make them the active version.

    Rules, features, policy, lists, tables, notices and their texts become active at once, from the next event on. This
    also holds for a running 'shroff serve' or 'shroff run'. The settings sinks, online, web, sign_in, sessions, mail
    and second_person of shroff.yaml become active at once too. Event types and all other settings take effect when
    that process restarts.

    Exit status 1 if something is not active afterwards.

    Examples:
        shroff apply
        shroff apply --dry-run
    """
    if not request.is_dry:
        return versions.apply()
    found = file_changes(versions.unapplied())
    return AppliedChanges(changed=found, seq=versions.active_seq() or None, applied=False, why_not=None)


class ChangesStep(OperationRequest[AppliedChanges], rename={"tag": "etag"}):
    tag: str


@operation(
    "apply step",
    right="edit:rules",
    http="POST /changes/apply",
    has_command=False,
    body_bytes_max=4_096,
    refusals=(ChangedMeanwhileError, FilesInvalidError),
)
def apply_step(versions: FileDeployment, request: ChangesStep) -> AppliedChanges:
    """Make the project's files the active version, from the next event on.

    Changes of policy, lists, models and notices also need their own right; sinks need `mend:input`, and settings of
    sign-in and web need `manage:users`.
    """
    return versions.apply(tag=request.tag)
