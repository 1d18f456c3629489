"""Cache of the last check of a project's files, so that a changed list row re-reads no rules.

It holds while every file but the lists has the contents that were checked. A list may have changed meanwhile: its rows
are read, and what rule tests asked it must have the same answers. The file may be removed at any time.
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

FORM = 3  # to be raised if the content or the checks change


class _CheckedFile(FrozenStruct):
    """The file's content, which follows its SHA-256: damage could change what is hashed, or the version that decides.

    `of` and the values of `lists` are hashes, `asked` is what rule tests asked each list.
    `versions` has no version of lists where the lists changed since, until they are active.
    """

    of: str
    lists: TextDict
    versions: TextDict
    hashed: list[str]
    kept: list[tuple[str, str]]
    asked: dict[str, dict[str, Answer]]


class Contents(FrozenStruct):
    """Hashes of what the files of a project hold: of all but lists, with the names of those; and of each list."""

    of: str
    lists: TextMapping


def contents_of(files: TextMapping, read: ReadOnce) -> Contents:
    """Hashes of these files. Cost: 1 ms per megabyte; for a list that `read` knows, of its new rows only."""
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
    """Files that were checked, and found well; `texts` are those of the lists, as they are written."""

    texts: TextMapping
    look_ups: LookUps
    _kept: _CheckedFile
    _read: ReadOnce
    _mapped: tuple[str, TextMapping]  # a version of lists, and the texts that it was made of; "" where unknown

    def allows(self, file: str, found: Edited, stands_for: Changes) -> bool:
        """Whether a list edit is valid by its new rows alone; False if everything must be checked again."""
        problems: list[Problem] = []
        rows = [[getattr(column, name) for name in LIST_COLUMNS] for column in found.after]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([[*LIST_COLUMNS], *rows])
        load_list(file, out.getvalue(), problems)
        asked = self._kept.asked.get(_name(file), {})
        return not problems and not any(stands_for(entry.value) in asked for entry in (*found.before, *found.after))

    def edited(self, file: str, text: str) -> CheckedFiles:
        """The same with another text of a list."""
        lists = {**self._kept.lists, file: self._read.version(file, {file: text})}
        kept = replace(self._kept, lists=lists, versions={**self._kept.versions, LISTS: ""})
        return replace(self, texts={**self.texts, file: text}, _kept=kept)

    def rows(self, versions: TextMapping, in_force: TextMapping, stands_for: Changes) -> ListRows:
        """The version that becomes active with the lists; unchanged files come from the log.

        Args:
            versions: Those of the log's files. Where they have the lists that were checked, hashes go on from these.
            stands_for: Gives what stands for a value of a list that is compared with a hashed field.
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
        """Keep it for the next process, where that can be written; the version of its lists once that is active."""
        versions = {**self._kept.versions, LISTS: version or self._kept.versions[LISTS]}
        _write(path, replace(self._kept, versions=versions))


def keep_checked(
    path: Path, files: TextMapping, definitions: Definitions, asked: Mapping[str, Mapping[str, Answer]], read: ReadOnce
) -> None:
    """Keep that files were checked and are well; nothing where there is no folder for it.

    Args:
        definitions: What came of the files.
        asked: What rule tests asked each list, with its answers.
    """
    hashed = sorted(definitions.look_ups.hashed)
    kept = sorted(definitions.look_ups.kept)
    answers = {name: dict(row) for name, row in asked.items() if row}
    contents = contents_of(files, read)
    _write(path, _CheckedFile(contents.of, dict(contents.lists), asdict(definitions.versions), hashed, kept, answers))


def checked_files(path: Path, files: TextMapping, stands_for: Changes, read: ReadOnce) -> CheckedFiles | None:
    """Cached state of files; None where they are to be read and checked."""
    try:
        digest, _, text = config.read_text(path).partition("\n")
        if digest != sha256(text.encode()).hexdigest():
            return None
        kept = from_json(text, type=_CheckedFile)
    except (UsageError, ValueError):
        return None
    contents = contents_of(files, read)
    texts = {name: files[name] for name in contents.lists}
    if kept.of != contents.of:
        return None
    for file, text in texts.items():
        if kept.lists.get(file) == contents.lists[file]:
            continue
        problems: list[Problem] = []
        found = read.list_file(file, text, problems)
        found = read.mapped(found, stands_for) if found.name in kept.hashed and not problems else found
        asked = kept.asked.get(found.name, {})
        if problems or any(answer_of(found.entries, value) != answer for value, answer in asked.items()):
            return None
    look_ups = LookUps(frozenset(kept.hashed), frozenset(kept.kept))
    version = kept.versions[LISTS] if kept.lists == contents.lists else ""
    kept = replace(kept, lists=dict(contents.lists), versions={**kept.versions, LISTS: version})
    return CheckedFiles(texts, look_ups, kept, read, (version, texts))


def _write(path: Path, kept: _CheckedFile) -> None:
    text = to_json(kept, order="deterministic").decode()
    text = f"{sha256(text.encode()).hexdigest()}\n{text}"
    with suppress(StorageError, UsageError, OSError):  # it only saves time
        if path.parent.is_dir() and not (path.exists() and config.read_text(path) == text):
            config.write_text(path, text, is_durable=False)


def _name(file: str) -> str:
    return Path(file).stem


def _hash(value: object) -> str:
    return sha256(to_json(value)).hexdigest()
