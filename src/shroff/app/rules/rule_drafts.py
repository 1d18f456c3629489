"""Drafts of rules: one rule each, as a text in `drafts/`, on its way from a first thought to being in force.

A draft that changes a rule goes into shadow beside it, as a trial under an id of its own (`many_payments_try1`): an id
is never used for two thoughts, and `since flag` is counted for each. A new rule is its own trial.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from shroff import config
from shroff.app.rules.rule_files import FOLDER, Before, ChangedMeanwhileError, RuleFile, RuleFiles, unrecorded
from shroff.errors import DefinitionError, NotAllowedError, Problem, StorageError, UsageError
from shroff.log.ruletests import TestResult, run_tests_of
from shroff.models.registry import Registry
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.laid_over import RULES, DraftFile
from shroff.project.read_once import ReadOnce
from shroff.project.settings.systems import Systems
from shroff.rules import texts
from shroff.rules.definitions import Rule
from shroff.rules.silences import trial_number, trial_of
from shroff.rules.texts import tag_of

DRAFTS: Final = "drafts"
LEDGER: Final = "drafts.json"
_ID: Final = re.compile(r"[a-z][a-z0-9_]{0,180}")
_NO_RULES: Final = ("features", "policy")  # names of files beside drafts that hold no rule
DRAFT_BYTES_MAX: Final = 128 * 1024
TOO_LONG: Final = f"a draft has at most {DRAFT_BYTES_MAX:,} bytes"
EVERYWHERE: Final = "rules"  # of `second_person` in shroff.yaml


class Author(msgspec.Struct, frozen=True):
    """Somebody as the record of who did what knows them."""

    id: str
    name: str


class Note(msgspec.Struct):
    """What is known of a draft beside its text. `authors` are all who had a hand in it since it was begun."""

    authors: list[Author] = []
    saved_at_ms: int = 0
    approved_tag: str = ""
    approved_by: Author | None = None
    approved_at_ms: int = 0


@dataclass(frozen=True, slots=True)
class Draft:
    """A rule in the making. `is_approved` holds for this very text."""

    id: str
    text: str
    note: Note = field(default_factory=Note)

    @property
    def tag(self) -> str:
        """Changes with the text."""
        return tag_of(self.text)

    @property
    def is_approved(self) -> bool:
        return self.note.approved_by is not None and self.note.approved_tag == self.tag


@dataclass(frozen=True, slots=True)
class Checked:
    """What is to be said of a draft's text. `elsewhere` are mistakes of other files, which keep it from being typed."""

    mistakes: Sequence[Problem]
    elsewhere: Sequence[Problem]
    warnings: Sequence[Problem]
    rule: Rule | None
    tests: Sequence[TestResult]
    definitions: Definitions | None

    @property
    def is_ok(self) -> bool:
        """Whether it can come into force: it has no mistake, and its tests pass."""
        return not self.mistakes and not self.elsewhere and all(one.problem is None for one in self.tests)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a rule stands in the project's files: the file, its text there, and the trial that runs beside it."""

    file: RuleFile
    text: str
    is_shadow: bool
    trial: str = ""
    trial_text: str = ""


class RuleDrafts(RuleFiles):
    """The drafts of an opened project."""

    __slots__ = ()

    read_once: ReadOnce

    @property
    @abstractmethod
    def systems(self) -> Systems:
        """The outside systems of the project, and what else shroff.yaml says that decides nothing."""

    @property
    @abstractmethod
    def registry(self) -> Registry:
        """The models of the project."""

    @property
    def needs_second_person(self) -> bool:
        """Whether a rule comes into force only when somebody who did not write it approves it."""
        return EVERYWHERE in self.systems.second_person

    def refuse_rules_in(self, folder: Path) -> None:
        """Raises: NotAllowedError for the folder of the project's rules, where a second person approves those."""
        if self.needs_second_person and folder.resolve() == (self.places.folder / FOLDER).resolve():
            words = "a second person approves rules here, as shroff.yaml says, and only the service knows two people"
            raise NotAllowedError(f"{words}; name another folder, and make drafts of it on the page of rules")

    def has_drafts_in(self, folder: Path) -> bool:
        """Whether this is the folder of the project's drafts, in which each file is one rule's."""
        return folder.resolve() == self._folder.resolve()

    # ---- drafts as texts

    def drafts(self) -> list[Draft]:
        """All drafts, by their ids."""
        notes = self._notes()
        found = sorted(one for one in self._folder.glob("*.yaml") if _can_be_id(one.stem))
        return [Draft(one.stem, config.read_text(one), notes.get(one.stem, Note())) for one in found]

    def draft(self, id: str) -> Draft | None:
        """The draft of a rule; None where there is none."""
        return next((one for one in self.drafts() if one.id == id), None)

    def write_draft(
        self, id: str, text: str, tag: str, authors: Sequence[Author], before: Before = unrecorded
    ) -> Draft:
        """Keep a draft, mistakes and all, if it is still what `tag` says; empty for one that is not there yet.

        Whoever wrote it is known before it is there, so that nobody approves what they wrote themselves. Where `before`
        raises, which is told no file and the new tag, nothing is kept.

        Raises: ChangedMeanwhileError; UsageError for an id that cannot be one.
        """
        _require_id(id)
        text = config.lines_ended(text).strip("\n") + "\n"
        _require_short(text)
        with config.editing(self.places):
            is_new = self._require(id, tag) is None
            notes = self._notes()
            note = Note() if is_new else notes.get(id, Note())
            note.authors = [*note.authors, *(one for one in authors if one not in note.authors)]
            note.saved_at_ms = self.now_ms()
            before("", tag_of(text))
            config.make_folder(self._folder)
            self._put_notes({**notes, id: note})
            config.write_text(self._folder / f"{id}.yaml", text)
        return Draft(id, text, note)

    def drop_draft(self, id: str, tag: str, before: Before = unrecorded) -> None:
        """Throw a draft away, and take its trial out of the project's files. Raises: ChangedMeanwhileError."""
        with config.editing(self.places):
            self._require(id, tag)
            standing = self.standing(id)
            if standing is not None and standing.trial:
                self._put_rules(standing.file.name, texts.without_rule(standing.file.text, standing.trial), before)
            else:
                before("", "")
            self._forget(id)

    def approve_draft(self, id: str, tag: str, author: Author, before: Before = unrecorded) -> Draft:
        """Say, as a second person, that this text may come into force; `before` as `write_draft` tells it.

        Raises: ChangedMeanwhileError; NotAllowedError for who wrote some of it; DefinitionError for one with mistakes.
        """
        with config.editing(self.places):
            draft = self._there(id, tag)
            if author.id in {one.id for one in draft.note.authors}:
                raise NotAllowedError(f"{author.name} wrote some of this draft; somebody else has to approve it")
            self._require_ok(draft)
            note = msgspec.structs.replace(
                draft.note, approved_tag=draft.tag, approved_by=author, approved_at_ms=self.now_ms()
            )
            before("", draft.tag)
            self._put_notes({**self._notes(), id: note})
        return Draft(id, draft.text, note)

    # ---- what is to be said of one

    def check_draft(self, id: str, text: str) -> Checked:
        """Hold a text, as the rule of this id, against the project: types, names, tests. Nothing is written.

        Raises: UsageError for a text that is too long.
        Cost: reading what was changed of the project's files since somebody read them last, and typing all of it; some
        seconds for a long text full of mistakes. Its tests take `ruletests.SECONDS_MAX` at most.
        """
        _require_short(text)
        name = f"{DRAFTS}/{id}.yaml"
        text = config.lines_ended(text)
        files = config.read_files(self.places.folder, [])
        draft = [DraftFile(RULES, name, text)]
        loaded = load_definitions(files, self.hasher, self.registry.load, draft, self.read_once)
        mine = [one for one in loaded.problems if one.file == name]
        mine += [] if mine else texts.not_one_rule(text, id, name)
        if not text.strip():
            mine = [Problem(name, 1, 1, "", "there is nothing here yet.", f"Begin with '- id: {id}'.")]
        elsewhere = [one for one in loaded.problems if one.file != name]
        warnings = [one for one in loaded.warnings if one.file == name]
        definitions = loaded.definitions
        rule = None if definitions is None else next((one for one in definitions.rules if one.id == id), None)
        tests = [] if mine or definitions is None or rule is None else run_tests_of(rule, definitions, self.hasher)
        return Checked(mine, elsewhere, warnings, rule, tests, definitions)

    # ---- in shadow, in force

    def standing(self, id: str) -> Standing | None:
        """Where a rule stands in the project's files; None where no file has it."""
        return self.standings().get(id)

    def standings(self) -> dict[str, Standing]:
        """Where each rule stands, by their ids. Cost: reading all files of rules."""
        found: dict[str, Standing] = {}
        for file in self.rule_files():
            there = texts.rule_texts(file.text)
            trials = {trial_of(one): one for one in sorted(there, key=trial_number) if trial_of(one)}
            for id, rule in there.items():
                trial = trials.get(id, "")
                trial_text = there[trial].text if trial else ""
                found[id] = Standing(file, rule.text, texts.is_in_shadow(rule.text), trial, trial_text)
        return found

    def shadow_draft(self, id: str, tag: str, file: str, used: Sequence[str], before: Before = unrecorded) -> str:
        """Put a draft into the project's files in shadow: recorded, without effect. Gives the name of the file.

        A new rule goes to the end of `file`; one that is in force keeps its place, and its draft stands beside it under
        the next id of its trials. `used` are ids of rules that were ever in force.

        Raises: ChangedMeanwhileError; DefinitionError for mistakes.
        """
        with config.editing(self.places):
            draft = self._there(id, tag)
            self._require_ok(draft)
            text, standing = texts.in_shadow(draft.text, shadow=True), self.standing(id)
            if standing is None or standing.is_shadow:
                name = file if standing is None else standing.file.name
                return self._put_rules(name, texts.with_rule(self._text(name), id, text), before)
            name, there = standing.file.name, standing.file.text
            if standing.trial:
                there = texts.without_rule(there, standing.trial)
            numbers = [trial_number(one) for one in (*used, standing.trial) if trial_of(one) == id]
            trial = f"{id}_try{max(numbers, default=0) + 1}"
            return self._put_rules(name, texts.beside_rule(there, id, texts.renamed(text, trial)), before)

    def activate_draft(self, id: str, tag: str, file: str, before: Before = unrecorded) -> str:
        """Put a draft into the project's files as it is, in the place of the rule and of its trial; it is none then.

        Raises: ChangedMeanwhileError; DefinitionError for mistakes; NotAllowedError where nobody approved it.
        """
        with config.editing(self.places):
            draft = self._there(id, tag)
            self._require_ok(draft)
            if self.needs_second_person and not draft.is_approved:
                raise NotAllowedError("a second person has to approve this draft first: shroff.yaml says so")
            standing = self.standing(id)
            name = file if standing is None else standing.file.name
            there = self._text(name)
            if standing is not None and standing.trial:
                there = texts.without_rule(there, standing.trial)
            self._put_rules(name, texts.with_rule(there, id, texts.in_shadow(draft.text, shadow=False)), before)
            self._forget(id)
        return name

    def put_back(self, id: str, text: str, file: str, before: Before = unrecorded) -> str:
        """Put an earlier text of a rule into the project's files; an empty one takes the rule out.

        It was in force before, so nobody is asked again. Raises: DefinitionError for what does not fit the project now.
        """
        with config.editing(self.places):
            standing = self.standing(id)
            name = file if standing is None else standing.file.name
            there = self._text(name)
            after = texts.with_rule(there, id, text) if text else texts.without_rule(there, id)
            return self._put_rules(name, after, before)

    # ---- inside

    @property
    def _folder(self) -> Path:
        return self.places.folder / DRAFTS

    @property
    def _ledger(self) -> Path:
        return self.places.state / LEDGER

    def _notes(self) -> dict[str, Note]:
        if not self._ledger.exists():
            return {}
        try:
            return msgspec.json.decode(config.read_text(self._ledger), type=dict[str, Note])
        except msgspec.MsgspecError:
            words = "Delete it: who wrote and approved drafts is then forgotten, and is in the record all the same"
            raise StorageError(f"{self._ledger} cannot be read. {words}.") from None

    def _put_notes(self, notes: dict[str, Note]) -> None:
        config.make_folder(self.places.state)
        config.write_text(self._ledger, msgspec.json.encode(notes).decode())

    def _forget(self, id: str) -> None:
        notes = self._notes()
        notes.pop(id, None)
        self._put_notes(notes)
        (self._folder / f"{id}.yaml").unlink(missing_ok=True)

    def _require(self, id: str, tag: str) -> Draft | None:
        found = self.draft(id)
        if ("" if found is None else found.tag) != tag:
            raise ChangedMeanwhileError(f"the draft of {id} was changed meanwhile; read it again, and change that.")
        return found

    def _there(self, id: str, tag: str) -> Draft:
        found = self._require(id, tag)
        if found is None:
            raise UsageError(f"there is no draft of {id}.")
        return found

    def _require_ok(self, draft: Draft) -> None:
        checked = self.check_draft(draft.id, draft.text)
        failed = [one.problem for one in checked.tests if one.problem is not None]
        problems = [*checked.mistakes, *checked.elsewhere, *failed]
        if problems:
            raise DefinitionError(problems)

    def _text(self, name: str) -> str:
        found = self.rule_file(name)
        return "" if found is None else found.text

    def _put_rules(self, name: str, text: str, before: Before) -> str:
        """Write a file of rules that is held already, or take it away where nothing is left of it."""
        if text.strip():
            self._write_rules(name, text, before)
        else:
            self.check_with({}, without=[f"{FOLDER}{name}"])
            before(name, tag_of(""))
            (self.places.folder / FOLDER / name).unlink(missing_ok=True)
            self.reload()
        return name


def is_short(text: str) -> bool:
    """Whether a text is no longer than a draft may be."""
    return len(text.encode("utf-8", "surrogatepass")) <= DRAFT_BYTES_MAX


def _require_short(text: str) -> None:
    if not is_short(text):
        raise UsageError(f"{TOO_LONG}.")


def _can_be_id(id: str) -> bool:
    return _ID.fullmatch(id) is not None and id not in _NO_RULES


def _require_id(id: str) -> None:
    if not _can_be_id(id) or trial_of(id):
        raise UsageError(
            f"{id!r} cannot be a rule's id: a small letter first, then small letters, digits and _, at most 180, "
            f"no _try1 at its end, and not {' or '.join(_NO_RULES)}."
        )
