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
LISTS = "lists"  # kind of the version of all lists
SETTLED_NS = 2_000_000_000  # coarsest resolution of file times
LISTS_KEPT = 2  # parsed versions of each list
_PLAIN = "plain list"
_PIECE = 1 << 17  # characters of a text after which the state of its hash is cached
MADE_KEPT = 3  # results: of the project's files, of the active ones, and of a change


class ReadOnce:
    """A cache of parsed files by their texts; the newest result of each file stays. For any thread.

    Results are shared and must not be changed. Two threads may parse the same text at once.
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

        def update(_: str, old: tuple[ListFile, list[Problem]]) -> tuple[ListFile, list[Problem]] | None:
            new = None if old[1] else reread(old[0], text)
            return None if new is None else (new, [])

        parsed, found = self._updated(name, text, update, lambda: (load_list(name, text, found), found))
        problems += found
        return parsed

    def list_known(self, file: str, text: str) -> ListFile | None:
        """Return the cached list of this text; None if there is none, or it has errors."""
        cached = self._lists.get(file, ())
        return next((parsed for old_text, (parsed, errors) in cached if old_text == text and not errors), None)

    def plain_rows(self, file: str, text: str) -> int | None:
        """Return the number of rows of the last `keep_plain`; None for any other text."""
        kept: tuple[str, str, int] = self.last(_PLAIN) or ("", "", 0)
        return kept[2] if kept[0] == file and kept[1] == text else None

    def keep_plain(self, file: str, text: str, rows: int) -> None:
        """Record that an edit left a plain list with this many rows."""
        self.keep(_PLAIN, (file, text, rows))

    def mapped(self, found: ListFile, change: Callable[[str], str]) -> ListFile:
        """Return a list with each value changed. `change` must be the same function for all calls."""

        def update(old: ListFile, old_mapped: ListFile) -> ListFile | None:
            text = remapped(old.text, old_mapped.text, found.text, change)
            return None if text is None else reread(old_mapped, text) or load_list(f"lists/{found.name}.csv", text, [])

        return self._updated(f"mapped {found.name}", found, update, lambda: found.mapped(change))

    def _updated(
        self, name: str, source: Given, update: Callable[[Given, Value], Value | None], make: Callable[[], Value]
    ) -> Value:
        """Return the cached result of a source, else a cached one that `update` adapts, else a new one."""
        cached: tuple[tuple[Given, Value], ...] = self._lists.get(name, ())
        for old_source, old in cached:
            if old_source is source or (isinstance(source, str) and old_source == source):
                return old
        for index, (old_source, old) in enumerate(cached):
            new = update(old_source, old)
            if new is not None:
                self._lists[name] = ((source, new), *cached[:index], *cached[index + 1 :])
                return new
        new = make()
        self._lists[name] = ((source, new), *cached[: LISTS_KEPT - 1])
        return new

    def version(self, kind: str, texts: TextMapping) -> str:
        """Return the version of texts (see `TextsVersion`), computed from the last one of this kind."""
        return self._versions.setdefault(kind, TextsVersion()).of(texts)

    def once(self, kind: str, given: object, make: Callable[[], Value]) -> Value:
        """Return `make()`, or its cached result for an equal `given` among the last few."""
        cached: tuple[tuple[object, Any], ...] = self.last(kind) or ()
        value: Value
        for index, (earlier, value) in enumerate(cached):
            if earlier == given:
                if index:
                    self.keep(kind, (cached[index], *cached[:index], *cached[index + 1 :]))
                return value
        value = make()
        self.keep(kind, ((given, value), *cached[: MADE_KEPT - 1]))
        return value

    def of(self, kind: str, name: str, given: object, make: Callable[[], Value]) -> Value:
        """Return the newest result for a name if it was made of the same object, else `make()`."""
        return self._of(kind, name, given, lambda _: make(), [])

    def of_same(self, kind: str, given: tuple[object, ...], make: Callable[[], Value]) -> Value:
        """Return the newest result of a kind if all of `given` are the same objects, or equal texts, sets or tuples."""
        cached: tuple[tuple[object, ...], Value] | None = self.last(kind)
        if cached is not None and all(
            kept_value is other or (isinstance(kept_value, str | frozenset | tuple) and kept_value == other)
            for kept_value, other in zip(cached[0], given, strict=True)
        ):
            return cached[1]
        value = make()
        self.keep(kind, (given, value))
        return value

    def last(self, kind: str) -> Any:
        """Return the newest cached value of a kind, or None."""
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
    """A cache of the texts of project files, valid while inode, size and times of a file stay the same.

    A file is not cached if it was changed less than two seconds before it was read, since two changes may have the same
    time. A text that this process has written is cached for those two seconds, and then read once more.
    """

    _kept: dict[str, tuple[tuple[int, ...], str, bool]] = {}  # stamp, text, whether the file has these exact bytes
    _written: dict[str, tuple[tuple[int, ...], str]] = {}

    def wrote(self, path: str, text: str) -> None:
        """Record a text that this process has just written while holding the write lock; next reads return it."""
        if "\r" not in text:
            self._written[path] = _stamp(path), text

    def written(self, path: str) -> str | None:
        """Return the exact text of a file that this process has just written or has read; None if not cached."""
        just_written = self._written.get(path)
        kept = self._kept.get(path)
        with suppress(OSError):
            stamp = _stamp(path) if just_written is not None or kept is not None else ()
            if just_written is not None and just_written[0] == stamp and time.time_ns() - max(stamp[2:]) < SETTLED_NS:
                return just_written[1]
            if just_written is not None:
                self._kept[path] = (), just_written[1], True  # not valid, but compared with the text that is read next
            elif kept is not None and kept[0] == stamp and kept[2]:
                return kept[1]
        self._written.pop(path, None)
        return None

    def text(self, path: str, name: str, problems: list[Problem]) -> str:
        """Return the text of a file, as `read_files` does. Raises: UsageError if it cannot be read."""
        if path in self._written:
            written = self.written(path)
            if written is not None:
                return written
        try:
            stamp = _stamp(path)
        except OSError:
            return config.text_of(config.bytes_of(path), name, problems)
        kept = self._kept.get(path)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        problem_count = len(problems)
        now_ns = time.time_ns()
        data = config.bytes_of(path)
        text = config.text_of(data, name, problems)
        if kept is not None and kept[1] == text:
            text = kept[1]  # the same object, so that comparisons are fast
        if len(problems) == problem_count and max(stamp[2:]) < now_ns - SETTLED_NS:
            self._kept[path] = stamp, text, b"\r" not in data
        return text


def _stamp(path: str) -> tuple[int, ...]:
    status = os.stat(path)  # noqa: PTH116 (for a thousand files, making a Path takes as long as the call)
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class TextsVersion(Struct, eq=False):
    """The version of texts by name: SHA-256 of their JSON, sorted by name; empty without texts. For any thread.

    States of the last computation are cached: hashing begins at the piece of the first text that differs.
    """

    _kept: tuple[tuple[str, str, list[_Hash]], ...] = ()  # name, text, and the hash state after each piece

    def of(self, texts: TextMapping) -> str:
        """Return the version of these texts. Cost: 1.5 ms per megabyte from the first difference on."""
        texts_hashed: list[tuple[str, str, list[_Hash]]] = []
        cached = self._kept
        state = hashlib.sha256(b"[")
        is_same = True
        for index, (name, text) in enumerate(sorted(texts.items())):
            known = cached[index] if is_same and index < len(cached) and cached[index][0] == name else None
            is_same = known is not None and known[1] == text
            if known is not None:
                states = known[2] if is_same else known[2][: edit_of(known[1], text).at // _PIECE + 1]
            else:
                state = state.copy()
                state.update((b"[" if not index else b'"],[') + to_json(name) + b',"')
                states = [state]
            for start in range((len(states) - 1) * _PIECE, len(text), _PIECE) if not is_same else ():
                state = states[-1].copy()
                # The JSON of the piece, without quotation marks
                state.update(to_json(text[start : start + _PIECE])[1:-1])
                states.append(state)
            state = states[-1]
            texts_hashed.append((name, text, states))
        self._kept = tuple(texts_hashed)
        if texts_hashed:
            state = state.copy()
            state.update(b'"]]')
        return state.hexdigest()[:32] if texts_hashed else ""


def text_version(texts: TextMapping) -> str:
    return TextsVersion().of(texts)
