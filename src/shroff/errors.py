"""Errors of shroff, as one tree.

    ShroffError
    ├── DefinitionError      a definition of the user has problems, each named with its place
    ├── InputError           an event is refused: it goes to quarantine with its reason
    ├── UsageError           a command or call that cannot be carried out as asked
    │   └── RefusalError     likewise, with a status and a code for callers
    ├── NotAllowedError      the caller lacks a right, which is named
    ├── SignInError          nobody was signed in; says no more than may be known
    │   └── PausedError      too many attempts: `wait_s` says how long to wait
    ├── NotThereYetError     this version does not evaluate a part of the language
    ├── TransientError       try again
    │   ├── LogBusyError     another process writes this log
    │   └── SchemasAwayError a schema registry cannot be reached, or refuses us: says where and what to do
    └── StateError           stop and call somebody
        ├── StorageError     the disk or file under the log fails; says what to do
        │   └── ReadOnlyError  the user of this process may not write there
        ├── PrunedError      events were read from the log that are only in the lake by now; says what to do
        ├── OvertakenError   another process has taken over this log: this one must end
        ├── RegistryError    a file of a model is damaged, or of a kind that cannot be scored
        └── ReplayError      the log does not give the decision that was recorded

A `Problem` is one mistake in a definition, with its place and, where there is one, a hint.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar

_ROOM = "Make room and try again"
_CURES = {errno.ENOSPC: _ROOM, errno.EDQUOT: _ROOM, errno.EISDIR: "Move that directory away"}
_RIGHTS = {errno.EACCES, errno.EPERM}
FRAMES_MAX = 30  # stack frames of an error in the program's log
COVERED = "[covered]"
_USER = re.compile(r"(?<=://)[^\s'\"<>]*@|(?<![\w/])[^\s:/@'\"<>(]+:[^\s:/@'\"<>]+@(?=[\w.-]+:\d)")
_PORT = re.compile(r"@[\w.-]+:\d")  # behind user info without a scheme
_QUERY = re.compile(r"(?<=\S[?#])[^\s'\"<>?#]*=[^\s'\"<>]*|(://[^\s'\"<>?#]*\?)\w[^\s'\"<>]*")


def covered(text: str) -> str:
    """Cover user info and query of the URLs in a text, which often are passwords and signatures.

    >>> covered("https://ann:pw@host/list.txt?sig=abc: Max retries exceeded with url: /list.txt?sig=abc")
    'https://[covered]@host/list.txt?[covered] Max retries exceeded with url: /list.txt?[covered]'

    Cost: 1 µs for a text without URLs, as nearly all reasons of refused lines are.
    """
    if "@" in text and ("://" in text or _PORT.search(text)):
        text = _USER.sub(f"{COVERED}@", text)
    if "?" in text or "#" in text:
        text = _QUERY.sub(rf"\1{COVERED}", text)
    return text


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a definition: where it is, what is wrong, what to do.

    Lines and columns count from 1; 0 means the file as a whole. `path` is the way
    through the file, such as `rules[3].when`.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", covered(self.message))
        object.__setattr__(self, "hint", covered(self.hint))

    def __str__(self) -> str:
        place = self.file if self.line == 0 else f"{self.file}:{self.line}:{self.column}"
        if self.path:
            place = f"{place} {self.path}"
        return f"{place}: {self.message}" + (f" {self.hint}" if self.hint else "")


class ShroffError(Exception):
    """Any error that this program raises on purpose. Its message never has secrets of URLs."""

    def __str__(self) -> str:
        return covered(super().__str__())


class DefinitionError(ShroffError):
    """The project's files have mistakes, which `problems` lists."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class InputError(ShroffError):
    """An event was refused; `mistakes` has the path and the words of each reason."""

    def __init__(self, mistakes: Iterable[tuple[str, str]]) -> None:
        self.mistakes = tuple(mistakes)
        told = [f"{path}: {words}" if path else words for path, words in self.mistakes]
        super().__init__("; ".join([*(text.rstrip(".") for text in told[:-1]), *told[-1:]]))


class UsageError(ShroffError):
    """A request that cannot be done as asked; the message says what can."""


class RefusalError(UsageError):
    """A refused request; a subclass for each that callers tell apart, with its HTTP status, stable code and title."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad-request"
    title: str = "Invalid request"
    headers: Mapping[str, str] = {}  # of the response
    more: Mapping[str, Any] = {}  # further fields of the problem document


class NotAllowedError(ShroffError):
    """The caller is known and may not do this; says which right is missing."""


class SignInError(ShroffError):
    """A password, token, link or key opened nothing; the words say no more than anybody may know."""


class PausedError(SignInError):
    """Too many attempts to sign in: none is looked at for `wait_s` seconds."""

    def __init__(self, wait_s: int) -> None:
        self.wait_s = wait_s
        super().__init__(f"too many attempts to sign in. Wait {wait_s} s and try again")


class NotThereYetError(ShroffError):
    """The language has this, and this version does not evaluate it yet."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(f"{what} is not available yet")


class TransientError(ShroffError):
    """It failed now and may work later."""


class LogBusyError(TransientError):
    """Another process writes this log: `by` says which."""

    def __init__(self, words: str, by: str = "another process") -> None:
        super().__init__(words)
        self.by = by


class SchemasAwayError(TransientError):
    """The schema registry at an address gives no answer that says anything about a schema; wait and ask again."""


class StateError(ShroffError):
    """The program must not go on: what is stored and what it computes do not agree."""


class StorageError(StateError):
    """The disk or the file under the log failed; nothing acknowledged is lost."""


class ReadOnlyError(StorageError):
    """The user has no right to write there, or to read a key; nothing was written."""


def os_words(error: Exception, path: Path | str = "", failed: str = "") -> str:
    """What the system says of a file, and what to do where that is known; no full stop. Other errors as they are.

    Args:
        path: The file, where the error does not name it.
        failed: What could not be done with it, such as ` cannot be written`.
    """
    if not isinstance(error, OSError):
        return str(error)
    path = str(path or error.filename or "")
    is_right = path and error.errno in {*_RIGHTS, errno.ENOTDIR}
    cure = rights(Path(str(error.filename or path))) if is_right else _CURES.get(error.errno or 0, "")
    return f"{path and f'{path}{failed}: '}{error.strerror or error}{cure and f'. {cure}'}"


def rights(path: Path) -> str:
    """Return the owner, and the command that gives this user the right to write."""
    user = os.getuid()
    for there in (path, *path.parents):
        if os.path.lexists(there) and not os.access(there, os.W_OK):
            if (owner := there.lstat().st_uid) == user:
                return f"Run: chmod u+rwX {there}"
            return f"{there} belongs to user {owner}. Run as root: chown {user} {there}"
        if os.path.isdir(there):  # noqa: PTH112 (raises nothing)
            break
    return f"Make sure that {path.parent} is a folder that this user (uid {user}) may write to"


def refused(error: OSError, words: str) -> StorageError:
    """Refusal by the operating system, in these words: by its rights, or since it failed."""
    return (ReadOnlyError if error.errno in {*_RIGHTS, errno.EROFS} else StorageError)(words)


class PrunedError(StateError):
    """The store has these places no more: their records are in the lake."""

    def __init__(self, place: str, upto: int, more: str = "") -> None:
        self.upto = upto
        words = (
            f"{place}: records up to sequence number {upto:,} have moved to the lake. Add 'lake:' with its "
            "address to shroff.yaml"
        )
        super().__init__(f"{words}, and check that this machine can reach it{more and f'. {more}'}")


class OvertakenError(StateError):
    """Another process has taken over this log: this one must end, and its state is thrown away."""


class RegistryError(StateError):
    """A file of a model is not what its manifest says, or nothing that can be scored; says which, and the cure."""


class ReplayError(StateError):
    """The log does not give what was recorded."""


def ended(words: str) -> str:
    """The words as a sentence that ends: with a full stop, where neither that nor a question mark does."""
    return words if words.endswith((".", "?", "!")) else f"{words}."


def nearest(name: str, known: Collection[str]) -> str:
    """Give "Did you mean X?" for the known name nearest to `name`, or nothing; one with blanks in quotes."""
    for match in get_close_matches(name, list(known), n=1, cutoff=0.65):
        return f"Did you mean {match if match.isprintable() and match.split() == [match] else repr(match)}?"
    return ""


def trace_of(error: BaseException) -> str:
    """Where an error came from, for the log: types and frames, the outermost first, on one line.

    Its own words are left out: they may hold something of what was sent.
    """
    told, seen = list[str](), set[int]()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:  # an error may be among those before it
        seen.add(id(cause))
        told.append(f"{type(cause).__name__} at {' > '.join(stack_of(cause))}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "; after ".join(told)


def stack_of(error: BaseException) -> list[str]:
    """The frames of an error, the outermost first: file, line and function, without any value."""
    frames, traced = list[str](), error.__traceback__
    while traced is not None:
        code, name = traced.tb_frame.f_code, str(traced.tb_frame.f_globals.get("__name__"))
        parts = code.co_filename.split("/")
        count = name.count(".") + 1 + (parts[-1] == "__init__.py")  # not the folders that this machine has it in
        frames.append(f"{'/'.join(parts[-count:])}:{traced.tb_lineno} {code.co_name}")
        traced = traced.tb_next
    return frames[-FRAMES_MAX:]


def decode_words(error: Exception) -> str:
    """Why a text cannot be decoded, for people; Python names its recursion limit if a text is nested too deep."""
    return "it is nested too deep" if isinstance(error, RecursionError) else str(error)


def noted(words: str, note: str) -> ValueError:
    """A mistake with a note, which is for lines of files."""
    error = ValueError(words)
    error.add_note(note)
    return error


def notes_of(error: BaseException | None) -> str:
    return "".join(getattr(error, "__notes__", ()))
