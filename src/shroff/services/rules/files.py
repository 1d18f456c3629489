"""Rule files of a project, edited one rule at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shroff import config
from shroff.errors import DefinitionError, Problem, RefusalError, UsageError
from shroff.project.definitions import load_definitions
from shroff.project.draft_overlay import RULES, DraftFile
from shroff.rules import texts
from shroff.rules.silences import trial_number, trial_of
from shroff.rules.texts import tag_of
from shroff.runtime import state_folder
from shroff.runtime.atomic_files import own
from shroff.runtime.entry_points import IMPORTERS, load_entry
from shroff.runtime.texts import Printed, table
from shroff.runtime.values import FrozenStruct
from shroff.services.parts import ProjectPart
from shroff.services.project_files import checked_with, fallbacks_in

if TYPE_CHECKING:
    from shroff.rules.definitions import Rule

FOLDER = "rules/"
FEATURES = "features.yaml"
TEXT_BYTES_MAX = 512 * 1024
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,99}\.yaml")


class ChangedMeanwhileError(RefusalError):
    """It has been changed since."""

    status, code, title = 412, "changed-meanwhile", "It was changed meanwhile"

    def __init__(self, words: str, there: str = "") -> None:
        super().__init__(words)
        self.headers = {"etag": f'"{there}"'} if there else {}


class NotActiveError(ChangedMeanwhileError):
    """Files have changes that are not active; the same works once they are active or undone."""


class NoRuleError(RefusalError):
    """There is no such rule."""

    status, code, title = 404, "no-rule", "There is no such rule"


class RuleFile(FrozenStruct):
    """One rule file: its name in `rules/`, its text, and its rules if the project has no errors."""

    name: str
    text: str
    rules: Sequence[Rule]

    @property
    def tag(self) -> str:
        return tag_of(self.text)


class RuleLocation(FrozenStruct):
    """Location of a rule in the project's files: the file, its text there, and its trial in shadow."""

    file: RuleFile
    text: str
    is_shadow: bool
    trial: str = ""
    trial_text: str = ""


Before = Callable[[str, str], None]  # called with a rule file and its future tag, before the write; "" for none


def unrecorded(file: str, tag: str) -> None:
    """Record nothing."""


def is_version(tags: str, there: str) -> bool:
    """Return whether version `there` is one of `tags`, separated by commas; `*` is any version but a missing file."""
    return there in tags.split(",") or (tags == "*" and bool(there))


def subject_of(rule: str) -> str:
    return f"rule {rule}"


class Rules(Printed, ProjectPart):
    """Rules of a project, as files."""

    def __repr__(self) -> str:
        rows = [[rule.id, rule.on, rule.effect, file.name] for file in self.files() for rule in file.rules]
        return table(rows, ["rule", "on", "effect", "file"]) if rows else "no rules: rules/NAME.yaml has some"

    def files(self) -> list[RuleFile]:
        """Get all rule files, by name."""
        texts = config.read_files(self._paths.folder, [])
        rules: Sequence[Rule] = ()
        with suppress(DefinitionError):
            rules = self._definitions.rules
        return [
            RuleFile(
                name.removeprefix(FOLDER),
                text,
                [rule for rule in rules if rule.place is not None and rule.place.file == name],
            )
            for name, text in texts.items()
            if name.startswith(FOLDER)
        ]

    def file(self, name: str) -> RuleFile | None:
        """Get one rule file, or None."""
        return next((file for file in self.files() if file.name == name), None)

    def write(self, name: str, text: str, tag: str, before: Before = unrecorded) -> None:
        """Write a rule file, if its version is still `tag`; an empty tag is for a new file.

        It becomes active when the process that writes the log starts or is asked to check the files. If `before`
        raises, nothing is written.

        Raises: ChangedMeanwhileError; UsageError for an invalid name; DefinitionError if the project would have errors.
        """
        _require_name(name)
        with config.editing(self._paths):
            self._context.reload()
            now = self.file(name)
            version = "" if now is None else now.tag
            if not is_version(tag, version):
                message = f"{FOLDER}{name} was changed meanwhile; read it again, and change that."
                raise ChangedMeanwhileError(message, version)
            self.write_held(name, text, before)

    def write_held(self, name: str, text: str, before: Before) -> None:
        """Like `write`, but without locking the files or checking the version."""
        _require_name(name)
        if len(text.encode()) > TEXT_BYTES_MAX:
            raise UsageError(f"a file of rules has at most {TEXT_BYTES_MAX:,} bytes.")
        checked_with(self._context, {f"{FOLDER}{name}": text})
        before(name, tag_of(config.lines_ended(text)))
        state_folder.make_folder(self._paths.folder / FOLDER)
        config.write_text(own(self._paths.folder, f"{FOLDER}{name}"), text)
        self._context.reload()

    def standing(self, id: str) -> RuleLocation | None:
        """Find a rule in the project's files; None if no file has it."""
        return self.standings().get(id)

    def standings(self) -> dict[str, RuleLocation]:
        """Find all rules in the project's files, by id. Cost: reads all rule files."""
        locations: dict[str, RuleLocation] = {}
        for file in self.files():
            texts_by_id = texts.rule_texts(file.text)
            trials = {trial_of(trial): trial for trial in sorted(texts_by_id, key=trial_number) if trial_of(trial)}
            for id, rule in texts_by_id.items():
                trial = trials.get(id, "")
                trial_text = texts_by_id[trial].text if trial else ""
                locations[id] = RuleLocation(file, rule.text, texts.is_in_shadow(rule.text), trial, trial_text)
        return locations

    def put_back(self, id: str, text: str, file: str, before: Before = unrecorded) -> str:
        """Restore an earlier text of a rule in the project's files; an empty text removes the rule.

        It was active before, so no second approval is needed. Raises: DefinitionError if the text no longer fits the
        project.
        """
        with config.editing(self._paths):
            standing = self.standing(id)
            name = file if standing is None else standing.file.name
            current = self.text_of(name)
            after = texts.with_rule(current, id, text) if text else texts.without_rule(current, id)
            return self.put(name, after, before)

    def text_of(self, name: str) -> str:
        file = self.file(name)
        return "" if file is None else file.text

    def put(self, name: str, text: str, before: Before) -> str:
        """Write a locked rule file, or delete it if it is empty."""
        if text.strip():
            self.write_held(name, text, before)
        else:
            checked_with(self._context, {}, without=[f"{FOLDER}{name}"])
            before(name, tag_of(""))
            (self._paths.folder / FOLDER / name).unlink(missing_ok=True)
            self._context.reload()
        return name

    def import_rules(
        self,
        file: str | Path,
        *,
        event: str = "",
        by: str = "",
        mapping: str | Path | None = None,
        shadow: bool = False,
        apart: bool = False,
    ) -> Any:
        """Import rules of Stripe Radar or Amazon Fraud Detector, as files that load with the project; write nothing.

        Args:
            file: A rule of Radar on each line, or the output of Amazon's command line.
            event: The event type of the rules; optional if one type is decided.
            by: The entity to flag; by default the one whose features a rule reads, or the first of the event.
            mapping: A file that maps attributes, entities, lists and past charges to this project.
            shadow: The rules are evaluated and recorded, without effect.
            apart: Each rule has a file named after it, as the project's drafts have; else one file has all.

        Returns: the `event` type, the `outcome` with carried and refused rules, and the `files` by their names.
        """
        carry_over = load_entry("rules.radar", IMPORTERS)
        where = None if mapping is None else Path(mapping)
        imported = carry_over(
            self._definitions, Path(file), event=event, by=by, mapping=where, shadow=shadow, apart=apart
        )
        if imported.files:
            draft = [
                DraftFile(name if name == FEATURES else RULES, name, text) for name, text in imported.files.items()
            ]
            problems: list[Problem] = []
            own_files = config.read_files(self._paths.folder, problems)
            problems += fallbacks_in(self._context, own_files)[0]
            loaded = load_definitions(own_files, self._log.hasher, self._registry.load, draft)
            loaded.beside(problems).or_raise()
        return imported


def _require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be a file of rules: small letters, digits, - and _, and .yaml at the end.")
