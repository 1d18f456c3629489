"""Drafts of rules: one rule each, as a text in `drafts/`, until it is active.

A draft that changes a rule goes into shadow beside it, as a trial with an id of its own (`many_payments_try1`): an id
is never reused for another rule text, and `since flag` is counted for each. A new rule is its own trial.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import field

from shroff import config
from shroff.errors import DefinitionError, NotAllowedError, Problem, UsageError
from shroff.log.ruletests import TestResult, run_tests_of
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.draft_overlay import RULES, DraftFile
from shroff.rules import texts
from shroff.rules.silences import trial_number, trial_of
from shroff.rules.texts import tag_of
from shroff.runtime import state_folder
from shroff.runtime.atomic_files import own
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.approvals.agreements import Agreements, Author
from shroff.services.documents import Documents
from shroff.services.lists.files import RULES_APART
from shroff.services.parts import ProjectPart
from shroff.services.project_files import fallbacks_in
from shroff.services.rules.files import FOLDER, Before, ChangedMeanwhileError, Rules, is_version, unrecorded

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shroff.rules.definitions import Rule

DRAFTS = "drafts"
KIND = "draft"  # of the documents with the notes
_ID = re.compile(r"[a-z][a-z0-9_]{0,180}")
_NO_RULES = ("features", "policy")  # drafts of other files, not of a rule
DRAFT_BYTES_MAX = 128 * 1024
TOO_LONG = f"a draft has at most {DRAFT_BYTES_MAX:,} bytes"


class Note(msgspec.Struct):
    """Metadata of the draft text with this tag. `authors` are all who edited it since its creation.

    Machines share the notes, but not the files of drafts.
    """

    tag: str = ""
    authors: list[Author] = []
    saved_at_ms: int = 0
    approved_tag: str = ""
    approved_by: Author | None = None
    approved_at_ms: int = 0


class StoredDraft(FrozenStruct):
    """A draft of a rule. `is_approved` holds for this exact text only."""

    id: str
    text: str
    note: Note = field(default_factory=Note)

    @property
    def tag(self) -> str:
        return tag_of(self.text)

    @property
    def is_approved(self) -> bool:
        return self.note.approved_by is not None and self.note.approved_tag == self.tag


class Checked(FrozenStruct):
    """Findings about a draft's text. `elsewhere` are errors in other files, which prevent its type check."""

    mistakes: Sequence[Problem]
    elsewhere: Sequence[Problem]
    warnings: Sequence[Problem]
    rules: Sequence[Rule]
    tests: Sequence[TestResult]
    definitions: Definitions | None

    @property
    def is_ok(self) -> bool:
        """Whether it can be activated: no errors, and its tests pass."""
        return not self.mistakes and not self.elsewhere and all(test.problem is None for test in self.tests)


class RuleDraftFiles(ProjectPart):
    """Rule drafts of a project."""

    _agreements: Agreements
    _documents: Documents
    _rules: Rules

    @property
    def need_second_person(self) -> bool:
        return RULES_APART in self._systems.second_person

    def refuse_rules_in(self, folder: Path) -> None:
        """Raises: NotAllowedError for the project's rules folder if a second person approves rules."""
        if self.need_second_person and folder.resolve() == (self._paths.folder / FOLDER).resolve():
            message = "a second person approves rules here (shroff.yaml: approve), so this works only in the service"
            raise NotAllowedError(f"{message}; name another folder, and make drafts of it on the page of rules")

    def has_drafts_in(self, folder: Path) -> bool:
        return folder.resolve() == self._folder.resolve()

    # ---- drafts as texts

    def all(self) -> list[StoredDraft]:
        notes = self._notes()
        files = sorted(path for path in self._folder.glob("*.yaml") if _can_be_id(path.stem))
        texts = {path.stem: config.read_text(own(self._paths.folder, f"{DRAFTS}/{path.name}")) for path in files}
        drafts = [StoredDraft(id_, text, notes.get(id_, Note())) for id_, text in texts.items()]
        return [draft if draft.note.tag == draft.tag else replace(draft, note=Note()) for draft in drafts]

    def one(self, id: str) -> StoredDraft | None:
        """Get the draft of a rule, or None."""
        return next((draft for draft in self.all() if draft.id == id), None)

    def write(
        self, id: str, text: str, tag: str, authors: Sequence[Author], before: Before = unrecorded
    ) -> StoredDraft:
        """Save a draft, even with errors, if its version is still `tag`; an empty tag is for a new draft.

        Saving the same text again changes nothing: time and authors stay, and `before` is not called. If its author is
        unknown, the caller becomes its author.

        Authors are recorded before the draft, so that nobody approves a draft of their own. `before` is called with no
        file and the new tag; if it raises, nothing is stored.

        Raises: ChangedMeanwhileError; UsageError for an invalid id.
        """
        if not _can_be_id(id) or trial_of(id):
            raise UsageError(
                f"{id!r} cannot be a rule's id: a small letter first, then small letters, digits and _, at most 180, "
                f"no _try1 at its end, and not {' or '.join(_NO_RULES)}."
            )
        text = config.lines_ended(text).strip("\n") + "\n"
        _require_short(text)
        with config.editing(self._paths):
            kept = self._require(id, tag)
            new_tag = tag_of(text)
            if kept is not None and kept.note.tag == new_tag:
                return kept
            before("", new_tag)
            state_folder.make_folder(self._folder)
            with self._documents.edit(KIND, Note) as notes:
                note = notes.setdefault(id, Note())
                note.authors = [*note.authors, *(author for author in authors if author not in note.authors)]
                note.saved_at_ms = self._now_ms()
                note.tag = new_tag
            config.write_text(self._folder / f"{id}.yaml", text)
        return StoredDraft(id, text, note)

    def drop(self, id: str, tag: str, before: Before = unrecorded) -> None:
        """Delete a draft, and remove its trial from the project's files. Raises: ChangedMeanwhileError."""
        with config.editing(self._paths):
            self._require(id, tag)
            standing = self._rules.standing(id)
            if standing is not None and standing.trial:
                self._rules.put(standing.file.name, texts.without_rule(standing.file.text, standing.trial), before)
            else:
                before("", "")
            self._forget(id)

    def approve(self, id: str, tag: str, before: Before = unrecorded) -> StoredDraft:
        """Approve a text as the second person; for `before` see `write`.

        Raises: ChangedMeanwhileError; NotAllowedError for its authors and for a key; DefinitionError for one with
            errors.
        """
        with config.editing(self._paths):
            draft = self._there(id, tag)
            author = self._agreements.second(draft.note.authors, "a draft")
            self._require_ok(draft)
            note = replace(draft.note, approved_tag=draft.tag, approved_by=author, approved_at_ms=self._now_ms())
            before("", draft.tag)
            with self._documents.edit(KIND, Note) as notes:
                notes[id] = note
        return StoredDraft(id, draft.text, note)

    # ---- what is to be said of one

    def check(self, id: str, text: str) -> Checked:
        """Check a text as the rule with this id: types, names, tests. Nothing is written.

        Raises: UsageError for a text that is too long.
        Cost: reads the changed files of the project and type-checks everything; some seconds for a long text with
            many errors. Its tests take at most `ruletests.SECONDS_MAX`.
        """
        _require_short(text)
        name = f"{DRAFTS}/{id}.yaml"
        text = config.lines_ended(text)
        files = config.read_files(self._paths.folder, [], text=self._context.read_once.texts.text)
        draft = [DraftFile(RULES, name, text)]
        loaded = load_definitions(files, self._log.hasher, self._registry.load, draft, self._context.read_once)
        loaded = loaded.beside(fallbacks_in(self._context, files)[0])
        mine = [problem for problem in loaded.problems if problem.file == name]
        mine += [] if mine else texts.not_one_rule(text, id, name)
        if not text.strip():
            mine = [Problem(name, 1, 1, "", "the draft is empty.", f"Begin with '- id: {id}'.")]
        elsewhere = [problem for problem in loaded.problems if problem.file != name]
        warnings = [warning for warning in loaded.warnings if warning.file == name]
        definitions = loaded.definitions
        if definitions is None or mine:
            return Checked(mine, elsewhere, warnings, (), (), None)
        rules = [rule for rule in definitions.rules if rule.is_of(id)]
        tests = [test for rule in rules for test in run_tests_of(rule, definitions, self._log.hasher)]
        return Checked(mine, elsewhere, warnings, rules, tests, definitions)

    # ---- in shadow, in force

    def shadow(self, id: str, tag: str, file: str, used: Sequence[str], before: Before = unrecorded) -> str:
        """Put a draft in shadow in the project's files: recorded, without effect. Returns the file name.

        A new rule is added to the end of `file`; an active one stays, and its draft is added beside it under the next
        id of its trials. `used` are ids of all rules that were ever active.

        Raises: ChangedMeanwhileError; DefinitionError for errors in the draft.
        """
        with config.editing(self._paths):
            draft = self._there(id, tag)
            self._require_ok(draft)
            text, standing = texts.in_shadow(draft.text, shadow=True), self._rules.standing(id)
            if standing is None or standing.is_shadow:
                name = file if standing is None else standing.file.name
                return self._rules.put(name, texts.with_rule(self._rules.text_of(name), id, text), before)
            name, there = standing.file.name, standing.file.text
            if standing.trial:
                there = texts.without_rule(there, standing.trial)
            numbers = [trial_number(trial) for trial in (*used, standing.trial) if trial_of(trial) == id]
            trial = f"{id}_try{max(numbers, default=0) + 1}"
            return self._rules.put(name, texts.beside_rule(there, id, texts.renamed(text, trial)), before)

    def activate(self, id: str, tag: str, file: str, before: Before = unrecorded) -> str:
        """Make a draft active: it replaces the rule and its trial, and the draft is deleted.

        Raises: ChangedMeanwhileError; DefinitionError for errors; NotAllowedError without a required approval.
        """
        with config.editing(self._paths):
            draft = self._there(id, tag)
            self._require_ok(draft)
            if self.need_second_person and not draft.is_approved:
                raise NotAllowedError("a second person has to approve this draft first: shroff.yaml says so")
            standing = self._rules.standing(id)
            name = file if standing is None else standing.file.name
            there = self._rules.text_of(name)
            if standing is not None and standing.trial:
                there = texts.without_rule(there, standing.trial)
            self._rules.put(name, texts.with_rule(there, id, texts.in_shadow(draft.text, shadow=False)), before)
            self._forget(id)
        return name

    # ---- inside

    @property
    def _folder(self) -> Path:
        return self._paths.folder / DRAFTS

    def _notes(self) -> dict[str, Note]:
        return self._documents.read(KIND, Note)

    def _forget(self, id: str) -> None:
        """Delete a draft, its text first: a text without its note would have no author who may not approve it."""
        (self._folder / f"{id}.yaml").unlink(missing_ok=True)
        if id in self._notes():
            with self._documents.edit(KIND, Note) as notes:
                notes.pop(id, None)

    def _require(self, id: str, tag: str) -> StoredDraft | None:
        draft = self.one(id)
        if not is_version(tag, "" if draft is None else draft.tag):
            raise ChangedMeanwhileError(f"the draft of {id} was changed meanwhile; reload it and try again.")
        return draft

    def _there(self, id: str, tag: str) -> StoredDraft:
        found = self._require(id, tag)
        if found is None:
            raise UsageError(f"there is no draft of {id}.")
        return found

    def _require_ok(self, draft: StoredDraft) -> None:
        checked = self.check(draft.id, draft.text)
        failed = [test.problem for test in checked.tests if test.problem is not None]
        problems = [*checked.mistakes, *checked.elsewhere, *failed]
        if problems:
            raise DefinitionError(problems)


def is_short(text: str) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) <= DRAFT_BYTES_MAX


def _require_short(text: str) -> None:
    if not is_short(text):
        raise UsageError(f"{TOO_LONG}.")


def _can_be_id(id: str) -> bool:
    return _ID.fullmatch(id) is not None and id not in _NO_RULES
