"""Cache on disk of the last check of a project's files, so that a changed list row does not re-read the rules.

The cache is valid while all files except lists are unchanged. Of a changed list the rows are read, and the answers that
rule tests got from it must be the same. The file may be deleted at any time.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.structs import asdict

import shroff
from shroff import config
from shroff.errors import Problem, StorageError, UsageError
from shroff.json_types import TextDict, TextMapping
from shroff.project.definitions import Definitions, Versions, is_list
from shroff.project.look_ups import LookUps
from shroff.project.parse_cache import LISTS, ReadOnce
from shroff.project.reference import LIST_COLUMNS, Answer, Changes, answer_of, load_list, remapped
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.project.lists import Edited

FORM = 3  # increase it if the content or the checks change


class _CheckedFile(FrozenStruct):
    """The file's content. Its SHA-256 precedes it, since damage could change which values are hashed, or a version.

    `of` and the values of `lists` are hashes, `asked` has the answers of each list to rule tests. `versions` lacks the
    version of lists while changed lists are not active.
    """

    of: str
    lists: TextDict
    versions: TextDict
    hashed: list[str]
    kept: list[tuple[str, str]]
    asked: dict[str, dict[str, Answer]]


class Contents(FrozenStruct):
    """Hashes of a project's files: `of` all files except lists, including the lists' names; and of each list."""

    of: str
    lists: TextMapping


def contents_of(files: TextMapping, read: ReadOnce) -> Contents:
    """Hash these files. Cost: 1 ms per megabyte; of a list that `read` has cached, only of its new rows."""
    lists = {name: read.version(name, {name: files[name]}) for name in files if is_list(name)}
    rest = {name: text for name, text in files.items() if name not in lists}
    given = sorted(lists), rest
    of = read.once("contents", given, lambda: _hash([shroff.__version__, FORM, given[0], sorted(rest.items())]))
    return Contents(of, lists)


class ListRows(FrozenStruct):
    """A project with changed list rows, for the control event that makes them active."""

    versions: Versions
    files: TextMapping
    look_ups: LookUps


class CheckedFiles(FrozenStruct):
    """Files that passed the check; `texts` are those of the lists, as written."""

    texts: TextMapping
    look_ups: LookUps
    _kept: _CheckedFile
    _read: ReadOnce
    _mapped: tuple[str, TextMapping]  # version of lists, empty if unknown, and the texts of which it was made

    def allows(self, file: str, found: Edited, stands_for: Changes) -> bool:
        """Return whether an edit of a list is valid by its new rows alone; if not, everything must be checked again."""
        problems: list[Problem] = []
        rows = [[getattr(column, name) for name in LIST_COLUMNS] for column in found.after]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([[*LIST_COLUMNS], *rows])
        load_list(file, out.getvalue(), problems)
        asked = self._kept.asked.get(_name(file), {})
        return not problems and not any(stands_for(entry.value) in asked for entry in (*found.before, *found.after))

    def edited(self, file: str, text: str) -> CheckedFiles:
        """Return these files with another text of a list."""
        lists = {**self._kept.lists, file: self._read.version(file, {file: text})}
        kept = replace(self._kept, lists=lists, versions={**self._kept.versions, LISTS: ""})
        return replace(self, texts={**self.texts, file: text}, _kept=kept)

    def rows(self, versions: TextMapping, in_force: TextMapping, stands_for: Changes) -> ListRows:
        """Return the version that becomes active with the lists; unchanged files come from the log.

        Args:
            versions: Versions of the log's files. If they have the checked lists, only changed rows are hashed.
            in_force: The log's files.
            stands_for: Returns the hash of a value, for lists that are compared with a hashed field.
        """
        version, before = self._mapped
        is_known = bool(version) and version == versions.get(LISTS)
        texts = {}
        for file, text in self.texts.items():
            mapped: str | None = text.removeprefix("\ufeff")
            if _name(file) in self.look_ups.hashed:
                mapped = remapped(before[file], in_force[file], text, stands_for) if is_known else None
            texts[file] = load_list(file, text, []).mapped(stands_for).text if mapped is None else mapped
        now = Versions(**{**self._kept.versions, LISTS: self._read.version(LISTS, texts)})
        others = {name: text for name, text in in_force.items() if not is_list(name)}
        return ListRows(now, others | texts, self.look_ups)

    def keep(self, path: Path, version: str = "") -> None:
        """Write the cache if possible; `version` is that of the lists once it is active."""
        versions = {**self._kept.versions, LISTS: version or self._kept.versions[LISTS]}
        _write(path, replace(self._kept, versions=versions))


def keep_checked(
    path: Path, files: TextMapping, definitions: Definitions, asked: Mapping[str, Mapping[str, Answer]], read: ReadOnce
) -> None:
    """Write the cache after a successful check, if its folder exists.

    Args:
        definitions: The definitions loaded from the files.
        asked: The answers of each list to rule tests.
    """
    hashed = sorted(definitions.look_ups.hashed)
    kept = sorted(definitions.look_ups.kept)
    answers = {name: dict(row) for name, row in asked.items() if row}
    contents = contents_of(files, read)
    _write(path, _CheckedFile(contents.of, dict(contents.lists), asdict(definitions.versions), hashed, kept, answers))


def checked_files(path: Path, files: TextMapping, stands_for: Changes, read: ReadOnce) -> CheckedFiles | None:
    """Read the cache; None if it is missing, damaged or not valid for these files."""
    try:
        digest, _, text = config.read_text(path).partition("\n")
        if digest != sha256(text.encode()).hexdigest():
            return None
        cached = from_json(text, type=_CheckedFile)
    except (UsageError, ValueError):
        return None
    contents = contents_of(files, read)
    texts = {name: files[name] for name in contents.lists}
    if cached.of != contents.of:
        return None
    for file, text in texts.items():
        if cached.lists.get(file) == contents.lists[file]:
            continue
        problems: list[Problem] = []
        list_file = read.list_file(file, text, problems)
        list_file = (
            read.mapped(list_file, stands_for) if list_file.name in cached.hashed and not problems else list_file
        )
        asked = cached.asked.get(list_file.name, {})
        if problems or any(answer_of(list_file.entries, value) != answer for value, answer in asked.items()):
            return None
    look_ups = LookUps(frozenset(cached.hashed), frozenset(cached.kept))
    version = cached.versions[LISTS] if cached.lists == contents.lists else ""
    cached = replace(cached, lists=dict(contents.lists), versions={**cached.versions, LISTS: version})
    return CheckedFiles(texts, look_ups, cached, read, (version, texts))


def _write(path: Path, kept: _CheckedFile) -> None:
    text = to_json(kept, order="deterministic").decode()
    text = f"{sha256(text.encode()).hexdigest()}\n{text}"
    with suppress(StorageError, UsageError, OSError):  # the cache only saves time
        if path.parent.is_dir() and not (path.exists() and config.read_text(path) == text):
            config.write_text(path, text, is_durable=False)


def _name(file: str) -> str:
    return Path(file).stem


def _hash(value: object) -> str:
    return sha256(to_json(value)).hexdigest()
