"""Notices as a project declares them, and the store of what was sent."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final

from shroff import config
from shroff.app.adapter_factory import AdapterFactory
from shroff.errors import Problem, UsageError, nearest
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.nodes import Mapping as YamlMapping
from shroff.project.funnels import FILE as FUNNELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shroff.app.opened import Opened
    from shroff.notices.case_notifications import CaseNotifications
    from shroff.notices.definitions import Notice
    from shroff.notices.store import NoticeStore
    from shroff.people.store import PeopleStore
    from shroff.project.definitions import Loaded
    from shroff.streams.log import Log

FOLDER: Final = "notices/"


class NoticeFiles:
    """Notices of a project, and the location of their records."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    @property
    def declared(self) -> dict[str, Notice]:
        """The notices: in a process that writes the log those that are active, else those of the project's files.

        Raises: DefinitionError.
        """
        from shroff.notices.definitions import load_notices

        return load_notices(self.files(), self._opened.definitions, [], [], self._opened.systems.time_zone)

    def files(self) -> Mapping[str, str]:
        from shroff.log.active_files import NOTICES

        active = self._opened.taken.files
        return config.read_files(self._opened.places.folder, [], (NOTICES,)) if active is None else active

    def one(self, name: str) -> Notice:
        """Get one notice. Raises: UsageError if there is none with this name."""
        found = self.declared
        if name not in found:
            hint = nearest(name, found) or f"There is {', '.join(found) or 'none'}."
            raise UsageError(f"there is no notice {name!r}. {hint}")
        return found[name]

    def open_store(self) -> NoticeStore:
        """Open the store of notices; the caller closes it."""
        return self.store_beside(AdapterFactory(self._opened).open_people())

    def case_notices(self, people: PeopleStore, log: Log) -> CaseNotifications | None:
        """Get the writer of notifications for opened cases; None if no notice is on cases."""
        found = [one for one in self.declared.values() if one.on == "case"]
        if not found:
            return None
        from shroff.notices.case_notifications import CaseNotifications

        return CaseNotifications(found, self._opened.definitions, self.store_beside(people), log, self._opened.now_ms)

    def store_beside(self, people: PeopleStore) -> NoticeStore:
        """Open the store of notices with the database connections of people; that store closes them."""
        store: NoticeStore = AdapterFactory(self._opened).adapter_named("notices.sql")(people)
        return store

    def tells(self) -> bool:
        """Check whether there are notices, or rules that notify somebody."""
        return bool(self.declared) or any(rule.notify for rule in self._opened.definitions.rules)

    @contextmanager
    def told(self) -> Iterator[NoticeStore]:
        """Open the store of notifications: pending ones, messages, questions. Raises: UsageError without a log."""
        with closing(self.open_store()) as store:
            yield store


def with_notices(files: Mapping[str, str], loaded: Loaded) -> Loaded:
    """A loaded project with the mistakes in its notices and their texts."""
    if loaded.definitions is None:
        return loaded
    from shroff.notices.definitions import load_notices

    problems: list[Problem] = []
    warnings: list[Problem] = []
    found = load_notices(files, loaded.definitions, problems, warnings)
    problems += _unknown_funnels(files, found)
    if any(name.startswith(FOLDER) and name.endswith(".j2") for name in files):
        from shroff.notices.texts.templates import NoticeTemplates
        from shroff.notices.texts.text_check import check_texts

        mistakes = check_texts(NoticeTemplates(files), found)
        problems += [
            Problem(mistake.name, mistake.line, 1 if mistake.line else 0, "", mistake.words) for mistake in mistakes
        ]
    return loaded.beside(problems, warnings) if problems or warnings else loaded


def _unknown_funnels(files: Mapping[str, str], notices: Mapping[str, Notice]) -> Iterator[Problem]:
    """Funnels of reports that funnels.yaml does not have; a version has no such file, and is not held against it."""
    if FUNNELS in files:
        tree = yamltext.read(files[FUNNELS], FUNNELS, [])
        known = [key.text for key, _ in tree.entries] if isinstance(tree, YamlMapping) else []
        for notice in notices.values():
            for name in notice.funnels:
                if name not in known and notice.place is not None:
                    hint = nearest(name, known) or f"There is {', '.join(known) or 'none'}."
                    yield notice.place.problem(f"there is no funnel {name!r} in {FUNNELS}.", hint)
