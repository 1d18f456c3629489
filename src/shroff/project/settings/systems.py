"""External systems of shroff.yaml that a project reads from and writes to.

None of it decides anything. So it is in no version and in no control event: the same project on one file and on a
cluster gives the same receipts, and no address and no credential gets into the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from msgspec import field
from msgspec.json import encode as to_json

from shroff import config
from shroff.errors import Problem, UsageError
from shroff.json_types import JsonMapping, JsonObject
from shroff.language import loader
from shroff.language.shapes import Plain, load_shape, read_shape
from shroff.language.values import DAY_MS, parse_duration, parse_share
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.nodes import plain_of
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node, Scalar
from shroff.project.settings.installed import first_schemes, kind_at, online_mistake, own_settings, settings_of
from shroff.project.settings.service_keys import SESSIONS
from shroff.project.settings.sources import NamedSource, read_sources
from shroff.project.settings.system import System, filled, look_for_mistakes, mapping_of, names_of, single_of
from shroff.project.settings.systems_keys import (
    DEFAULT_MAILER,
    MAIL_KEYS,
    MAILS_KEPT,
    SYSTEMS,
    backup,
    lake,
    mail,
    online,
    sinks,
    snapshots,
    store,
)
from shroff.runtime.values import FrozenStruct, replace

DECIDING_KEYS = frozenset(["shroff", "name", "money", "lateness", "ahead", "untaken"])
TOLD_KEPT_MS = 90 * DAY_MS  # retention of sent messages, and so of the event of a mail
ONLINE_KIND = "redis"  # where the environment has the whole address
SESSION_MS_MIN = 60_000
SESSION_MS_MAX = 30 * DAY_MS
_NO_LAKE = "events older than keep move to the lake, but this file has no 'lake:'."
_NO_ROWS = "events older than keep move to the lake, which then needs layout parquet or both."
_PASSWORD = re.compile(r"://[^/@\s]*:(?!\$\{)[^/@\s]+@")


class SignInSettings(FrozenStruct):
    """Session lifetime: idle timeout and maximum; roles that need a second factor, and of groups sent by SCIM."""

    idle_ms: int = 3_600_000
    lasts_ms: int = 12 * 3_600_000  # a working day
    second_factor: tuple[str, ...] = ()
    has_passwords: bool = True
    group_roles: Mapping[str, str] = {}


class Systems(FrozenStruct):
    """The outside systems of a project; without any it is one process and one file."""

    source: System | None = None
    sources: Mapping[str, NamedSource] = {}
    store: System | None = None
    lake: System | None = None
    sinks: Mapping[str, System] = {}
    snapshots: System = field(default_factory=lambda: System("snapshots", {}))
    keep_ms: int | None = None
    online: System | None = None
    sign_in: System | None = None
    sessions: SignInSettings = field(default_factory=SignInSettings)
    http: System = field(default_factory=lambda: System("http", {}))
    mail: System = field(default_factory=lambda: System("mail", {}))  # what concerns all mails
    mailer: System = field(default_factory=lambda: System(DEFAULT_MAILER, {}))
    web: System = field(default_factory=lambda: System("web", {}))
    second_person: tuple[str, ...] = ()
    pulled: Mapping[str, NamedSource] = {}
    read: Mapping[str, NamedSource] = {}  # those that are read and have a name
    backup: System | None = None
    metrics: System = field(default_factory=lambda: System("metrics", {}))
    scheme_limits: Mapping[str, float] = {}  # shares of 1
    zone: str = ""  # as shroff.yaml names it

    @property
    def time_zone(self) -> str:
        return self.zone or "UTC"

    def settled(self, contract: str, system: System, folder: Path) -> JsonMapping:
        """The settings of a system as its adapter takes them: filled, files by their whole paths.

        Raises: UsageError as `config.filled`, and where no such adapter is installed.
        """
        declared = settings_of(contract, system.kind)
        own = self.called(system, folder) if declared.is_called else filled(system)
        return declared.settled(own.options, folder)

    @property
    def with_own_types(self) -> dict[str, NamedSource]:
        """The sources whose settings say which event types they bring, by their names."""
        read = {name: source for name, source in self.read.items() if source.has_own_types}
        return {**self.sources, **self.pulled, **read}

    @property
    def named_read(self) -> dict[str, System]:
        """The named sources that are read; `source` beside them is named by its kind.

        Empty where none has a name.
        """
        named = {name: source.system for name, source in self.read.items()}
        own = {} if self.source is None or self.source in named.values() else {self.source.kind: self.source}
        return own | named if named else {}

    @property
    def all_read(self) -> list[tuple[tuple[str, ...], System]]:
        """The sources that are read, each with its position in shroff.yaml."""
        named = [((*source.place, source.system.kind), source.system) for source in self.read.values()]
        if self.source is None or any(system is self.source for _, system in named):
            return [*named]
        return [(("source", self.source.kind), self.source), *named]

    def source_in(self, folder: Path, source: System) -> System:
        """The source as its adapter takes it. Raises: as `settled`."""
        return System(source.kind, self.settled("source", source, folder))

    def beside(self, contract: str, system: System, folder: Path) -> JsonObject:
        """Settings beside the address of an adapter. Raises: as `settled`."""
        kind = kind_at(contract, filled(system).text("url").partition(":")[0])
        names = {key.name for key in settings_of(contract, kind).keys} if kind else set()
        own = {name: value for name, value in system.options.items() if name in names}
        return dict(self.settled(contract, System(kind, own), folder)) if own else {}

    def called(self, system: System, folder: Path) -> System:
        """An HTTP system with `${NAME}` replaced, defaults from `http:`, and absolute file paths.

        Raises: UsageError as `config.filled`.
        """
        own = filled(system)
        usual = dict(filled(self.http).options)
        if own.text("url").startswith("http://"):
            usual.pop("ca", None)  # it is for all that are encrypted
        options = {**usual, **own.options}
        files: JsonObject = {name: str(folder / options[name]) for name in ("ca", "cert", "key") if name in options}
        return System(system.kind, options | files)

    @property
    def mails_are_files(self) -> bool:
        """Whether mails are files, because no mail server is set."""
        return self.mailer.kind == DEFAULT_MAILER

    @property
    def mails_kept_ms(self) -> int:
        return self.mail.duration_ms("keep", MAILS_KEPT)

    @property
    def public_url(self) -> str:
        """The address at which browsers reach the service, with no slash behind; empty where none is set.

        Raises: UsageError for a variable that is not set, or holds no such address.
        """
        found = config.filled(self.web.text("url"), "web")
        if found and not re.match(r"https?://[^\s/]", found):
            raise UsageError(
                f"web in {config.PROJECT_FILE}: the address must begin with https:// or http:// and a host."
            )
        return found.rstrip("/")


def load_systems(top: YamlMapping, problems: list[Problem], warnings: list[Problem]) -> Systems:
    """Read where things are from shroff.yaml."""
    keep = top.get("keep")
    kept = _read(top, "keep", problems)
    in_lake = _place("lake", lake, top, problems)
    if keep is not None and (in_lake is None or in_lake.options.get("layout") == "json"):
        keep.report(problems, _NO_LAKE if in_lake is None else _NO_ROWS)
    for key, value in top.entries:
        if key.text not in DECIDING_KEYS:
            _warn_of_passwords(value, warnings)
    source, named = read_sources(top, problems)
    return Systems(
        source,
        {name: push for name, push in named.items() if push.contract == "push"},
        _store(top, problems),
        in_lake,
        _sinks(top, problems),
        System("snapshots", _snapshots(top, problems)),
        parse_duration(kept) if isinstance(kept, str) else None,
        _online(top, problems),
        _sign_in(top, problems),
        _sessions(top, problems),
        System("http", mapping_of(_read(top, "http", problems))),
        *_mail(top, problems),
        _web(top, problems),
        _second_person(top, problems),
        {name: pull for name, pull in named.items() if pull.contract == "pull"},
        {name: source for name, source in named.items() if source.contract == "source"},
        _place("backup", backup, top, problems),
        System("metrics", mapping_of(_read(top, "metrics", problems))),
        {name: parse_share(str(share)) for name, share in mapping_of(_read(top, "scheme_limits", problems)).items()},
        loader.zone(top.get("zone"), problems) or "",
    )


def _mail(top: YamlMapping, problems: list[Problem]) -> tuple[System, System]:
    node = top.get("mail")
    if node is None:
        return System("mail", {}), System(DEFAULT_MAILER, {})
    read = mapping_of(read_shape(node, mail(names_of(node)), problems, "mail"))
    common = {key.name: read[key.name] for key in MAIL_KEYS if key.name in read}
    if "keep" in common and parse_duration(str(common["keep"])) > TOLD_KEPT_MS:
        node.report(problems, "keep is at most 90d: the event of a mail is known for that long.")
    flat = {
        key.name for own_setting in own_settings("mailer").values() if own_setting.is_flat for key in own_setting.keys
    }
    beside = {name: value for name, value in read.items() if name in flat}
    ways = [name for name in read if name in own_settings("mailer") or (name not in flat and name not in common)]
    if len(ways) > 1:
        node.report(problems, f"mails are sent one way only, and this names {' and '.join(ways)}.")
    kind = ways[0] if ways else DEFAULT_MAILER
    mailer = System(kind, beside if kind in flat or not ways else mapping_of(read[kind]))
    look_for_mistakes("mailer", mailer, node, problems)
    return System("mail", common), mailer


def _web(top: YamlMapping, problems: list[Problem]) -> System:
    found = dict(mapping_of(_read(top, "web", problems)))
    node = top.get("web")
    for name, text in [(key, text) for key in ("proxies", "networks") for text in found.get(key, ())]:
        try:
            is_everybody = ip_network(text, strict=False).prefixlen == 0 and name == "proxies"
            words = "would trust every client, so any request could forge its address" if is_everybody else ""
        except ValueError:
            words = "is neither an address nor a network, such as 10.0.0.0/8"
        if words and node is not None:
            node.report(problems, f"{name}: {text} {words}.")
            found[name] = []
    return System("web", found)


def _second_person(top: YamlMapping, problems: list[Problem]) -> tuple[str, ...]:
    found = _read(top, "second_person", problems)
    return tuple(str(word) for word in found) if isinstance(found, list) else ()


def _snapshots(top: YamlMapping, problems: list[Problem]) -> JsonMapping:
    return _read_addressed(top, "snapshots", ("lake", "to"), snapshots, problems)[0] or {}


def _read(top: YamlMapping, name: str, problems: list[Problem]) -> Plain | None:
    node = top.get(name)
    shape = next(key.shape for key in SYSTEMS if key.name == name)
    return None if node is None or shape is None else read_shape(node, shape, problems, name)


def _read_addressed(
    top: YamlMapping, name: str, place: tuple[str, str], shape: Callable[[str | None], Any], problems: list[Problem]
) -> tuple[JsonMapping | None, str | None]:
    """Settings of one of several technologies, by the address in them; and which it is.

    None where a variable of the environment says which; empty where no adapter has such addresses. `place` is the
    contract, and the key of the address where that does not stand alone.
    """
    node = top.get(name)
    (contract, key) = place
    if node is None:
        return None, None
    at = node.get(key) if isinstance(node, YamlMapping) else node
    address = at.text if isinstance(at, Scalar) else ""
    try:
        kind = _kind_at(contract, address) if address or contract == "lake" else None
    except UsageError as error:
        node.report(problems, str(error))
        return None, None
    found = read_shape(node, shape(kind or None), problems, name)
    if found is None:
        return None, kind
    return {key: found} if isinstance(found, str) else mapping_of(found), kind


def _kind_at(contract: str, address: str) -> str | None:
    """The technology of an address as it is written: None for a variable. Raises: UsageError as `kind_at`."""
    if address.startswith("${"):
        return None
    if contract == "lake" and "://" not in address:
        return "folder"
    return kind_at(contract, address.partition(":")[0])


def source_at(url: str, what: str, as_type: str | None) -> System:
    """The live source at an address of a command line, as shroff.yaml would have it; of one type of events.

    Raises: UsageError, which begins with `what`.
    """
    problems: list[Problem] = []
    top = yamltext.read(f"source: {to_json(url).decode()}\n", what, problems)
    found = load_systems(top, problems, []).source if isinstance(top, YamlMapping) else None
    if problems or found is None:
        words = "; ".join(f"{problem.message} {problem.hint}".strip() for problem in problems)
        raise UsageError(f"{what}: {words or 'there is no live source.'}")
    types = settings_of("source", found.kind).types
    if as_type is None or not types:
        return found
    return System(found.kind, {**found.options, types: {as_type: found.options[types]["any"]}})


def _store(top: YamlMapping, problems: list[Problem]) -> System | None:
    node = top.get("store")
    options, kind = _read_addressed(top, "store", ("log", "url"), store, problems)
    if node is None or options is None:
        return None
    if kind == "":
        scheme = str(options.get("url", "")).partition(":")[0]
        cure = "Leave out 'store' for a log in one file, or name a database of PostgreSQL."
        node.report(problems, f"a store is {first_schemes('log')}, not {scheme}://.", cure)
        return None
    return System(kind or "", options)  # the environment says which


def _place(name: str, shape: Callable[[str | None], Any], top: YamlMapping, problems: list[Problem]) -> System | None:
    options, _ = _read_addressed(top, name, ("lake", "to"), shape, problems)
    if options is None:
        return None
    scheme, parted, _ = str(options.get("to", "")).partition("://")
    return System(scheme if parted else "folder", options)


def _online(top: YamlMapping, problems: list[Problem]) -> System | None:
    node = top.get("online")
    options, kind = _read_addressed(top, "online", ("features", "url"), online, problems)
    if node is None or options is None:
        return None
    if kind == "":
        node.report(problems, online_mistake(str(options.get("url", "")).partition(":")[0]))
        return None
    return System(kind or ONLINE_KIND, options)  # a variable is read when it is opened


def _sign_in(top: YamlMapping, problems: list[Problem]) -> System | None:
    found = mapping_of(_read(top, "sign_in", problems))
    return System("oidc", mapping_of(found["oidc"])) if found.get("oidc") else None


def _sessions(top: YamlMapping, problems: list[Problem]) -> SignInSettings:
    node = top.get("sessions")
    usual = SignInSettings()
    found = load_shape(node, SESSIONS, SignInSettings, problems, "sessions") or usual
    ways = mapping_of(_read(top, "sign_in", []))
    has_passwords = ways.get("passwords") != "false"
    if not (has_passwords or ways.get("oidc")):
        top.report(problems, "sign_in: without passwords, nobody could sign in. Set up oidc first.")
    if node is None or SESSION_MS_MIN <= found.idle_ms <= found.lasts_ms <= SESSION_MS_MAX:
        more = {
            "second_factor": tuple(ways.get("second_factor") or ()),
            "group_roles": mapping_of(ways.get("scim")).get("roles", {}),
        }
        return replace(found, has_passwords=has_passwords, **more)
    node.report(problems, "idle must be at least 1m, and the lifetime between idle and 30d.")
    return usual


def _sinks(top: YamlMapping, problems: list[Problem]) -> dict[str, System]:
    node = top.get("sinks")
    entries = node.entries if isinstance(node, YamlMapping) else ()
    named = frozenset(name for _, entry in entries for name in names_of(entry))
    read = mapping_of(None if node is None else read_shape(node, sinks(named), problems, "sinks"))
    found = {name: System(*single_of(item)) for name, item in read.items() if item}
    for name, system in found.items():
        own = node.get(name) if isinstance(node, YamlMapping) else None
        if own is not None:
            look_for_mistakes("sink", system, own, problems)
    return found


def _warn_of_passwords(node: Node | None, warnings: list[Problem]) -> None:
    if isinstance(node, Scalar) and _PASSWORD.search(node.text):
        hint = "Write ${NAME} instead, and set that environment variable where shroff runs."
        node.report(warnings, "this file contains a password.", hint)
    elif isinstance(node, YamlMapping):
        for _, value in node.entries:
            _warn_of_passwords(value, warnings)


def without_systems(text: str, tree: YamlMapping) -> str:
    """The text of shroff.yaml for a control event, without the keys that decide nothing.

    Written anew where such a key is in it, as one line a key; else as it is.
    """
    kept = [(key.text, value) for key, value in tree.entries if key.text in DECIDING_KEYS]
    if len(kept) == len(tree.entries):
        return text
    return "".join(f"{name}: {to_json(plain_of(value)).decode()}\n" for name, value in kept)
