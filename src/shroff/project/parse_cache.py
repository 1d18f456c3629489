"""Cache of parsed project files by their text, since parsing YAML is most of loading a project."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct
from msgspec.json import encode as to_json

from shroff import config
from shroff.errors import Problem
from shroff.json_types import TextMapping
from shroff.language.yaml import text as yamltext
from shroff.project.reference import ListFile, load_list, remapped, reread
from shroff.runtime.texts import edit_of

if TYPE_CHECKING:
    from hashlib import _Hash

Given = TypeVar("Given")
Value = TypeVar("Value")
LISTS = "lists"  # the texts of all lists, as a version has them
SETTLED_NS = 2_000_000_000  # the coarsest times of file systems in use
LISTS_KEPT = 2  # of each list
_PLAIN = "plain list"
_PIECE = 1 << 17  # characters of a text behind each of which its hash is kept
MADE_KEPT = 3  # the project's files, those that the log has in force, and what is being changed


class ReadOnce:
    """Reads each text of a file once, and keeps the newest of each; from any thread, which may read one twice.

    What it gives is shared: nobody changes it.
    """

    __slots__ = ("_kept", "_lists", "_versions", "texts")

    def __init__(self) -> None:
        self.texts = KeptTexts()
        self._versions: dict[str, TextsVersion] = {}
        self._lists: dict[str, tuple[tuple[Any, Any], ...]] = {}
        self._kept: dict[tuple[str, str], tuple[object, Any, tuple[Problem, ...]]] = {}

    def tree(self, name: str, text: str, problems: list[Problem]) -> yamltext.Node | None:
        return self._of("tree", name, text, lambda problem: yamltext.read(text, name, problem), problems)

    def list_file(self, name: str, text: str, problems: list[Problem]) -> ListFile:
        found: list[Problem] = []

        def gone_on(_: str, made: tuple[ListFile, list[Problem]]) -> tuple[ListFile, list[Problem]] | None:
            new = None if made[1] else reread(made[0], text)
            return None if new is None else (new, [])

        read, found = self._gone_on(name, text, gone_on, lambda: (load_list(name, text, found), found))
        problems += found
        return read

    def list_known(self, file: str, text: str) -> ListFile | None:
        """A list as it was read of this text; None where it was not, or has mistakes."""
        return next((made[0] for given, made in self._lists.get(file, ()) if given == text and not made[1]), None)

    def plain_rows(self, file: str, text: str) -> int | None:
        """Return the number of rows of the last `keep_plain`; None for any other text."""
        kept: tuple[str, str, int] = self.last(_PLAIN) or ("", "", 0)
        return kept[2] if kept[0] == file and kept[1] == text else None

    def keep_plain(self, file: str, text: str, rows: int) -> None:
        """Remember that an edit left a list with this many rows, all plain."""
        self.keep(_PLAIN, (file, text, rows))

    def mapped(self, found: ListFile, change: Callable[[str], str]) -> ListFile:
        """A list with each value changed, where that is one and the same change for each list at all times."""

        def gone_on(was: ListFile, made: ListFile) -> ListFile | None:
            text = remapped(was.text, made.text, found.text, change)
            return None if text is None else reread(made, text) or load_list(f"lists/{found.name}.csv", text, [])

        return self._gone_on(f"mapped {found.name}", found, gone_on, lambda: found.mapped(change))

    def _gone_on(
        self, name: str, given: Given, go_on: Callable[[Given, Value], Value | None], make: Callable[[], Value]
    ) -> Value:
        kept: tuple[tuple[Given, Value], ...] = self._lists.get(name, ())
        for was, made in kept:
            if was is given or (isinstance(given, str) and was == given):
                return made
        for at, (was, made) in enumerate(kept):
            if (new := go_on(was, made)) is not None:
                self._lists[name] = ((given, new), *kept[:at], *kept[at + 1 :])
                return new
        new = make()
        self._lists[name] = ((given, new), *kept[: LISTS_KEPT - 1])
        return new

    def version(self, kind: str, texts: TextMapping) -> str:
        """Version of these texts (see `TextsVersion`), based on the previous version of this kind."""
        return self._versions.setdefault(kind, TextsVersion()).of(texts)

    def once(self, kind: str, given: object, make: Callable[[], Value]) -> Value:
        """The cached result of a function, for one of the last few equal inputs."""
        made: tuple[tuple[object, Any], ...] = self.last(kind) or ()
        value: Value
        for at, (known, value) in enumerate(made):
            if known == given:
                if at:
                    self.keep(kind, (made[at], *made[:at], *made[at + 1 :]))
                return value
        value = make()
        self.keep(kind, ((given, value), *made[: MADE_KEPT - 1]))
        return value

    def of(self, kind: str, name: str, given: object, make: Callable[[], Value]) -> Value:
        """Return the newest result for a name if it was made of the same object; equality is not enough."""
        return self._of(kind, name, given, lambda _: make(), [])

    def of_same(self, kind: str, given: tuple[object, ...], make: Callable[[], Value]) -> Value:
        """The newest result of a function, where all that is given is the same, or equal and no tree."""
        kept: tuple[tuple[object, ...], Value] | None = self.last(kind)
        if kept is not None and all(
            kept_value is other or (isinstance(kept_value, str | frozenset | tuple) and kept_value == other)
            for kept_value, other in zip(kept[0], given, strict=True)
        ):
            return kept[1]
        value = make()
        self.keep(kind, (given, value))
        return value

    def last(self, kind: str) -> Any:
        """The newest cached value of a kind; None where there is none."""
        return self._kept.get((kind, ""), (None, None))[1]

    def keep(self, kind: str, value: object) -> None:
        """Cache a value, for callers that can check whether it is still valid."""
        self._kept[kind, ""] = None, value, ()

    def _of(
        self, kind: str, name: str, given: object, read: Callable[[list[Problem]], Value], problems: list[Problem]
    ) -> Value:
        kept = self._kept.get((kind, name))
        if kept is not None and (kept[0] is given or (isinstance(given, str) and kept[0] == given)):
            value: Value = kept[1]
            problems += kept[2]
            return value
        found: list[Problem] = []
        value = read(found)
        self._kept[kind, name] = given, value, tuple(found)
        problems += found
        return value


class KeptTexts(Struct, eq=False):
    """Texts of project files as they were read, for as long as a file's inode, size and both times stay what they are.

    A file that had been changed less than two seconds before it was read is not kept: a file system may give two
    changes one time. What this process itself wrote is kept for those two seconds, and then read once more.
    """

    _kept: dict[str, tuple[tuple[int, ...], str, bool]] = {}  # and whether the file has it to the byte
    _written: dict[str, tuple[tuple[int, ...], str]] = {}

    def wrote(self, path: str, text: str) -> None:
        """Note what this process has just written, while nobody else may: the next reads give this text itself."""
        if "\r" not in text:
            self._written[path] = _stamp(path), text

    def written(self, path: str) -> str | None:
        """The text of a file that this process wrote a moment ago or has read, to the byte; None of any other."""
        found = self._written.get(path)
        kept = self._kept.get(path)
        with suppress(OSError):
            stamp = _stamp(path) if found is not None or kept is not None else ()
            if found is not None and found[0] == stamp and time.time_ns() - max(stamp[2:]) < SETTLED_NS:
                return found[1]
            if found is not None:
                self._kept[path] = (), found[1], True  # to be compared with what is read once more
            elif kept is not None and kept[0] == stamp and kept[2]:
                return kept[1]
        self._written.pop(path, None)
        return None

    def text(self, path: str, name: str, problems: list[Problem]) -> str:
        """The text of a file, as `read_files` gives it. Raises: UsageError where it cannot be read."""
        if path in self._written and (written := self.written(path)) is not None:
            return written
        try:
            stamp = _stamp(path)
        except OSError:
            return config.text_of(config.bytes_of(path), name, problems)
        kept = self._kept.get(path)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        before = len(problems)
        now_ns = time.time_ns()
        data = config.bytes_of(path)
        text = config.text_of(data, name, problems)
        if kept is not None and kept[1] == text:
            text = kept[1]  # the same object, so that comparisons are fast
        if len(problems) == before and max(stamp[2:]) < now_ns - SETTLED_NS:
            self._kept[path] = stamp, text, b"\r" not in data
        return text


def _stamp(path: str) -> tuple[int, ...]:
    found = os.stat(path)  # noqa: PTH116 (of a thousand files; a Path would take as long as the question)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


class TextsVersion(Struct, eq=False):
    """The version of texts by their names: SHA-256 of them as JSON, sorted by name; empty where there is none.

    It goes on from the texts before: where one of them differs from some place on, it is hashed from the piece in which
    that place lies, and so are all texts behind it. From any thread.
    """

    _kept: tuple[tuple[str, str, list[_Hash]], ...] = ()  # name, text, and the hashes of all up to its pieces

    def of(self, texts: TextMapping) -> str:
        """The version of these. Cost: 1.5 ms a megabyte of what is not as before."""
        made: list[tuple[str, str, list[_Hash]]] = []
        kept = self._kept
        state = hashlib.sha256(b"[")
        is_same = True
        for at, (name, text) in enumerate(sorted(texts.items())):
            known = kept[at] if is_same and at < len(kept) and kept[at][0] == name else None
            is_same = known is not None and known[1] == text
            if known is not None:
                states = known[2] if is_same else known[2][: edit_of(known[1], text).at // _PIECE + 1]
            else:
                state = state.copy()
                state.update((b"[" if not at else b'"],[') + to_json(name) + b',"')
                states = [state]
            for start in range((len(states) - 1) * _PIECE, len(text), _PIECE) if not is_same else ():
                state = states[-1].copy()
                # A text as JSON, without its quotation marks
                state.update(to_json(text[start : start + _PIECE])[1:-1])
                states.append(state)
            state = states[-1]
            made.append((name, text, states))
        self._kept = tuple(made)
        if made:
            state = state.copy()
            state.update(b'"]]')
        return state.hexdigest()[:32] if made else ""


def text_version(texts: TextMapping) -> str:
    """The version of texts, each read whole."""
    return TextsVersion().of(texts)
