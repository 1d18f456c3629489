"""The files of a project: their names, how they are found, read and written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path

from shroff.errors import DefinitionError, Problem, StorageError, UsageError, nearest, os_words, refused
from shroff.json_types import TextDict
from shroff.runtime import contents
from shroff.runtime.atomic_files import UnsyncedError, foreign, leads_out, own, remove_unfinished, whole_file
from shroff.runtime.entry_points import FILES, entry_point, own_points
from shroff.runtime.state_folder import FILE_MODE, STATE_FOLDER, is_in_state_folder, lock_file
from shroff.runtime.values import FrozenStruct

PROJECT_FILE = "shroff.yaml"
TEMPLATES = "payments paysim savings orders cards signals cookbook blank".split()
TEMPLATE_FOLDER = Path(__file__).parent / "templates"
FILE_BYTES_MAX = 256 * 1024 * 1024
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
    store = ProjectPaths(folder).tables
    contents.known_store(store)

    def read(name: str) -> str:
        read_plain = partial(text, f"{folder}/{name}", name, problems)
        return contents.table_text(folder, name, store, read_plain) if name.startswith(TABLES) else read_plain()

    return {name: read(name) for name in _names(folder, only) if name.startswith(only)}


def read_sql(folder: Path, room: str) -> TextDict:
    """Return the texts of SQL files and their tests below a folder such as `marts`, by their names in the project.

    Raises: UsageError if one cannot be read; DefinitionError if one is not UTF-8.
    """
    problems: list[Problem] = []
    endings = {".sql", ".yaml", ".yml"}
    paths = sorted(path for path in (folder / room).rglob("*") if path.suffix in endings and not path.is_dir())
    names = [path.relative_to(folder).as_posix() for path in paths if not path.name.startswith(".")]
    texts = {name: text_of(bytes_of(own(folder, name)), name, problems) for name in names}
    if problems:
        raise DefinitionError(problems)
    return texts


def file_stamps(folder: Path) -> list[tuple[str, int, int]]:
    """Return path, time of change (ns) and size of each project file. They differ after a file was changed."""
    stamps = []
    for name in _names(folder):
        path = f"{folder}/{name}"
        with suppress(OSError):
            stat = os.stat(path)  # noqa: PTH116 (a thousand times)
            stamps.append((path, stat.st_mtime_ns, stat.st_size))
    return stamps


def files_of(folder: Path) -> list[str]:
    """Return the names of files that a project may have at its top: shroff's own, and `KIND.yaml` of plug-ins.

    Other packages are searched only if the folder has a YAML file that shroff does not know.
    """
    names = [*_FILES, *(f"{point.name}.yaml" for point in own_points() if point.group == FILES)]
    others = [entry.name for entry in _entries(folder, partial(_is_file, ".yaml")) if entry.name not in names]
    return [*names, *(name for name in others if entry_point(name.removesuffix(".yaml"), FILES))]


def _names(folder: Path, only: tuple[str, ...] = ("",)) -> list[str]:
    names = [name for name in files_of(folder) if name.startswith(only) and foreign(folder, folder / name) is None]
    for name, suffix in _FOLDERS:
        is_selected = any(f"{name}/".startswith(start) or start.startswith(f"{name}/") for start in only)
        if not is_selected or leads_out(folder, folder / name):
            continue
        entries = _entries(folder / name, partial(_is_file, suffix))
        inside = [entry.name for entry in entries if not (entry.is_symlink() and leads_out(folder, Path(entry)))]
        names += [f"{name}/{file_name}" for file_name in inside]
    return names


def read_settings(folder: Path) -> str:
    """Return the text of shroff.yaml; empty if there is none. Raises: UsageError if it cannot be read."""
    path = own(folder, PROJECT_FILE)
    return text_of(bytes_of(path), PROJECT_FILE, []) if path.exists() else ""


def look_alikes(folder: Path) -> tuple[list[Problem], list[Problem]]:
    """Return mistakes and warnings about files that look like project files and are not read.

    A rule that is not read decides nothing. So a clear case, such as rules/velocity.yml or a link to a file outside of
    the project, is a mistake; an unclear one is a warning.
    """
    mistakes = []
    warnings = []
    files = files_of(folder)
    for name in (*files, *dict(_FOLDERS)):
        path = folder / name
        reason = foreign(folder, path) if os.path.lexists(path) else None
        if reason and (leads_out(folder, path) or not path.is_dir()):
            mistakes.append(Problem(name, 0, 0, "", *reason))
    names = [name for name in files if "/" not in name]
    for path in _visible(folder):
        expected = _similar(path.name, names)
        if path.name in names and path.is_dir():
            message = "this is a folder; a project has a file with this name."
            mistakes.append(Problem(path.name, 0, 0, "", message, "Give the folder another name."))
        elif path.is_file() and expected and path.name != expected:
            mistakes.append(_unread(path.name, expected))
        elif path.is_file() and path.suffix in {".yaml", ".yml"} and path.name not in names:
            hint = nearest(path.name, names)
            if hint:
                warnings.append(Problem(path.name, 0, 0, "", "shroff does not read this file.", hint))
    for name, suffix in _FOLDERS:
        if leads_out(folder, folder / name):
            continue
        for path in _visible(folder / name):
            if path.is_file() and path.name.endswith(suffix) and not path.is_symlink():
                continue
            location = f"{name}/{path.name}"
            expected = path.stem + suffix if _ending(path) == suffix else ""
            reason = foreign(folder, path) if path.name.endswith(suffix) and not path.is_dir() else None
            if reason:
                mistakes.append(Problem(location, 0, 0, "", *reason))
            elif path.is_file() and expected and path.name != expected:
                mistakes.append(_unread(location, f"{name}/{expected}"))
            elif path.is_dir() and any(_ending(file) == suffix for file in path.rglob("*")):
                message = f"files in this folder are not read: {name} are files in {name}/ itself."
                warnings.append(Problem(location, 0, 0, "", message, f"Move the files to {name}/ to have them read."))
    return mistakes, warnings


def _visible(folder: Path) -> list[Path]:
    return [Path(entry) for entry in _entries(folder, lambda entry: not entry.name.startswith("."))]


def _entries(folder: Path, is_wanted: Callable[[os.DirEntry[str]], bool]) -> list[os.DirEntry[str]]:
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


def _similar(name: str, names: Collection[str]) -> str:
    path = Path(name)
    normal_name = path.stem.lower() + _ending(path)
    return normal_name if normal_name in names else ""


def _unread(name: str, expected: str) -> Problem:
    message = f"this file is not read: its name is not {expected}."
    return Problem(name, 0, 0, "", message, f"Rename it to {expected}, or move it out of the project.")


def bytes_of(path: Path | str) -> bytes:
    try:
        if os.stat(path).st_size > FILE_BYTES_MAX:  # noqa: PTH116 (a thousand times)
            raise UsageError(f"{path} is larger than {FILE_BYTES_MAX // 2**20} MiB")
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (as often)
            return file.readall()
    except OSError as error:
        raise UsageError(os_words(error, path, " cannot be read")) from None


def text_of(data: bytes, name: str, problems: list[Problem]) -> str:
    r"""Decode a file, with lines that end in `\n`; bytes that are not UTF-8 are added to `problems`."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        *above, line = lines_ended(data[: error.start].decode()).split("\n")
        message = f"this file is not UTF-8: the byte 0x{data[error.start]:02X} here is not a character."
        problems.append(Problem(name, len(above) + 1, len(line) + 1, "", message, "Save it as UTF-8."))
        text = data.decode("utf-16" if data.startswith(_UTF16_MARKS) else "utf-8", "replace")
    return lines_ended(text)


def lines_ended(text: str) -> str:
    r"""Return the text with lines that end in `\n` alone, whatever they end in."""
    if "\r" not in text:  # 20 times as fast as `replace`
        return text
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_text(path: Path) -> str:
    """Return a project file with its own line ends. Raises: UsageError if it cannot be read."""
    try:
        return bytes_of(path).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8. Save it as UTF-8.") from None


def write_text(path: Path, text: str, *, is_durable: bool = True) -> None:
    """Write a project file atomically, durable on return with `is_durable`.

    A killed process leaves `.NAME.XXXXXXXX.unfinished`; a write to the same file removes it after an hour.

    Raises: StorageError if the file cannot be written, and so is unchanged, or if the change may not be durable; the
        message says which.
    """
    target = path.resolve()  # a link stays one
    try:
        with whole_file(target, is_durable=is_durable) as file:
            remove_unfinished(target, os.fstat(file.fileno()).st_mtime)
            file.write(text.encode())
            if target.exists():
                shutil.copymode(target, file.name)
            else:  # only the owner may read a temporary file
                os.fchmod(file.fileno(), FILE_MODE if is_in_state_folder(target) else 0o644)
    except UnsyncedError as error:
        words = "It was changed, but a power loss may undo the change."
        raise StorageError(f"{os_words(error, target.parent, ' cannot be made durable')}. {words}") from None
    except OSError as error:
        raise refused(error, f"{os_words(error, path, ' cannot be written')}. It is as it was before.") from None


def editing(paths: ProjectPaths) -> AbstractContextManager[None]:
    """Lock the project's files against changes by other processes, which wait. Raises: StorageError."""
    return lock_file(paths.state / "edit.lock")


def template_files(name: str) -> dict[str, bytes]:
    """Read the files of a template that comes with the program. Raises: UsageError if there is no such template."""
    if name not in TEMPLATES:
        hint = f"{nearest(name, TEMPLATES)} There are {', '.join(TEMPLATES)}.".lstrip()
        raise UsageError(f"there is no template {name!r}. {hint}")
    source = TEMPLATE_FOLDER / name
    paths = (path for path in source.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    return {path.relative_to(source).as_posix(): path.read_bytes() for path in paths}
