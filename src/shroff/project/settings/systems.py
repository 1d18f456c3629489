"""Parse the external systems of shroff.yaml that a project reads from and writes to.

Systems do not affect decisions, so they are part of no version and no control event: a project gives the same receipts
on one file and on a cluster, and no address or credential gets into the log.
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
from shroff.language.values import DAY_MS, parse_duration
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.nodes import plain_of
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node, Scalar
from shroff.project.settings.installed import first_schemes, kind_at, online_mistake, own_settings, settings_of
from shroff.project.settings.location_keys import DEFAULT_MAILER, MAIL_KEYS, MAILS_KEPT
from shroff.project.settings.programmes import ProgrammeSettings, load_programmes
from shroff.project.settings.service_keys import SESSIONS
from shroff.project.settings.sources import NamedSource, read_sources
from shroff.project.settings.system import System, filled, look_for_mistakes, mapping_of, names_of, single_of
from shroff.project.settings.systems_keys import SYSTEMS, backup, lake, mail, online, sinks, snapshots, store
from shroff.runtime import environment
from shroff.runtime.values import FrozenStruct, replace

DECIDING_KEYS = frozenset(["shroff", "name", "money", "lateness", "ahead", "untaken"])
TOLD_KEPT_MS = 90 * DAY_MS  # retention of sent messages, and so of the event of a mail
ONLINE_KIND = "redis"  # if the whole address is an environment variable
SESSION_MS_MIN = 60_000
SESSION_MS_MAX = 30 * DAY_MS
_NO_LAKE = "events older than keep move to the lake, but this file has no 'lake:'."
_NO_ROWS = "events older than keep move to the lake, which then needs layout parquet or both."
_PASSWORD = re.compile(r"://[^/@\s]*:(?!\$\{)[^/@\s]+@")


class SignInSettings(FrozenStruct):
    """Idle timeout and maximum of sessions, roles that need a second factor, and the role of each SCIM group."""

    idle_ms: int = 3_600_000
    lasts_ms: int = 12 * 3_600_000  # a working day
    second_factor: tuple[str, ...] = ()
    has_passwords: bool = True
    group_roles: Mapping[str, str] = {}


class Systems(FrozenStruct):
    """The external systems of a project; without any, a project is one process and one file."""

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
    mail: System = field(default_factory=lambda: System("mail", {}))  # settings of all mails
    mailer: System = field(default_factory=lambda: System(DEFAULT_MAILER, {}))
    web: System = field(default_factory=lambda: System("web", {}))
    second_person: tuple[str, ...] = ()
    pulled: Mapping[str, NamedSource] = {}
    read: Mapping[str, NamedSource] = {}  # named sources that shroff reads continuously
    backup: System | None = None
    metrics: System = field(default_factory=lambda: System("metrics", {}))
    scheme_programmes: ProgrammeSettings | None = None
    zone: str = ""  # empty if shroff.yaml names none

    @property
    def time_zone(self) -> str:
        return self.zone or "UTC"

    def settled(self, contract: str, system: System, folder: Path) -> JsonMapping:
        """Return a system's settings for its adapter, with variables replaced and absolute file paths.

        Raises: UsageError as `environment.fill_variables`, or if no such adapter is installed.
        """
        declared = settings_of(contract, system.kind)
        own = self.called(system, folder) if declared.is_called else filled(system)
        return declared.settled(own.options, folder)

    @property
    def with_own_types(self) -> dict[str, NamedSource]:
        read = {name: source for name, source in self.read.items() if source.has_own_types}
        return {**self.sources, **self.pulled, **read}

    @property
    def named_read(self) -> dict[str, System]:
        """Sources of `sources` that are read, by name, and `source` by its kind; empty if `sources` has none."""
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
        """Return a source with settings for its adapter. Raises: as `settled`."""
        return System(source.kind, self.settled("source", source, folder))

    def beside(self, contract: str, system: System, folder: Path) -> JsonObject:
        """Return a system's adapter settings other than its address. Raises: as `settled`."""
        kind = kind_at(contract, filled(system).text("url").partition(":")[0])
        names = {key.name for key in settings_of(contract, kind).keys} if kind else set()
        own = {name: value for name, value in system.options.items() if name in names}
        return dict(self.settled(contract, System(kind, own), folder)) if own else {}

    def called(self, system: System, folder: Path) -> System:
        """Return an HTTP system with `${NAME}` replaced, defaults from `http:`, and absolute file paths.

        Raises: UsageError as `environment.fill_variables`.
        """
        own = filled(system)
        usual = dict(filled(self.http).options)
        if own.text("url").startswith("http://"):
            usual.pop("ca", None)  # only for encrypted addresses
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
        """Address of the service for browsers, without a trailing slash; empty if none is set.

        Raises: UsageError for an unset variable, or an invalid address.
        """
        url = environment.fill_variables(self.web.text("url"), "web")
        if url and not re.match(r"https?://[^\s/]", url):
            raise UsageError(
                f"web in {config.PROJECT_FILE}: the address must begin with https:// or http:// and a host."
            )
        return url.rstrip("/")


def load_systems(root: YamlMapping, problems: list[Problem], warnings: list[Problem]) -> Systems:
    """Parse the external systems of shroff.yaml; report errors in `problems`, and passwords in `warnings`."""
    keep = root.get("keep")
    retention = _read(root, "keep", problems)
    lake_system = _place("lake", lake, root, problems)
    if keep is not None and (lake_system is None or lake_system.options.get("layout") == "json"):
        keep.report(problems, _NO_LAKE if lake_system is None else _NO_ROWS)
    for key, value in root.entries:
        if key.text not in DECIDING_KEYS:
            _warn_of_passwords(value, warnings)
    source, named = read_sources(root, problems)
    return Systems(
        source,
        {name: push for name, push in named.items() if push.contract == "push"},
        _store(root, problems),
        lake_system,
        _sinks(root, problems),
        System("snapshots", _snapshots(root, problems)),
        parse_duration(retention) if isinstance(retention, str) else None,
        _online(root, problems),
        _sign_in(root, problems),
        _sessions(root, problems),
        System("http", mapping_of(_read(root, "http", problems))),
        *_mail(root, problems),
        _web(root, problems),
        _second_person(root, problems),
        {name: pull for name, pull in named.items() if pull.contract == "pull"},
        {name: source for name, source in named.items() if source.contract == "source"},
        _place("backup", backup, root, problems),
        System("metrics", mapping_of(_read(root, "metrics", problems))),
        load_programmes(root.get("scheme_programmes"), problems),
        loader.zone(root.get("zone"), problems) or "",
    )


def _mail(top: YamlMapping, problems: list[Problem]) -> tuple[System, System]:
    node = top.get("mail")
    if node is None:
        return System("mail", {}), System(DEFAULT_MAILER, {})
    options = mapping_of(read_shape(node, mail(names_of(node)), problems, "mail"))
    common = {key.name: options[key.name] for key in MAIL_KEYS if key.name in options}
    if "keep" in common and parse_duration(str(common["keep"])) > TOLD_KEPT_MS:
        node.report(problems, "keep is at most 90d: the event of a mail is known for that long.")
    flat = {
        key.name for own_setting in own_settings("mailer").values() if own_setting.is_flat for key in own_setting.keys
    }
    flat_options = {name: value for name, value in options.items() if name in flat}
    ways = [name for name in options if name in own_settings("mailer") or (name not in flat and name not in common)]
    if len(ways) > 1:
        node.report(problems, f"mails are sent one way only, and this names {' and '.join(ways)}.")
    kind = ways[0] if ways else DEFAULT_MAILER
    mailer = System(kind, flat_options if kind in flat or not ways else mapping_of(options[kind]))
    look_for_mistakes("mailer", mailer, node, problems)
    return System("mail", common), mailer


def _web(top: YamlMapping, problems: list[Problem]) -> System:
    options = dict(mapping_of(_read(top, "web", problems)))
    node = top.get("web")
    for name, text in [(key, text) for key in ("proxies", "networks") for text in options.get(key, ())]:
        try:
            is_everybody = ip_network(text, strict=False).prefixlen == 0 and name == "proxies"
            error_text = "would trust every client, so any request could forge its address" if is_everybody else ""
        except ValueError:
            error_text = "is neither an address nor a network, such as 10.0.0.0/8"
        if error_text and node is not None:
            node.report(problems, f"{name}: {text} {error_text}.")
            options[name] = []
    return System("web", options)


def _second_person(top: YamlMapping, problems: list[Problem]) -> tuple[str, ...]:
    kinds_ = _read(top, "second_person", problems)
    return tuple(str(word) for word in kinds_) if isinstance(kinds_, list) else ()


def _snapshots(top: YamlMapping, problems: list[Problem]) -> JsonMapping:
    return _read_addressed(top, "snapshots", ("lake", "to"), snapshots, problems)[0] or {}


def _read(top: YamlMapping, name: str, problems: list[Problem]) -> Plain | None:
    node = top.get(name)
    shape = next(key.shape for key in SYSTEMS if key.name == name)
    return None if node is None or shape is None else read_shape(node, shape, problems, name)


def _read_addressed(
    top: YamlMapping, name: str, place: tuple[str, str], shape: Callable[[str | None], Any], problems: list[Problem]
) -> tuple[JsonMapping | None, str | None]:
    """Return the settings of a system whose address tells its technology, and the technology.

    The technology is None if the address is an environment variable, and empty if no adapter has such addresses.
    `place` is the contract, and the key of the address among other settings.
    """
    node = top.get(name)
    contract, key = place
    if node is None:
        return None, None
    at = node.get(key) if isinstance(node, YamlMapping) else node
    address = at.text if isinstance(at, Scalar) else ""
    try:
        kind = _kind_at(contract, address) if address or contract == "lake" else None
    except UsageError as error:
        node.report(problems, str(error))
        return None, None
    settings = read_shape(node, shape(kind or None), problems, name)
    if settings is None:
        return None, kind
    return {key: settings} if isinstance(settings, str) else mapping_of(settings), kind


def _kind_at(contract: str, address: str) -> str | None:
    """Return the technology of an address, None for a variable. Raises: UsageError as `kind_at`."""
    if address.startswith("${"):
        return None
    if contract == "lake" and "://" not in address:
        return "folder"
    return kind_at(contract, address.partition(":")[0])


def source_at(url: str, what: str, as_type: str | None) -> System:
    """Return the live source at an address, as in shroff.yaml; with `as_type` all its messages have this event type.

    Raises: UsageError, whose text begins with `what`.
    """
    problems: list[Problem] = []
    root = yamltext.read(f"source: {to_json(url).decode()}\n", what, problems)
    source = load_systems(root, problems, []).source if isinstance(root, YamlMapping) else None
    if problems or source is None:
        details = "; ".join(f"{problem.message} {problem.hint}".strip() for problem in problems)
        raise UsageError(f"{what}: {details or 'there is no live source.'}")
    types = settings_of("source", source.kind).types
    if as_type is None or not types:
        return source
    return System(source.kind, {**source.options, types: {as_type: source.options[types]["any"]}})


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
    return System(kind or "", options)  # empty if the address is an environment variable


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
    return System(kind or ONLINE_KIND, options)


def _sign_in(top: YamlMapping, problems: list[Problem]) -> System | None:
    options = mapping_of(_read(top, "sign_in", problems))
    return System("oidc", mapping_of(options["oidc"])) if options.get("oidc") else None


def _sessions(top: YamlMapping, problems: list[Problem]) -> SignInSettings:
    node = top.get("sessions")
    defaults = SignInSettings()
    settings = load_shape(node, SESSIONS, SignInSettings, problems, "sessions") or defaults
    ways = mapping_of(_read(top, "sign_in", []))
    has_passwords = ways.get("passwords") != "false"
    if not (has_passwords or ways.get("oidc")):
        top.report(problems, "sign_in: without passwords, nobody could sign in. Set up oidc first.")
    if node is None or SESSION_MS_MIN <= settings.idle_ms <= settings.lasts_ms <= SESSION_MS_MAX:
        more = {
            "second_factor": tuple(ways.get("second_factor") or ()),
            "group_roles": mapping_of(ways.get("scim")).get("roles", {}),
        }
        return replace(settings, has_passwords=has_passwords, **more)
    node.report(problems, "idle must be at least 1m, and the lifetime between idle and 30d.")
    return defaults


def _sinks(top: YamlMapping, problems: list[Problem]) -> dict[str, System]:
    node = top.get("sinks")
    entries = node.entries if isinstance(node, YamlMapping) else ()
    named = frozenset(name for _, entry in entries for name in names_of(entry))
    options = mapping_of(None if node is None else read_shape(node, sinks(named), problems, "sinks"))
    systems = {name: System(*single_of(item)) for name, item in options.items() if item}
    for name, system in systems.items():
        own = node.get(name) if isinstance(node, YamlMapping) else None
        if own is not None:
            look_for_mistakes("sink", system, own, problems)
    return systems


def _warn_of_passwords(node: Node | None, warnings: list[Problem]) -> None:
    if isinstance(node, Scalar) and _PASSWORD.search(node.text):
        hint = "Write ${NAME} instead, and set that environment variable where shroff runs."
        node.report(warnings, "this file contains a password.", hint)
    elif isinstance(node, YamlMapping):
        for _, value in node.entries:
            _warn_of_passwords(value, warnings)


def without_systems(text: str, tree: YamlMapping) -> str:
    """Return the text of shroff.yaml for a control event, without the keys that do not affect decisions.

    The text is unchanged if it has no such key; otherwise each remaining key becomes one line.
    """
    deciding = [(key.text, value) for key, value in tree.entries if key.text in DECIDING_KEYS]
    if len(deciding) == len(tree.entries):
        return text
    return "".join(f"{name}: {to_json(plain_of(value)).decode()}\n" for name, value in deciding)
