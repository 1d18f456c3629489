"""Active version of a project's files, and the differences from the files on disk.

What decides is active by control events. Notices, their texts and the settings of outside systems decide nothing, so no
version has them: the process that writes the log keeps their texts, or what stands for a setting, among its offsets.
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
from shroff.streams.log import Log, LogReader, Offset, Outbox, Record

ACTIVE = "active"  # among the sources of offsets
BEGUN = "begun"  # among those, where a process noted what it began with, be it nothing
NOTICES = "notices/"
SETTING = f"{PROJECT_FILE}: "  # before the name of a setting
# Settings that a running service takes up; `http` where nothing is open by it for as long as the process runs.
LIVE = "mail second_person sinks online sources web sessions sign_in http zone".split()
_OPEN_BY_HTTP = ("source", "lake", "snapshots")
NOW = "now"
RESTART = "restart"
# The beginning is the key of shroff.yaml that holds the setting.
_YAML_NAMES = {"keep_ms": "keep", "mailer": "mail (mailer)", "pulled": "sources (pulled)", "read": "sources (read)"}
_READ = ReadOnce()  # of versions: the next one reads again what differs


def kept_definitions(files: TextMapping, load_model: LoadModel | None) -> Definitions:
    """The definitions of a version of the files; the last two are kept, and of the next one what differs is read.

    Raises: DefinitionError where the files are invalid.
    """
    found = _kept(tuple(sorted(files.items())), load_model)
    if found.unloaded():
        _kept.cache_clear()  # somebody may bring the model back
    return found


@lru_cache(maxsize=2)
def _kept(files: tuple[tuple[str, str], ...], load_model: LoadModel | None) -> Definitions:
    return load_definitions(dict(files), load_model=load_model, read=_READ).or_raise()


class FileDifference(FrozenStruct):
    """A file, or a setting of shroff.yaml, that is not active as it is. A text is None where nothing is kept of it.

    `takes` is `now` for what `shroff apply` makes active in a running service, else `restart`.
    """

    file: str
    change: str  # added | changed | removed
    takes: str
    before: str | None = None
    after: str | None = None


@dataclass(slots=True)
class ActiveFilesInUse:
    """The notices and texts that this process works with, and how often it took up others, or other settings.

    None: those of the files.
    """

    number: int = 0
    files: TextMapping | None = field(default=None, repr=False)
    followed: TextMapping | None = field(default=None, repr=False)  # what the log kept when it was last followed


def beside(files: TextMapping, systems: Systems) -> TextDict:
    """Stored files and settings that belong to no version; nothing of a setting that is left out."""
    found = {name: text for name, text in files.items() if name.startswith(NOTICES)}
    found |= {name: _hash(files[name].encode()) for name, kind in added_files(files).items() if kind.is_kept}
    usual = _by_yaml_name(Systems())
    for name, value in _by_yaml_name(systems).items():
        if value != usual[name]:
            found[SETTING + name] = _hash(value)
    return found


def _by_yaml_name(systems: Systems) -> dict[str, bytes]:
    """The settings as JSON, by what they are called in shroff.yaml."""
    found = {_YAML_NAMES.get(item.name, item.name): getattr(systems, item.name) for item in fields(systems)}
    sessions = structs.asdict(systems.sessions)
    own = [sessions.pop(name) for name in ("has_passwords", "second_factor", "group_roles")]  # of sign_in there
    found |= {"sessions": sessions, "sign_in": [systems.sign_in, own]}
    return {name: to_json(value) for name, value in found.items()}


def notice_files(files: TextMapping) -> TextDict:
    """The notices and texts among files."""
    return {name: text for name, text in files.items() if name.startswith(NOTICES)}


def is_live(name: str, *kept: TextMapping) -> bool:
    """Whether a running service can apply a change of a file or setting that is not part of a version."""
    if name == f"{SETTING}http" and any(entry.get(SETTING + other) for entry in kept for other in _OPEN_BY_HTTP):
        return False
    return name.startswith(NOTICES) or name in {SETTING + name for name in LIVE}


def renewed(systems: Systems, now: Systems, *kept: TextMapping) -> Systems:
    """The settings of a service that runs, once it took up those of the files."""
    return replace(systems, **{name: getattr(now, name) for name in LIVE if is_live(SETTING + name, *kept)})


def taken_up(log: Outbox, now: TextMapping, *, is_running: bool) -> list[Offset]:
    """State to store now that these are active; a running service keeps settings that take a restart."""
    before = log.offsets(ACTIVE)
    begun = [] if is_running or BEGUN in before else [Offset(ACTIVE, BEGUN, "1")]
    return begun + [
        Offset(ACTIVE, name, now.get(name, ""))
        for name in sorted({*now, *before} - {BEGUN})
        if now.get(name, "") != before.get(name, "") and (not is_running or is_live(name, before, now))
    ]


def followed(log: LogReader, read: ReadOnce) -> tuple[Control, int]:
    """The active files at the end of a log, not to be changed, and the sequence number of the last control event; or 0.

    What was read of this log before is not read again, if its last control event is still there.
    """
    kept: tuple[Control, Record] | None = read.last(f"control {log.place}")
    control = Control()
    records = log.controls(kept[1].seq - 1) if kept else []
    if kept and records and records[0] == kept[1]:
        if len(records) == 1:
            return kept[0], kept[1].seq
        control = Control(kept[0].versions, dict(kept[0].files))
        records = records[1:]
    else:  # none was read, or another log has its place
        records = log.controls()
    for record in records:
        control.take(record)
    if records:
        _ = control.files  # joined here, where no other thread has it
        read.keep(f"control {log.place}", (control, records[-1]))
    return control, records[-1].seq if records else 0


def changes(
    log: Log, control: Control, definitions: Definitions, now: TextMapping, load: Callable[[TextMapping], Definitions]
) -> list[FileDifference]:
    """The inactive changes of a project's files, by their names.

    Args:
        control: The active files at the end of the log.
        now: What `beside` gives for the files.
        load: Gives the definitions of files that were active.
    """
    found: list[FileDifference] = []
    if control.versions != asdict(definitions.versions):
        before, after = (
            {name: text for name, text in part.items() if not name.startswith(NOTICES)}
            for part in (control.files, definitions.files)
        )
        found = _compared(before, after, NOW)
        if control.files and {PROJECT_FILE, "events.yaml"} & {difference.file for difference in found}:
            found = _by_meaning(found, control.files, definitions, load)
    offsets = log.offsets(ACTIVE)
    known = {name: text for name, text in offsets.items() if text and name != BEGUN}
    if offsets:
        found += [
            replace(part, takes=NOW if is_live(part.file, known, now) else RESTART)
            for part in _compared(known, now, RESTART)
        ]
    return found


def _by_meaning(
    found: Sequence[FileDifference], files: TextMapping, now: Definitions, load: Callable[[TextMapping], Definitions]
) -> list[FileDifference]:
    """The same, all with a restart where input would be read in another way; shroff.yaml where it says something else.

    What of it decides nothing, and comments, are no part of what is compared.
    """
    from shroff.log.version_switch import check_inputs_unchanged  # it loads the engine

    try:
        before = load(files)
    except ShroffError:  # what was active cannot be read by this version of the program
        return list(found)
    is_same = before.settings == now.settings
    found = [difference for difference in found if difference.file != PROJECT_FILE or not is_same]
    try:
        check_inputs_unchanged(before, now)
    except UsageError:
        return [replace(difference, takes=RESTART) for difference in found]
    return found


def _compared(before: TextMapping, after: TextMapping, takes: str) -> list[FileDifference]:
    found = []
    for name in sorted({*before, *after}):
        old = before.get(name)
        new = after.get(name)
        if old != new:
            kind = "added" if old is None else "removed" if new is None else "changed"
            is_text = takes == NOW or name.startswith(NOTICES)
            found.append(FileDifference(name, kind, takes, *((old, new) if is_text else ())))
    return found


def names_of(found: Sequence[FileDifference], takes: str) -> list[str]:
    """The files of those changes that take effect now, or with a restart."""
    return [difference.file for difference in found if difference.takes == takes]


def _hash(data: bytes) -> str:
    return f"sha256:{sha256(data).hexdigest()}"
