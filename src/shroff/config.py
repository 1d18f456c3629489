"""The files of a project: their names, how they are read and written, and settings from environment variables."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

from shroff.errors import DefinitionError, LogBusyError, Problem, StorageError, UsageError, nearest, os_words, refused
from shroff.json_types import TextDict
from shroff.runtime import contents
from shroff.runtime.atomic_files import (
    UnsyncedError,
    foreign,
    leads_out,
    own,
    remove_unfinished,
    sync_folder,
    whole_file,
)
from shroff.runtime.entry_points import FILES, entry_point, own_points
from shroff.runtime.values import FrozenStruct

PROJECT_FILE = "shroff.yaml"
TEMPLATES = "payments paysim savings orders cards signals cookbook blank".split()
TEMPLATE_FOLDER = Path(__file__).parent / "templates"
STATE_FOLDER = ".shroff"
FILE_BYTES_MAX = 256 * 1024 * 1024
COMPLETION_VARIABLE = "_SHROFF_COMPLETE"  # set by the scripts of `shroff completion`, empty otherwise
CREDENTIALS = (  # what clients of S3 and Azure read by themselves
    *map("AWS_{}".format, "ACCESS_KEY_ID SECRET_ACCESS_KEY SESSION_TOKEN".split()),
    *map("AZURE_{}".format, "STORAGE_ACCOUNT_KEY CLIENT_SECRET".split()),
)
FILE_MODE = 0o640  # of what the program keeps: keys of entities stand in it in clear
FOLDER_MODE = 0o750
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
TextReader = Callable[[str, str, list[Problem]], str]  # gives the text of a file, by its path and its name
TABLE_ENDINGS = (".csv", ".csv.gz", ".parquet", ".mmdb")
TABLES = "tables"
_FOLDERS = (
    *((TABLES, ending) for ending in TABLE_ENDINGS),
    *(("rules", ".yaml"), ("laws", ".yaml"), ("lists", ".csv"), ("notices", ".yaml"), ("notices", ".j2")),
)
_FILES = (*map("{}.yaml".format, "shroff events features policy model schedules".split()), "models/in_force.json")


class ProjectPaths(FrozenStruct):
    """The files of one project."""

    folder: Path

    @property
    def state(self) -> Path:
        """The folder that the program writes: the log, the key of hashed fields. Not for version control."""
        return self.folder / STATE_FOLDER

    @property
    def log(self) -> Path:
        """The file of the log, if the log is one."""
        return self.state / "log.db"

    @property
    def is_elsewhere(self) -> bool:
        """Whether decisions go to a log for files alone instead of the project's own."""
        return False

    @property
    def snapshots(self) -> Path:
        """A folder of saved state: a cache of the log, which may be removed at any time."""
        return self.state / "snapshots"

    @property
    def models(self) -> Path:
        """The registry of models: a folder for each, and a file that says which ones decide."""
        return self.folder / "models"

    @property
    def tables(self) -> Path:
        return self.state / TABLES  # contents of large tables, each by its hash, of every version that the log has

    @property
    def mail(self) -> Path:
        """The folder of mails, one file each, if no mail server is set."""
        return self.state / "mail"

    @property
    def checked(self) -> Path:
        return self.state / "checked.json"  # what the last check of the files found; may be removed at any time

    @property
    def downloads(self) -> Path:
        """Files of a watched list on their way into the log, which may be removed at any time."""
        return self.state / "downloads"

    @property
    def audit_head(self) -> Path:
        """The end of the audit log when this machine last found it complete."""
        return self.state / "audit.head"

    @property
    def hash_key(self) -> Path:
        return self.state / "hash.key"


def filled(text: str, what: str, file: str = PROJECT_FILE) -> str:
    """Return a setting with each `${NAME}` replaced by that environment variable, or by the file of `NAME_FILE`.

    Raises: UsageError if one is not set or its file cannot be read; it names the variable and shows no other text.
    """

    def value(found: re.Match[str]) -> str:
        if (given := _variable(found[1])) is None:
            raise UsageError(f"{what} in {file} reads ${{{found[1]}}}, and that variable is not set.")
        return given

    return _VARIABLE.sub(value, text)


def unset(text: str) -> list[str]:
    """Return the names of a setting's variables that are not set in the environment, in order."""
    names = dict.fromkeys(_VARIABLE.findall(text))
    return [name for name in names if name not in os.environ and f"{name}_FILE" not in os.environ]


def share_credentials() -> None:
    """Set the variables that cloud libraries read, from the files that `NAME_FILE` names. Raises: UsageError."""
    for name in CREDENTIALS:
        if f"{name}_FILE" in os.environ:
            os.environ[name] = _variable(name) or ""
            del os.environ[f"{name}_FILE"]


def _variable(name: str) -> str | None:
    file = os.environ.get(f"{name}_FILE")
    if file is None:
        return os.environ.get(name)
    if name in os.environ:
        raise UsageError(f"both {name} and {name}_FILE are set in the environment; remove one of them.")
    try:
        return Path(file).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", "it is not UTF-8 text")
        raise UsageError(f"{name}_FILE names {file}, which cannot be read: {why}.") from None


def completion_asked() -> str:
    """Return the completion request of a shell, such as `bash_complete`; empty if a command is to be run."""
    return os.environ.get(COMPLETION_VARIABLE, "")


def find_project(start: Path) -> ProjectPaths:
    """Return the nearest folder with a shroff.yaml: `start` or a folder above it.

    Raises: UsageError if there is none, or if `start` does not exist.
    """
    start = start.resolve()
    if not start.is_dir():
        raise UsageError(f"the folder {start} does not exist.")
    for folder in (start, *start.parents):
        if (folder / PROJECT_FILE).is_file():
            return ProjectPaths(folder)
    raise UsageError(
        f"there is no {PROJECT_FILE} in {start} or above it. "
        "Make a project with 'shroff init DIR --template payments', or name one with 'shroff -C DIR'."
    )


def read_files(
    folder: Path, problems: list[Problem], only: tuple[str, ...] = ("",), text: TextReader | None = None
) -> TextDict:
    """Return the texts of project files by their names inside the folder (`rules/velocity.yaml`).

    A file that is not UTF-8 is reported in `problems`. It is returned too, with a mark for what cannot be read, so that
    everything else can still be checked. The text of a large table, or of one that is not CSV, is a reference to its
    content (see `contents`).

    Args:
        only: Beginnings of the names of the files to read; by default all are read.
        text: Reads one file.

    Raises: UsageError if a file cannot be read.
    """
    text = text or (lambda path, name, problems: text_of(bytes_of(path), name, problems))
    contents.known_store(store := ProjectPaths(folder).tables)

    def read(name: str) -> str:
        plain = partial(text, f"{folder}/{name}", name, problems)
        return contents.table_text(folder, name, store, plain) if name.startswith(TABLES) else plain()

    return {name: read(name) for name in _names(folder, only) if name.startswith(only)}


def read_sql(folder: Path, room: str) -> TextDict:
    """Return the texts of SQL files and their tests below a folder such as `marts`, by their names in the project.

    Raises: UsageError if one cannot be read; DefinitionError if one is not UTF-8.
    """
    problems: list[Problem] = []
    endings = {".sql", ".yaml", ".yml"}
    paths = sorted(path for path in (folder / room).rglob("*") if path.suffix in endings and not path.is_dir())
    names = [path.relative_to(folder).as_posix() for path in paths if not path.name.startswith(".")]
    found = {name: text_of(bytes_of(own(folder, name)), name, problems) for name in names}
    if problems:
        raise DefinitionError(problems)
    return found


def file_stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Return path, time of change (ns) and size of each project file. They differ after a file was changed."""
    found = []
    for name in _names(folder):
        path = f"{folder}/{name}"
        with suppress(OSError):
            stat = os.stat(path)  # noqa: PTH116 (a thousand times)
            found.append((path, stat.st_mtime_ns, stat.st_size))
    return found


def files_of(folder: Path) -> list[str]:
    """Return the names of files that a project may have at its top: shroff's own, and `KIND.yaml` of plug-ins.

    Other packages are searched only if the folder has a YAML file that shroff does not know.
    """
    known = [*_FILES, *(f"{point.name}.yaml" for point in own_points() if point.group == FILES)]
    there = (path.name for path in _there(folder, partial(_is_file, ".yaml")))
    return [*known, *(name for name in there if name not in known and entry_point(name.removesuffix(".yaml"), FILES))]


def _names(folder: Path, only: tuple[str, ...] = ("",)) -> list[str]:
    found = [name for name in files_of(folder) if name.startswith(only) and foreign(folder, folder / name) is None]
    for name, suffix in _FOLDERS:
        if any(f"{name}/".startswith(folder_name) or folder_name.startswith(f"{name}/") for folder_name in only):
            is_away = leads_out(folder, folder / name)
            there = () if is_away else _there(folder / name, partial(_is_file, suffix))
            found += [
                f"{name}/{entry.name}" for entry in there if not (entry.is_symlink() and leads_out(folder, Path(entry)))
            ]
    return found


def read_settings(folder: Path) -> str:
    """Return the text of shroff.yaml; empty if there is none. Raises: UsageError if it cannot be read."""
    path = own(folder, PROJECT_FILE)
    return text_of(bytes_of(path), PROJECT_FILE, []) if path.exists() else ""


def look_alikes(folder: Path) -> tuple[list[Problem], list[Problem]]:
    """Return mistakes and warnings about files that look like project files and are not read.

    A rule that is not read decides nothing. So a clear case, such as rules/velocity.yml or a link to a file outside of
    the project, is a mistake; an unclear one is a warning.
    """
    mistakes, warnings, files = [], [], files_of(folder)
    for name, path in ((file, folder / file) for file in (*files, *dict(_FOLDERS)) if os.path.lexists(folder / file)):
        if (why := foreign(folder, path)) and (leads_out(folder, path) or not path.is_dir()):
            mistakes.append(Problem(name, 0, 0, "", *why))
    known = [name for name in files if "/" not in name]
    for path in (folder / entry.name for entry in _there(folder, lambda entry: not entry.name.startswith("."))):
        meant = _meant(path.name, known)
        if path.name in known and path.is_dir():
            words = "this is a folder; a project has a file with this name."
            mistakes.append(Problem(path.name, 0, 0, "", words, "Give the folder another name."))
        elif path.is_file() and meant and path.name != meant:
            mistakes.append(_unread(path.name, meant))
        elif path.is_file() and path.suffix in {".yaml", ".yml"} and path.name not in known:
            hint = nearest(path.name, known)
            if hint:
                warnings.append(Problem(path.name, 0, 0, "", "shroff does not read this file.", hint))
    for name, suffix in _FOLDERS:
        if leads_out(folder, folder / name):
            continue
        there = _there(folder / name, lambda entry: not entry.name.startswith("."))
        odd = (entry for entry in there if entry.is_symlink() or not _is_file(suffix, entry))
        for path in (folder / name / entry.name for entry in odd):
            found = f"{name}/{path.name}"
            meant = path.stem + suffix if _ending(path) == suffix else ""
            if path.name.endswith(suffix) and not path.is_dir() and (why := foreign(folder, path)):
                mistakes.append(Problem(found, 0, 0, "", *why))
            elif path.is_file() and meant and path.name != meant:
                mistakes.append(_unread(found, f"{name}/{meant}"))
            elif path.is_dir() and any(_ending(file) == suffix for file in path.rglob("*")):
                words = f"files in this folder are not read: {name} are files in {name}/ itself."
                warnings.append(Problem(found, 0, 0, "", words, f"Move the files to {name}/ to have them read."))
    return mistakes, warnings


def _there(folder: Path, is_wanted: Callable[[os.DirEntry[str]], bool]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(filter(is_wanted, entries), key=attrgetter("name"))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_file(suffix: str, entry: os.DirEntry[str]) -> bool:
    return entry.name.endswith(suffix) and entry.is_file()


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    return ".yaml" if ending == ".yml" else ending


def _meant(name: str, known: Collection[str]) -> str:
    path = Path(name)
    return next((kind for kind in known if kind == path.stem.lower() + _ending(path)), "")


def _unread(name: str, meant: str) -> Problem:
    words = f"this file is not read: its name is not {meant}."
    return Problem(name, 0, 0, "", words, f"Rename it to {meant}, or move it out of the project.")


def bytes_of(path: Path | str) -> bytes:
    try:
        if os.stat(path).st_size > FILE_BYTES_MAX:  # noqa: PTH116 (a thousand times)
            raise UsageError(f"{path} is larger than {FILE_BYTES_MAX // 2**20} MiB")
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (as often)
            return file.readall()
    except OSError as error:
        raise UsageError(os_words(error, path, " cannot be read")) from None


def text_of(data: bytes, name: str, problems: list[Problem]) -> str:
    """The text of a file, its lines ended as Python ends them."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        *above, line = _lines(data[: error.start].decode())
        words = f"this file is not UTF-8: the byte 0x{data[error.start]:02X} here is not a character."
        problems.append(Problem(name, len(above) + 1, len(line) + 1, "", words, "Save it as UTF-8."))
        text = data.decode("utf-16" if data.startswith(_UTF16_MARKS) else "utf-8", "replace")
    return lines_ended(text)


def _lines(text: str) -> list[str]:
    return lines_ended(text).split("\n")


def lines_ended(text: str) -> str:
    r"""The text with every line ended by `\n`, as a project's files are read, also those of Windows and old Macs."""
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text  # a look is 20 times as fast


def read_text(path: Path) -> str:
    """A project file as it is, line ends and all. Raises: UsageError where it cannot be read."""
    try:
        return bytes_of(path).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8. Save it as UTF-8.") from None


def write_text(path: Path, text: str, *, is_durable: bool = True) -> None:
    """Put a text in the place of a project file, whole or not at all, durable on return where it has to be.

    What a process that was killed meanwhile leaves, `.NAME.XXXXXXXX.unfinished`, goes an hour later with the next
    text of the same file.

    Raises: StorageError where it cannot be written: the file is as it was then; or where the disk fails behind that,
        and it says that the file is changed.
    """
    target = path.resolve()  # a link stays one
    try:
        with whole_file(target, is_durable=is_durable) as file:
            remove_unfinished(target, os.fstat(file.fileno()).st_mtime)
            file.write(text.encode())
            if target.exists():
                shutil.copymode(target, file.name)
            else:  # a temporary file is its maker's alone
                os.fchmod(file.fileno(), FILE_MODE if is_kept(target) else 0o644)
    except UnsyncedError as error:
        words = "It was changed, but a power loss may undo the change."
        raise StorageError(f"{os_words(error, target.parent, ' cannot be made durable')}. {words}") from None
    except OSError as error:
        raise refused(error, f"{os_words(error, path, ' cannot be written')}. It is as it was before.") from None


def editing(places: ProjectPaths) -> AbstractContextManager[None]:
    """The project's files for this process alone among those that change them; others wait.

    Raises: StorageError where the folder of the log cannot be written.
    """
    return alone(places.state / "edit.lock")


@contextmanager
def alone(path: Path, words: str = "") -> Iterator[None]:
    """A lock at this path, which ends with the process; without words it is waited for.

    Raises: LogBusyError with these words; StorageError.
    """
    try:
        make_folder(path.parent)
        file = private(path, "a")
    except OSError as error:
        raise StorageError(f"{os_words(error, path, ' cannot be written')}. Nothing was changed.") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if words else 0))
        except BlockingIOError:
            raise LogBusyError(words) from None
        yield


def make_folder(path: Path) -> None:
    """Make a folder where there is none, durable on return: its files are found after a power loss.

    Raises: OSError where it cannot be made.
    """
    if is_kept(path):
        missing = [parent for parent in (path, *path.parents) if not parent.exists()]
        for folder in reversed(missing):
            folder.mkdir(FOLDER_MODE if is_kept(folder) else 0o777, exist_ok=True)
        _close_off(path)
    path.mkdir(parents=True, exist_ok=True)
    sync_folder(path.parent)


def is_kept(path: Path) -> bool:
    """Whether something lies in what the program writes for itself, and so is not for everybody on the machine."""
    return STATE_FOLDER in path.parts


def private(path: Path, mode: str = "wb", encoding: str | None = None) -> Any:
    """Open a file; a new one can be read by its owner and their group alone. Raises: OSError."""
    return open(path, mode, encoding=encoding, opener=lambda name, flags: os.open(name, flags, FILE_MODE))


def _close_off(path: Path) -> None:
    """Take the rights of others away in the whole folder that the program writes, as after a copy of it."""
    top = Path(*path.parts[: path.parts.index(STATE_FOLDER) + 1])
    if stat.S_IMODE(top.stat().st_mode) & 0o007:
        with suppress(OSError):  # somebody else's, who sees to it
            for inner in (*top.rglob("*"), top):  # the top last: while it is open, the rest may be as well
                inner.chmod(stat.S_IMODE(inner.stat().st_mode) & ~0o007)


def template_files(name: str) -> dict[str, bytes]:
    """Read the files of a template that comes with the program. Raises: UsageError if there is no such template."""
    if name not in TEMPLATES:
        hint = f"{nearest(name, TEMPLATES)} There are {', '.join(TEMPLATES)}.".lstrip()
        raise UsageError(f"there is no template {name!r}. {hint}")
    source = TEMPLATE_FOLDER / name
    found = (path for path in source.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {path.relative_to(source).as_posix(): path.read_bytes() for path in found}
