"""Files of an opened project: loading, checks with rule tests, and comparison with the log."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from shroff import config
from shroff.errors import DefinitionError, Problem, ShroffError, UsageError, ended
from shroff.events.intake import Intake
from shroff.events.redaction import keeping_hashed
from shroff.json_types import TextDict, TextMapping
from shroff.log import ruletests
from shroff.log.active_files import NOTICES, FileDifference, beside, changes, followed
from shroff.monitoring.live_order import warnings_of
from shroff.project.definitions import Definitions, Loaded, is_deciding, load_definitions
from shroff.project.file_kinds import added_files
from shroff.project.laws import load_laws
from shroff.project.lists import padded_values
from shroff.project.loader import MadeOnce, files_of, line_of
from shroff.project.scoring import problems_of
from shroff.project.settings.loader import currency_warning
from shroff.runtime.values import replace
from shroff.services.parts import ProjectPart
from shroff.services.proposals.fallbacks import fallback_problems
from shroff.services.system_names import id_problems, name_problems, unread_mappings, variables_not_set

if TYPE_CHECKING:
    from collections.abc import Collection

    from shroff.services.context import ProjectContext
    from shroff.streams.log import Log

EVENTS = "events.yaml"


def load(context: ProjectContext) -> Loaded:
    """Load the project's files, with errors and warnings, also about outside systems."""
    from shroff.services.jobs.kinds import with_schedules
    from shroff.services.notices.files import with_notices

    files, problems, warnings = files_of(context.paths.folder, context.read_once.texts.text)
    refused, doubtful = fallbacks_in(context, files)
    problems += refused
    warnings += doubtful
    loaded = with_schedules(files, with_notices(files, _loaded(context, files)))
    if (definitions := loaded.definitions) is not None:
        if not context.paths.is_elsewhere:
            problems += name_problems(definitions.events, context.systems, files.get(config.PROJECT_FILE, ""))
            problems += id_problems(definitions.events, context.systems, files.get("events.yaml", ""))
            warnings += unread_mappings(definitions.events, context.systems) + currency_warning(definitions.settings)
        warnings += warnings_of(definitions, context.systems.source)
    return loaded.beside(problems, warnings, None if context.paths.is_elsewhere else files)


def fallbacks_in(context: ProjectContext, files: TextMapping) -> tuple[list[Problem], list[Problem]]:
    """Return errors and warnings for constant fallbacks in mappings.

    Only the project's files are checked, so a log whose active version has such a mapping stays readable.
    """
    text = files.get(EVENTS)
    tree = None if text is None else context.read_once.tree(EVENTS, text, [])
    return fallback_problems(tree)


def _loaded(context: ProjectContext, files: TextMapping) -> Loaded:
    hasher = context.log.hasher
    return load_definitions(files, hasher, context.registry.load, read=context.read_once)


def check(context: ProjectContext, *, with_log: bool = True) -> ruletests.CheckReport:
    """Load all files, type every expression, run the rule tests; compare event types with the log if there is one."""
    report = ruletests.check(context.loaded, context.log.hasher, context.read_once)
    if report.definitions is not None:
        problems = problems_of(report.definitions.unloaded())
        files = context.loaded.files or {}
        load_laws(files, report.definitions, problems)
        warnings = (*report.warnings, *padded_values(files), *variables_not_set(files).values())
        report = replace(report, errors=(*report.errors, *problems), warnings=warnings)
    report = replace(report, source_line=partial(line_of, context.paths.folder))
    return _held_against_log(context, report) if with_log else report


def _held_against_log(context: ProjectContext, report: ruletests.CheckReport) -> ruletests.CheckReport:
    """Add errors from comparing event types with the log (see `activation`); an unreadable log is a warning."""
    from shroff.log.writer import check_change

    if report.definitions is None or report.errors:
        return report
    try:
        if context.log.exists():
            with closing(context.log.open(read_only=True)) as log:
                check_change(log, report.definitions)
    except DefinitionError as error:
        return replace(report, errors=error.problems)
    except ShroffError as error:
        is_file = context.systems.store is None or context.paths.is_elsewhere
        location = context.paths.log.relative_to(context.paths.folder).as_posix() if is_file else "the log"
        unread = Problem(location, 0, 0, "", f"these files were not checked: {ended(str(error))}")
        return replace(report, warnings=(*report.warnings, unread))
    return report


def checked(context: ProjectContext) -> Definitions:
    """Return the definitions after running the rule tests. Raises: DefinitionError."""
    report = ruletests.check(context.loaded, context.log.hasher, context.read_once, context.paths.checked)
    if report.definitions is None or report.errors:
        raise DefinitionError(report.errors)
    return report.definitions


def checked_with(context: ProjectContext, changes: TextMapping, without: Collection[str] = ()) -> Definitions:
    """Return the definitions with `changes` applied and the files `without` left out. Raises: DefinitionError."""
    changed = {name: config.lines_ended(text) for name, text in changes.items()}
    on_disk = config.read_files(context.paths.folder, [], text=context.read_once.texts.text)
    files = {name: text for name, text in on_disk.items() if name not in without}
    files |= changed
    loaded = _loaded(context, files).beside(fallbacks_in(context, files)[0])
    return checked(replace(context, files_read=MadeOnce(loaded)))


def as_active(context: ProjectContext, active: TextMapping, names: Collection[str]) -> ProjectContext:
    """Return the project with the named files as they are on disk, and the other deciding files as active.

    Raises: UsageError if the named files need changes of the others.
    """
    on_disk = config.read_files(context.paths.folder, [], text=context.read_once.texts.text)
    files = {name: text for name, text in on_disk.items() if name in names or not is_deciding(name)}
    files |= {name: text for name, text in active.items() if name not in names}
    project = replace(context, files_read=MadeOnce(_loaded(context, files)))
    try:
        checked(project).require_models()
    except DefinitionError as error:
        words = f"this needs changes of other files that are not active: {error.problems[0]}. Apply those first"
        raise UsageError(words) from None
    return project


def intake_of(context: ProjectContext, *, keeps_hashes: bool, definitions: Definitions | None = None) -> Intake:
    """Return the validator of files and lines, by default for the project's definitions.

    With `keeps_hashes`, values that look like hashes are kept, as exports and quarantine contain them. Without it they
    are hashed again; otherwise a sender could submit a hash seen elsewhere and write into another card's history.
    """
    from shroff.worker.pushed import own_types

    definitions = definitions or context.definitions
    hasher = context.log.hasher
    own = own_types(context.systems, definitions.events)
    return Intake(definitions.events, definitions.settings, keeping_hashed(hasher) if keeps_hashes else hasher, own)


class FileVersions(ProjectPart):
    """Active and inactive versions of the project's files."""

    def unapplied(self) -> list[FileDifference]:
        """List the changes in the project's files that are not active.

        Raises: DefinitionError; UsageError without a log.
        """
        with self._context.afresh().log.reading() as log:
            return self.unapplied_in(log)

    def unapplied_in(self, log: Log) -> list[FileDifference]:
        """List the changes that are not active in this log. Raises: DefinitionError."""
        fresh = self._context.afresh()  # a service keeps using the files it activated
        control, _ = followed(log, self._context.read_once)
        return changes(log, control, fresh.definitions, FileVersions(fresh).beside(), self._load_active)

    def beside(self) -> TextDict:
        """Get the content of project files and settings that are not part of a version."""
        folder = self._paths.folder
        names = NOTICES, *added_files(config.files_of(folder))
        return beside(config.read_files(folder, [], names), self._systems)

    def _load_active(self, files: TextMapping) -> Definitions:
        return load_definitions(files, self._log.hasher, read=self._context.read_once).or_raise()

    def active(self) -> Definitions | None:
        """Load the active version; None without a log."""
        if not self._log.exists():
            return None
        with self._log.reading() as log:
            control, seq = followed(log, self._context.read_once)
        return self._load_active(control.files) if seq else None

    def active_seq(self) -> int:
        """Get the sequence number of the active version."""
        with self._log.reading() as log:
            return followed(log, self._context.read_once)[1]
