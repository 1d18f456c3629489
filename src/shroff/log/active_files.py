"""The active version of a project's files, and the differences of the files on disk, for `shroff apply` and the pages.

Control events activate everything that affects decisions. Notices, their texts and the settings of external systems do
not affect decisions, so no version contains them: the writer stores their texts or hashes among the log's offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from msgspec import structs
from msgspec.json import encode as to_json
from msgspec.structs import asdict, fields

from shroff.config import PROJECT_FILE
from shroff.errors import ShroffError, UsageError
from shroff.json_types import TextDict, TextMapping
from shroff.log.history import Control
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.file_kinds import added_files
from shroff.project.parse_cache import ReadOnce
from shroff.project.scoring import LoadModel
from shroff.project.settings.systems import Systems
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log, LogReader, Offset, Record

ACTIVE = "active"  # source name of these offsets
BEGUN = "begun"  # partition that shows that a process stored its initial state, even if empty
NOTICES = "notices/"
SETTING = f"{PROJECT_FILE}: "  # prefix of the name of a setting
# Settings that a running service can apply; `http` only if no setting in `_OPEN_BY_HTTP` holds a connection open.
LIVE = "mail second_person sinks online sources web sessions sign_in http zone".split()
_OPEN_BY_HTTP = ("source", "lake", "snapshots")
NOW = "now"
RESTART = "restart"
# Names of settings in shroff.yaml, if they differ from the field's name.
_YAML_NAMES = {"keep_ms": "keep", "mailer": "mail (mailer)", "pulled": "sources (pulled)", "read": "sources (read)"}
_READ = ReadOnce()  # parts of versions already parsed; the next version parses only what differs


def kept_definitions(files: TextMapping, load_model: LoadModel | None) -> Definitions:
    """Return the definitions of a version of the files. Two versions are cached; for another, only changes are parsed.

    Raises: DefinitionError if the files are invalid.
    """
    definitions = _kept(tuple(sorted(files.items())), load_model)
    if definitions.unloaded():
        _kept.cache_clear()  # a missing model may be restored
    return definitions


@lru_cache(maxsize=2)
def _kept(files: tuple[tuple[str, str], ...], load_model: LoadModel | None) -> Definitions:
    return load_definitions(dict(files), load_model=load_model, read=_READ).or_raise()


class FileDifference(FrozenStruct):
    """A file, or a setting of shroff.yaml, that differs from the active one.

    `takes` is `now` if `shroff apply` activates it in a running service, else `restart`. `before` and `after` are None
    if the file does not exist, or only a hash of its text is stored.
    """

    file: str
    change: str  # added | changed | removed
    takes: str
    before: str | None = None
    after: str | None = None


@dataclass(slots=True)
class ActiveFilesInUse:
    """The notices and texts that this process uses (None: those on disk). `number` counts changes, also of settings."""

    number: int = 0
    files: TextMapping | None = field(default=None, repr=False)
    followed: TextMapping | None = field(default=None, repr=False)  # the log's offsets when they were last read


def beside(files: TextMapping, systems: Systems) -> TextDict:
    """Return the files and settings to store that belong to no version; settings with default values are left out."""
    texts = {name: text for name, text in files.items() if name.startswith(NOTICES)}
    texts |= {name: _hash(files[name].encode()) for name, kind in added_files(files).items() if kind.is_kept}
    defaults = _by_yaml_name(Systems())
    for name, value in _by_yaml_name(systems).items():
        if value != defaults[name]:
            texts[SETTING + name] = _hash(value)
    return texts


def _by_yaml_name(systems: Systems) -> dict[str, bytes]:
    values = {_YAML_NAMES.get(item.name, item.name): getattr(systems, item.name) for item in fields(systems)}
    sessions = structs.asdict(systems.sessions)
    # In the file these three are keys of `sign_in`.
    sign_in = [sessions.pop(name) for name in ("has_passwords", "second_factor", "group_roles")]
    values |= {"sessions": sessions, "sign_in": [systems.sign_in, sign_in]}
    return {name: to_json(value) for name, value in values.items()}


def notice_files(files: TextMapping) -> TextDict:
    return {name: text for name, text in files.items() if name.startswith(NOTICES)}


def is_live(name: str, *stored: TextMapping) -> bool:
    """Return whether a running service can apply a change of a file or setting that is not part of a version.

    Args:
        stored: Results of `beside`, before and after the change.
    """
    if name == f"{SETTING}http" and any(texts.get(SETTING + other) for texts in stored for other in _OPEN_BY_HTTP):
        return False
    return name.startswith(NOTICES) or name in {SETTING + name for name in LIVE}


def renewed(systems: Systems, now: Systems, *stored: TextMapping) -> Systems:
    """Return the settings of a running service after it applied those of the files that it can; see `is_live`."""
    return replace(systems, **{name: getattr(now, name) for name in LIVE if is_live(SETTING + name, *stored)})


def taken_up(log: Log, now: TextMapping, *, is_running: bool) -> list[Offset]:
    """Return the offsets that store the files and settings of `beside` as active.

    A running service leaves out settings that need a restart.
    """
    stored = log.offsets.of(ACTIVE)
    offsets = [] if is_running or BEGUN in stored else [Offset(ACTIVE, BEGUN, "1")]
    for name in sorted({*now, *stored} - {BEGUN}):
        is_changed = now.get(name, "") != stored.get(name, "")
        if is_changed and (not is_running or is_live(name, stored, now)):
            offsets.append(Offset(ACTIVE, name, now.get(name, "")))
    return offsets


def followed(log: LogReader, read: ReadOnce) -> tuple[Control, int]:
    """Return the active files at the end of a log (read-only), and the sequence number of the last control event, or 0.

    `read` caches the control events, so that a call reads only new ones.
    """
    cached: tuple[Control, Record] | None = read.last(f"control {log.place}")
    control = Control()
    records = log.controls(cached[1].seq - 1) if cached else []
    if cached and records and records[0] == cached[1]:
        if len(records) == 1:
            return cached[0], cached[1].seq
        control = Control(cached[0].versions, dict(cached[0].files))
        records = records[1:]
    else:  # nothing is cached, or this is another log at the same location
        records = log.controls()
    for record in records:
        control.take(record)
    if records:
        _ = control.files  # joins the texts here, before other threads see them
        read.keep(f"control {log.place}", (control, records[-1]))
    return control, records[-1].seq if records else 0


def changes(
    log: Log, control: Control, definitions: Definitions, now: TextMapping, load: Callable[[TextMapping], Definitions]
) -> list[FileDifference]:
    """Return the differences between a project's files and the active ones, by name.

    Args:
        control: The active files at the end of the log.
        now: The result of `beside` for the files.
        load: Returns the definitions of files that were active.
    """
    differences: list[FileDifference] = []
    if control.versions != asdict(definitions.versions):
        differences = _compared(_without_notices(control.files), _without_notices(definitions.files), NOW)
        if control.files and {PROJECT_FILE, "events.yaml"} & {difference.file for difference in differences}:
            differences = _by_meaning(differences, control.files, definitions, load)
    offsets = log.offsets.of(ACTIVE)
    stored = {name: text for name, text in offsets.items() if text and name != BEGUN}
    if offsets:
        differences += [
            replace(part, takes=NOW if is_live(part.file, stored, now) else RESTART)
            for part in _compared(stored, now, RESTART)
        ]
    return differences


def _without_notices(files: TextMapping) -> TextDict:
    return {name: text for name, text in files.items() if not name.startswith(NOTICES)}


def _by_meaning(
    differences: Sequence[FileDifference],
    files: TextMapping,
    now: Definitions,
    load: Callable[[TextMapping], Definitions],
) -> list[FileDifference]:
    """Adjust differences by meaning: all need a restart if input would be read differently.

    shroff.yaml is dropped if its settings are equal, such as after a change of a comment.
    """
    from shroff.log.version_switch import check_inputs_unchanged  # it loads the engine

    try:
        old_definitions = load(files)
    except ShroffError:  # this version of the program cannot load the active files
        return list(differences)
    is_same = old_definitions.settings == now.settings
    changed = [difference for difference in differences if difference.file != PROJECT_FILE or not is_same]
    try:
        check_inputs_unchanged(old_definitions, now)
    except UsageError:
        return [replace(difference, takes=RESTART) for difference in changed]
    return changed


def _compared(before: TextMapping, after: TextMapping, takes: str) -> list[FileDifference]:
    differences = []
    for name in sorted({*before, *after}):
        old = before.get(name)
        new = after.get(name)
        if old == new:
            continue
        kind = "changed"
        if old is None:
            kind = "added"
        elif new is None:
            kind = "removed"
        if takes == NOW or name.startswith(NOTICES):
            differences.append(FileDifference(name, kind, takes, old, new))
        else:  # the stored value is a hash
            differences.append(FileDifference(name, kind, takes))
    return differences


def names_of(differences: Sequence[FileDifference], takes: str) -> list[str]:
    """Return the files of the differences that take effect now, or with a restart."""
    return [difference.file for difference in differences if difference.takes == takes]


def _hash(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"
