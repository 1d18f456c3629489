"""A bug report: one file with everything that helps to find a defect, without secrets or event data."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
import re
import sqlite3
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from shroff import __version__, config
from shroff.errors import COVERED, ShroffError
from shroff.events.event import time_text_or_none
from shroff.json_types import JsonObject
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.nodes import plain_of
from shroff.runtime.atomic_files import whole_file
from shroff.runtime.logs import kept_errors, scrubbed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from shroff.config import ProjectPaths
    from shroff.monitoring.doctor import Finding
    from shroff.streams.log import Log

    OpenLog = Callable[[], AbstractContextManager[Log | None]]

_SECRET = re.compile(r"(?i)secret|passw|token|credential|private|auth|^key$|api_?key|user|account|email|^from$|^to$")
_REFERENCE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*\}|[0-9]+[a-z%]*|true|false|[a-z]+://[^\s@?]*")
_QUERY = re.compile(r"(?<=\?)\S+")
_PATH = re.compile(r"(?i)(https?://[^/?\s]+/)\S+")  # the path of a webhook may be its key


def write_bug_report(places: ProjectPaths, log: OpenLog, findings: Sequence[Finding], file: Path) -> list[str]:
    """Write the report as a ZIP file, atomically and readable by its owner only; return its parts.

    It has versions, settings without secrets, counts, the last unexpected errors, findings of `doctor`, and the size
    and hash of each project file. It has no events, lists, users or models. `log` opens the log, if there is one.
    """
    parts = {
        "versions.json": _versions(),
        "settings.json": _settings(places.folder),
        "files.json": _files(places.folder),
        "counts.json": _counts(log),
        "errors.json": [_clean(kept_error) for kept_error in kept_errors(places.state)],
        "findings.json": [_clean(dataclasses.asdict(finding)) for finding in findings],
    }
    with whole_file(file) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, json.dumps(content, indent=2, ensure_ascii=False))
    file.chmod(0o600)
    return list(parts)


def redacted(settings: Any, key: str = "") -> Any:
    """Mask settings that are or may be secret; references to variables (`${NAME}`) stay.

    >>> redacted({"store": "postgresql://shroff:pw@db/shroff", "smtp_password": "x", "keep": "7d"})
    {'store': 'postgresql://[covered]@db/shroff', 'smtp_password': '[covered]', 'keep': '7d'}
    """
    if isinstance(settings, Mapping):
        return {name: redacted(setting, name) for name, setting in settings.items()}
    if isinstance(settings, list):
        return [redacted(setting, key) for setting in settings]
    text = str(settings)
    if _SECRET.search(key) and not _REFERENCE.fullmatch(text):
        return COVERED
    return _covered(text)


def _covered(text: str) -> str:
    """Mask secrets and personal data in a text, and paths and queries of addresses."""
    return _PATH.sub(rf"\1{COVERED}", _QUERY.sub(COVERED, scrubbed(text)))


def _clean(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _clean(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_clean(part) for part in value]
    return _covered(value) if isinstance(value, str) else value


def _versions() -> JsonObject:
    needed = sorted({re.split(r"[^A-Za-z0-9._-]", require)[0] for require in metadata.requires("shroff") or ()})
    packages = {}
    for name in needed:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "shroff": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "sqlite": sqlite3.sqlite_version,
        "packages": packages,
        "variables": sorted(name for name in os.environ if name.startswith(("SHROFF_", "PYTHON", "LC_", "TZ"))),
    }


def _settings(folder: Path) -> Any:
    text = config.read_files(folder, [], (config.PROJECT_FILE,)).get(config.PROJECT_FILE, "")
    top = yamltext.read(text, config.PROJECT_FILE, [])
    return redacted(plain_of(top)) if isinstance(top, yamltext.Mapping) else "cannot be read"


def _files(folder: Path) -> dict[str, JsonObject]:
    entries = {}
    for name in config.read_files(folder, []):
        data = (folder / name).read_bytes()
        entries[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    return entries


def _counts(log: OpenLog) -> JsonObject:
    try:
        with log() as found:
            if found is None:
                return {"log": "none yet"}
            newest_ms = found.watermark_ms()
            newest = time_text_or_none(newest_ms)
            return {
                "records": found.last_seq(),
                "newest_event": newest,
                "bytes": found.size_bytes(),
                **asdict(found.counts()),
            }
    except ShroffError as error:
        return {"error": _covered(str(error))}
