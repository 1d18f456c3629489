"""Where things are, by shroff.yaml: the outside systems that a project reads from and writes to.

None of it decides anything. So it is in no version and in no control event: the same project on one file and on a
cluster gives the same receipts, and no address and no credential gets into the log.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import msgspec

from shroff import config
from shroff.errors import Problem, UsageError
from shroff.language.shapes import Plain, read_shape
from shroff.language.values import DAY_MS, parse_duration
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node, Scalar
from shroff.project.settings.installed import first_schemes, kind_at, online_mistake, own_settings, settings_of
from shroff.project.settings.sign_in_keys import SESSIONS, SIGN_IN
from shroff.project.settings.systems_keys import (
    DEFAULT_MAILER,
    HTTP_CALLS,
    MAIL_KEYS,
    MAILS_KEPT,
    NAMED_SOURCE_KEYS,
    SYSTEMS,
    WEB,
    default_of,
    kind_shape,
    lake,
    mail,
    online,
    sinks,
    snapshots,
    source,
    sources,
    store,
)

SYSTEM_KEYS: Final = frozenset([*(key.name for key in SYSTEMS), "cases", "summaries"])  # which decide nothing
TOLD_KEPT_MS: Final = 90 * DAY_MS  # for which it is kept what was told, and so of which event a mail is
ONLINE_KIND: Final = "redis"  # where the environment has the whole address
SESSION_MS_MIN, SESSION_MS_MAX = 60_000, 30 * DAY_MS
SKIP: Final = "skip"
_NO_LAKE: Final = "what is older than keep moves to the lake, and there is no 'lake:' in this file."
_NO_ROWS: Final = "what is older than keep moves to the lake, which needs layout parquet or both to hold whole rows."
_PASSWORD: Final = re.compile(r"://[^/@\s]*:(?!\$\{)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class System:
    """One outside system: its kind, and its settings as they are written, `${NAME}` and all.

    Its text shows the kind alone, since settings may hold credentials.
    """

    kind: str
    options: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    def text(self, name: str, default: str = "") -> str:
        """A setting that is one text."""
        found = self.options.get(name, default)
        assert isinstance(found, str)
        return found

    @property
    def lanes(self) -> int:
        """How many lanes a source has, each with a log of its own; only Kafka's topics part into lanes."""
        return int(self.text("lanes", "1")) if self.kind == "kafka" else 1

    @property
    def starts_now(self) -> bool:
        """Whether a sink that the log does not know yet begins with what comes from now on."""
        return self.text("start", default_of("sink", self.kind, "start")) == "now"

    @property
    def registry(self) -> Mapping[str, str]:
        """The settings of the schema registry, its address under `url`; empty where none is named."""
        found = self.options.get("registry", {})
        return {"url": found} if isinstance(found, str) else found

    def duration_ms(self, name: str, default: str) -> int:
        """A setting that is a duration, in milliseconds."""
        return parse_duration(self.text(name, default))


def filled(system: System) -> System:
    """A system with what the environment has to say of its settings. Raises: UsageError as `config.filled`."""

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            return config.filled(value, system.kind)
        if isinstance(value, Mapping):
            return {name: fill(one) for name, one in value.items()}
        return [fill(one) for one in value] if isinstance(value, list) else value

    return System(system.kind, fill(system.options))


@dataclass(frozen=True, slots=True)
class NamedSource:
    """A source under a name of the user's.

    Attributes:
        events: The event types that it brings; all where empty.
        others: What becomes of messages of none of these: `skip`, `quarantine`, or the event type that takes them.
        is_id_of_message: Whether the sender's id of a message is the id of its event.
    """

    name: str
    system: System
    events: tuple[str, ...] = ()
    others: str = SKIP
    is_id_of_message: bool = True

    @property
    def is_pushed(self) -> bool:
        """Whether its sender calls us. Raises: UsageError where no such adapter is installed."""
        return settings_of("source", self.system.kind).is_pushed


@dataclass(frozen=True, slots=True)
class SessionTimes:
    """How long somebody stays signed in: without a use of the session, and at most."""

    idle_ms: int = 3_600_000
    lasts_ms: int = 12 * 3_600_000  # a working day


@dataclass(frozen=True, slots=True)
class Systems:
    """The outside systems of a project; without any it is one process and one file."""

    source: System | None = None
    sources: Mapping[str, NamedSource] = field(default_factory=dict)
    store: System | None = None
    lake: System | None = None
    sinks: Mapping[str, System] = field(default_factory=dict)
    snapshots: System = field(default_factory=lambda: System("snapshots", {}))
    keep_ms: int | None = None
    online: System | None = None
    sign_in: System | None = None
    sessions: SessionTimes = field(default_factory=SessionTimes)
    http: System = field(default_factory=lambda: System("http", {}))
    mail: System = field(default_factory=lambda: System("mail", {}))  # what concerns all mails
    mailer: System = field(default_factory=lambda: System(DEFAULT_MAILER, {}))
    web: System = field(default_factory=lambda: System("web", {}))
    second_person: tuple[str, ...] = ()

    def settled(self, contract: str, system: System, folder: Path) -> Mapping[str, Any]:
        """The settings of a system as its adapter takes them: filled, files by their whole paths.

        Raises: UsageError as `config.filled`, and where no such adapter is installed.
        """
        declared = settings_of(contract, system.kind)
        own = self.called(system, folder) if declared.is_called else filled(system)
        return declared.settled(own.options, folder)

    def source_in(self, folder: Path, source: System) -> System:
        """The source as its adapter takes it. Raises: as `settled`."""
        return System(source.kind, self.settled("source", source, folder))

    def beside(self, contract: str, system: System, folder: Path) -> dict[str, Any]:
        """What an adapter that is opened by its address has declared beside that. Raises: as `settled`."""
        kind = kind_at(contract, filled(system).text("url").partition(":")[0])
        names = {key.name for key in settings_of(contract, kind).keys} if kind else set()
        own = {name: value for name, value in system.options.items() if name in names}
        return dict(self.settled(contract, System(kind, own), folder)) if own else {}

    def called(self, system: System, folder: Path) -> System:
        """A system that is called over HTTP, filled, with `http:` for what it leaves open; files by their whole paths.

        Raises: UsageError as `config.filled`.
        """
        own = filled(system)
        usual = dict(filled(self.http).options)
        if own.text("url").startswith("http://"):
            usual.pop("ca", None)  # it is for all that are encrypted
        options = {**usual, **own.options}
        files: dict[str, Any] = {name: str(folder / options[name]) for name in ("ca", "cert", "key") if name in options}
        return System(system.kind, {**options, **files})

    @property
    def mails_are_files(self) -> bool:
        """Whether mails stay here, where no way is named by which they leave."""
        return self.mailer.kind == DEFAULT_MAILER

    @property
    def mails_kept_ms(self) -> int:
        """How long mails stay that are files."""
        return self.mail.duration_ms("keep", MAILS_KEPT)

    @property
    def public_url(self) -> str:
        """The address at which browsers reach the service, with no slash behind; empty where none is set.

        Raises: UsageError for a variable that is not set, or holds no such address.
        """
        found = config.filled(self.web.text("url"), "web")
        if found and not re.match(r"https?://[^\s/]", found):
            raise UsageError(f"web in {config.PROJECT_FILE}: the address begins with https:// or http://, and a host.")
        return found.rstrip("/")


def load_systems(top: YamlMapping, problems: list[Problem], warnings: list[Problem]) -> Systems:
    """Read where things are from shroff.yaml."""
    keep = top.get("keep")
    kept = None if keep is None else read_shape(keep, _shape("keep"), problems, "keep")
    lake = _lake(top, problems)
    if keep is not None and (lake is None or lake.options.get("layout") == "json"):
        problems.append(keep.problem(_NO_LAKE if lake is None else _NO_ROWS))
    for name in sorted(SYSTEM_KEYS):
        _warn_of_passwords(top.get(name), warnings)
    named = _sources(top, problems)
    return Systems(
        _read_source(top, named, problems),
        {name: one for name, one in named.items() if one.is_pushed},
        _store(top, problems),
        lake,
        _sinks(top, problems),
        System("snapshots", _snapshots(top, problems)),
        parse_duration(kept) if isinstance(kept, str) else None,
        _online(top, problems),
        _sign_in(top, problems),
        _sessions(top, problems),
        System("http", _mapping(_read(top, "http", HTTP_CALLS, problems))),
        *_mail(top, problems),
        _web(top, problems),
        _second_person(top, problems),
    )


def _mail(top: YamlMapping, problems: list[Problem]) -> tuple[System, System]:
    """What concerns all mails, and what hands them over."""
    node = top.get("mail")
    if node is None:
        return System("mail", {}), System(DEFAULT_MAILER, {})
    read = _mapping(read_shape(node, mail(_names(node)), problems, "mail"))
    common = {key.name: read[key.name] for key in MAIL_KEYS if key.name in read}
    if "keep" in common and parse_duration(str(common["keep"])) > TOLD_KEPT_MS:
        problems.append(node.problem("mails are kept for at most 90d: for so long it is known of which event one is."))
    flat = {key.name for one in own_settings("mailer").values() if one.is_flat for key in one.keys}
    beside = {name: value for name, value in read.items() if name in flat}
    ways = [name for name in read if name in own_settings("mailer") or (name not in flat and name not in common)]
    if len(ways) > 1:
        problems.append(node.problem(f"mails leave by one way, and this names {' and '.join(ways)}."))
    kind = ways[0] if ways else DEFAULT_MAILER
    mailer = System(kind, beside if kind in flat or not ways else _mapping(read[kind]))
    _look_for_mistakes("mailer", mailer, node, problems)
    return System("mail", common), mailer


def _web(top: YamlMapping, problems: list[Problem]) -> System:
    found, node = dict(_mapping(_read(top, "web", WEB, problems))), top.get("web")
    for text in found.get("proxies", ()):
        try:
            is_everybody = ip_network(text, strict=False).prefixlen == 0
            words = "would be everybody, and so believe whatever a request says of itself" if is_everybody else ""
        except ValueError:
            words = "is no address and no network, such as 10.0.0.0/8"
        if words and node is not None:
            problems.append(node.problem(f"proxies: {text} {words}."))
            found["proxies"] = []
    return System("web", found)


def _second_person(top: YamlMapping, problems: list[Problem]) -> tuple[str, ...]:
    node = top.get("second_person")
    found = None if node is None else read_shape(node, _shape("second_person"), problems, "second_person")
    return tuple(str(one) for one in found) if isinstance(found, list) else ()


def _snapshots(top: YamlMapping, problems: list[Problem]) -> Mapping[str, Any]:
    return _read_addressed(top, "snapshots", ("lake", "to"), snapshots, problems)[0] or {}


def _shape(name: str) -> Any:
    return next(key.shape for key in SYSTEMS if key.name == name)


def _read(top: YamlMapping, name: str, shape: Any, problems: list[Problem]) -> Plain | None:
    node = top.get(name)
    return None if node is None else read_shape(node, shape, problems, name)


def _names(node: Node | None) -> frozenset[str]:
    """The keys of a mapping; none of anything else."""
    return frozenset(key.text for key, _ in node.entries) if isinstance(node, YamlMapping) else frozenset()


def _read_addressed(
    top: YamlMapping, name: str, place: tuple[str, str], shape: Callable[[str | None], Any], problems: list[Problem]
) -> tuple[Mapping[str, Any] | None, str | None]:
    """Settings of one of several technologies, by the address in them; and which it is.

    None where a variable of the environment says which; empty where no adapter has such addresses. `place` is the
    contract, and the key of the address where that does not stand alone.
    """
    node, (contract, key) = top.get(name), place
    if node is None:
        return None, None
    at = node.get(key) if isinstance(node, YamlMapping) else node
    address = at.text if isinstance(at, Scalar) else ""
    try:
        kind = _kind_at(contract, address) if address or contract == "lake" else None
    except UsageError as error:
        problems.append(node.problem(str(error)))
        return None, None
    found = read_shape(node, shape(kind or None), problems, name)
    if found is None:
        return None, kind
    return {key: found} if isinstance(found, str) else _mapping(found), kind


def _kind_at(contract: str, address: str) -> str | None:
    """The technology of an address as it is written: None for a variable. Raises: UsageError as `kind_at`."""
    if address.startswith("${"):
        return None
    if contract == "lake" and "://" not in address:
        return "folder"
    return kind_at(contract, address.partition(":")[0])


def _look_for_mistakes(contract: str, system: System, node: Node, problems: list[Problem]) -> None:
    """Add what the adapter finds contradictory in its settings."""
    try:
        mistake = settings_of(contract, system.kind).mistake(system.options)
    except UsageError:  # which was told where the settings were read
        return
    if mistake:
        problems.append(node.problem(mistake))


def _mapping(found: Plain | None) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _single(found: Plain) -> tuple[str, Mapping[str, Any]]:
    """The one kind of a mapping, with what stands under it."""
    assert isinstance(found, dict)
    kind, options = next(iter(found.items()))
    return kind, _mapping(options)


def _source(top: YamlMapping, problems: list[Problem]) -> System | None:
    node = top.get("source")
    found = None if node is None else read_shape(node, source(_names(node)), problems, "source")
    if isinstance(found, dict) and found:
        system = System(*_single(found))
        mistake = registry_mistake(system.registry)
        if node is not None and mistake:
            problems.append(node.problem(mistake))
        if node is not None:
            _look_for_mistakes("source", system, node, problems)
        return system
    if node is None or not isinstance(found, str):
        return None
    return source_of(found, node, problems)


def _read_source(top: YamlMapping, named: Mapping[str, NamedSource], problems: list[Problem]) -> System | None:
    """The one source that is read and does not call us, from `source` or `sources`."""
    single, read = _source(top, problems), [one for one in named.values() if not one.is_pushed]
    node = top.get("sources")
    if node is not None and len(read) + (single is not None) > 1:
        others = ", ".join(one.name for one in read)
        problems.append(node.problem(f"one source is read at most, and this names several: {others}."))
    if single is not None and settings_of("source", single.kind).is_pushed and (node := top.get("source")) is not None:
        words = f"{single.kind} is a source that calls, and needs a name."
        problems.append(node.problem(words, f"Write sources: {{ NAME: {{ {single.kind}: ... }} }}."))
        return None
    return single or (read[0].system if read else None)


def _sources(top: YamlMapping, problems: list[Problem]) -> dict[str, NamedSource]:
    node = top.get("sources")
    entries = node.entries if isinstance(node, YamlMapping) else ()
    own = {key.name for key in NAMED_SOURCE_KEYS}
    read = _mapping(None)
    if node is not None:
        written = frozenset(name for _, one in entries for name in _names(one)) - own
        read = _mapping(read_shape(node, sources(written), problems, "sources"))
    found = {}
    for key, one in entries:
        options = _mapping(read.get(key.text))
        kinds = [name for name in options if name not in own]
        if options and len(kinds) != 1:
            problems.append(one.problem(f"a source has one kind, and this has {' and '.join(kinds) or 'none'}."))
        elif kinds:
            found[key.text] = _named_source(key.text, kinds[0], options, one, problems)
    return found


def _named_source(name: str, kind: str, options: Mapping[str, Any], node: Node, problems: list[Problem]) -> NamedSource:
    system = System(kind, _mapping(options[kind]))
    found = NamedSource(
        name,
        system,
        tuple(options.get("events", ())),
        options.get("others", SKIP),
        options.get("id", "message") == "message",
    )
    _look_for_mistakes("source", system, node, problems)
    beside = [one.name for one in NAMED_SOURCE_KEYS if one.name in options]
    if beside and not found.is_pushed:
        words = f"{' and '.join(beside)}: a source of the kind {kind} says itself which event types it brings."
        problems.append(node.problem(words))
    if mistake := registry_mistake(system.registry):
        problems.append(node.problem(mistake))
    return found


def source_of(url: str, node: Node, problems: list[Problem]) -> System | None:
    """The source at an address, such as `kafka://HOST:PORT[,HOST:PORT]/TOPIC`.

    What stands behind a question mark are settings: `?format=avro&registry=http://localhost:8081`. An address that is
    a variable as a whole (`${SOURCE}`) is read from the environment now, since it says which kind of source it is.
    """
    if url.startswith("${"):
        if lacking := config.unset(url):
            words = f"the address of the source is in ${{{lacking[0]}}}, and that variable is not set."
            hint = "Set it, or name the kind here, as in source: { kafka: { brokers: '${BROKERS}', topics: ... } }."
            problems.append(node.problem(words, hint))
            return None
        url = config.filled(url, "source")
    parts = urlsplit(url)
    try:
        kind = kind_at("source", parts.scheme)
        declared = settings_of("source", kind) if kind else None
        if declared is None or declared.from_address is None:
            problems.append(node.problem(f"a source is {first_schemes('source')}, not {parts.scheme}://."))
            return None
        options = {**dict(parse_qsl(parts.query)), **declared.from_address(parts)}
    except (UsageError, ValueError) as error:
        problems.append(node.problem(str(error)))
        return None
    system = System(kind, options)
    found: list[Problem] = []
    tree = yamltext.read(msgspec.json.encode(options).decode(), "", found)
    if tree is not None:
        read_shape(tree, kind_shape("source", kind), found, "the address")  # as if it had been written out
    problems += [node.problem(one.message, one.hint) for one in found]
    return system


def source_at(url: str, what: str, as_type: str | None) -> System:
    """The live source at an address of a command line, as shroff.yaml would have it; of one type of events.

    Raises: UsageError, which begins with `what`.
    """
    problems: list[Problem] = []
    top = yamltext.read(f"source: {msgspec.json.encode(url).decode()}\n", what, problems)
    found = load_systems(top, problems, []).source if isinstance(top, YamlMapping) else None
    if problems or found is None:
        words = "; ".join(f"{one.message} {one.hint}".strip() for one in problems)
        raise UsageError(f"{what}: {words or 'no live source is there.'}")
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
        problems.append(node.problem(f"a store is {first_schemes('log')}, not {scheme}://."))
        return None
    return System(kind or "", options)  # the environment says which


def _lake(top: YamlMapping, problems: list[Problem]) -> System | None:
    options, _ = _read_addressed(top, "lake", ("lake", "to"), lake, problems)
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
        problems.append(node.problem(online_mistake(str(options.get("url", "")).partition(":")[0])))
        return None
    return System(kind or ONLINE_KIND, options)  # what a variable holds is seen when it is opened


def _sign_in(top: YamlMapping, problems: list[Problem]) -> System | None:
    found = _mapping(_read(top, "sign_in", SIGN_IN, problems))
    return System(*_single({"oidc": found["oidc"]})) if found.get("oidc") else None


def _sessions(top: YamlMapping, problems: list[Problem]) -> SessionTimes:
    node, usual = top.get("sessions"), SessionTimes()
    found = _mapping(_read(top, "sessions", SESSIONS, problems))
    idle_ms, lasts_ms = (
        parse_duration(str(found[name])) if found.get(name) else default
        for name, default in (("idle", usual.idle_ms), ("lasts", usual.lasts_ms))
    )
    if node is None or SESSION_MS_MIN <= idle_ms <= lasts_ms <= SESSION_MS_MAX:
        return SessionTimes(idle_ms, lasts_ms)
    problems.append(node.problem("a session may be idle for 1m or more, and lasts no less than that and at most 30d."))
    return usual


def _sinks(top: YamlMapping, problems: list[Problem]) -> dict[str, System]:
    node = top.get("sinks")
    entries = node.entries if isinstance(node, YamlMapping) else ()
    named = frozenset(name for _, one in entries for name in _names(one))
    read = _mapping(None if node is None else read_shape(node, sinks(named), problems, "sinks"))
    found = {name: System(*_single(one)) for name, one in read.items() if one}
    for name, system in found.items():
        own = node.get(name) if isinstance(node, YamlMapping) else None
        if own is not None:
            _look_for_mistakes("sink", system, own, problems)
    return found


def registry_mistake(settings: Mapping[str, str]) -> str:
    """What is wrong with the settings of a schema registry, in words; nothing where all is well."""
    if "key" in settings and "cert" not in settings:
        return "registry: a key is for the certificate under cert:, and there is none."
    if len(settings) > 1 and settings.get("url", "").startswith("http://"):
        return "registry: certificates are for an address that begins with https://."
    return ""


def _warn_of_passwords(node: Node | None, warnings: list[Problem]) -> None:
    """Say where a password stands in an address as it is."""
    if isinstance(node, Scalar) and _PASSWORD.search(node.text):
        hint = "Write ${NAME} in its place, and set that variable where the program runs."
        warnings.append(node.problem("a password stands in this file.", hint))
    elif isinstance(node, YamlMapping):
        for _, value in node.entries:
            _warn_of_passwords(value, warnings)


def without_systems(text: str, tree: YamlMapping) -> str:
    """The text of shroff.yaml without the keys that say where things are: what a control event carries of it.

    Written anew where such a key is in it, as one line a key; else as it is.
    """
    if not any(key.text in SYSTEM_KEYS for key, _ in tree.entries):
        return text
    kept = [(key.text, value) for key, value in tree.entries if key.text not in SYSTEM_KEYS]
    return "".join(f"{name}: {msgspec.json.encode(_plain(value)).decode()}\n" for name, value in kept)


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, YamlMapping):
        return {key.text: _plain(value) for key, value in node.entries}
    return [_plain(item) for item in node.items]
