"""Where things are, by shroff.yaml: the outside systems that a project reads from and writes to.

None of it decides anything. So it is in no version and in no control event: the same project on one file and on a
cluster gives the same receipts, and no address and no credential gets into the log.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

from shroff import config
from shroff.errors import Problem, UsageError
from shroff.language.keys import Keys
from shroff.language.shapes import Plain, read_shape
from shroff.language.values import DAY_MS, parse_duration
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node, Scalar
from shroff.project.settings.http_keys import HTTP_CALLS
from shroff.project.settings.mail_keys import MAIL, TOLD_KEPT_MS, WEB
from shroff.project.settings.sign_in_keys import SESSIONS, SIGN_IN
from shroff.project.settings.systems_keys import (
    KAFKA_SOURCE,
    LAKE,
    ONLINE,
    REDIS_SOURCE,
    SINKS,
    SNAPSHOTS,
    SOURCE,
    STORE,
    SYSTEMS,
)

SYSTEM_KEYS: Final = frozenset([*(key.name for key in SYSTEMS), "cases"])  # which decide nothing
STORES: Final = ("postgresql", "mariadb")
SOURCES: Final = ("kafka", "redis", "rediss")
SESSION_MS_MIN, SESSION_MS_MAX = 60_000, 30 * DAY_MS
ONLINE_IN: Final = ("redis", "rediss")
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
        """How many lanes a source has, each with a log of its own."""
        return int(self.text("lanes", "1"))

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
class SessionTimes:
    """How long somebody stays signed in: without a use of the session, and at most."""

    idle_ms: int = 3_600_000
    lasts_ms: int = 12 * 3_600_000  # a working day


@dataclass(frozen=True, slots=True)
class Systems:
    """The outside systems of a project; without any it is one process and one file."""

    source: System | None = None
    store: System | None = None
    lake: System | None = None
    sinks: Mapping[str, System] = field(default_factory=dict)
    snapshots: System = field(default_factory=lambda: System("snapshots", {}))
    keep_ms: int | None = None
    online: System | None = None
    sign_in: System | None = None
    sessions: SessionTimes = field(default_factory=SessionTimes)
    http: System = field(default_factory=lambda: System("http", {}))
    mail: System = field(default_factory=lambda: System("mail", {}))
    web: System = field(default_factory=lambda: System("web", {}))
    second_person: tuple[str, ...] = ()

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
    snapshots = _read(top, "snapshots", SNAPSHOTS, problems)
    for name in sorted(SYSTEM_KEYS):
        _warn_of_passwords(top.get(name), warnings)
    return Systems(
        _source(top, problems),
        _store(top, problems),
        lake,
        _sinks(top, problems),
        System("snapshots", _mapping(snapshots)),
        parse_duration(kept) if isinstance(kept, str) else None,
        _online(top, problems),
        _sign_in(top, problems),
        _sessions(top, problems),
        System("http", _mapping(_read(top, "http", HTTP_CALLS, problems))),
        _mail(top, problems),
        _web(top, problems),
        _second_person(top, problems),
    )


def _mail(top: YamlMapping, problems: list[Problem]) -> System:
    found, node = _mapping(_read(top, "mail", MAIL, problems)), top.get("mail")
    if node is not None and "keep" in found and parse_duration(str(found["keep"])) > TOLD_KEPT_MS:
        problems.append(node.problem("mails are kept for at most 90d: for so long it is known of which event one is."))
    return System("mail", found)


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


def _shape(name: str) -> Any:
    return next(key.shape for key in SYSTEMS if key.name == name)


def _read(top: YamlMapping, name: str, shape: Any, problems: list[Problem]) -> Plain | None:
    node = top.get(name)
    return None if node is None else read_shape(node, shape, problems, name)


def _mapping(found: Plain | None) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _single(found: Plain) -> tuple[str, Mapping[str, Any]]:
    """The one kind of a mapping, with what stands under it."""
    assert isinstance(found, dict)
    kind, options = next(iter(found.items()))
    return kind, _mapping(options)


def _source(top: YamlMapping, problems: list[Problem]) -> System | None:
    node, found = top.get("source"), _read(top, "source", SOURCE, problems)
    if isinstance(found, dict) and found:
        system = System(*_single(found))
        mistake = registry_mistake(system.registry)
        if node is not None and mistake:
            problems.append(node.problem(mistake))
        return system
    if node is None or not isinstance(found, str):
        return None
    return source_of(found, node, problems)


def source_of(url: str, node: Node, problems: list[Problem]) -> System | None:
    """The source at an address: `kafka://HOST:PORT[,HOST:PORT]/TOPIC`, `redis://HOST:PORT/DATABASE/STREAM`.

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
    if parts.scheme not in SOURCES:
        problems.append(node.problem(f"a source is kafka:// or redis://, not {parts.scheme}://."))
        return None
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    *before, name = unquote(parts.path).strip("/").split("/")
    if not name:
        form = "kafka://localhost:9092/payments" if parts.scheme == "kafka" else "redis://localhost:6379/0/payments"
        problems.append(node.problem(f"the address of a source ends with its topic or stream, as in {form}."))
        return None
    if parts.scheme == "kafka":
        options |= {"brokers": parts.netloc, "topics": {"any": name}}
        return _checked(System("kafka", options), KAFKA_SOURCE, node, problems)
    options |= {"url": f"{parts.scheme}://{parts.netloc}/{'/'.join(before) or '0'}", "streams": {"any": name}}
    return _checked(System("redis", options), REDIS_SOURCE, node, problems)


def _checked(system: System, shape: Keys, node: Node, problems: list[Problem]) -> System:
    """The system, its settings looked at by the shape as if they had been written out."""
    found: list[Problem] = []
    tree = yamltext.read(msgspec.json.encode(dict(system.options)).decode(), "", found)
    if tree is not None:
        read_shape(tree, shape, found, "the address")
    problems += [node.problem(one.message, one.hint) for one in found]
    return system


def _store(top: YamlMapping, problems: list[Problem]) -> System | None:
    node, found = top.get("store"), _read(top, "store", STORE, problems)
    if node is None or found is None:
        return None
    options = {"url": found} if isinstance(found, str) else _mapping(found)
    url = str(options.get("url", ""))
    kind = url.partition(":")[0]
    if url.startswith("${"):  # the environment says which
        return System("", options)
    if kind not in STORES:
        problems.append(node.problem(f"a store is {' or '.join(f'{one}://' for one in STORES)}, not {kind}://."))
        return None
    return System(kind, options)


def _lake(top: YamlMapping, problems: list[Problem]) -> System | None:
    found = _read(top, "lake", LAKE, problems)
    if found is None:
        return None
    options = {"to": found} if isinstance(found, str) else _mapping(found)
    scheme, parted, _ = str(options.get("to", "")).partition("://")
    return System(scheme if parted else "folder", options)


def _online(top: YamlMapping, problems: list[Problem]) -> System | None:
    node, found = top.get("online"), _read(top, "online", ONLINE, problems)
    if node is None or found is None:
        return None
    options = {"url": found} if isinstance(found, str) else _mapping(found)
    url = str(options.get("url", ""))
    if (
        mistake := "" if url.startswith("${") else online_mistake(url)
    ):  # what a variable holds is seen when it is opened
        problems.append(node.problem(mistake))
        return None
    return System("redis", options)


def online_mistake(url: str) -> str:
    """What is wrong with the address of online features, in words; nothing where all is well."""
    kind = url.partition(":")[0]
    return "" if kind in ONLINE_IN else f"online features are in redis:// or rediss://, not {kind}://."


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
    node, read = top.get("sinks"), _mapping(_read(top, "sinks", SINKS, problems))
    found = {name: System(*_single(one)) for name, one in read.items() if one}
    for name, system in found.items():
        own = node.get(name) if isinstance(node, YamlMapping) else None
        mistake = route_mistake(system.options) if system.kind == "kafka" else ""
        if own is not None and mistake:
            problems.append(own.problem(mistake))
    return found


def route_mistake(options: Mapping[str, Any]) -> str:
    """What is wrong with how the topic of a Kafka sink is chosen, in words; nothing where all is well."""
    by, topics, only = options.get("by"), options.get("topics"), options.get("topic")
    if bool(only) == bool(topics) or bool(by) != bool(topics):
        return "a Kafka sink has either topic:, or by: with topics:."
    if by == "outcome" and options.get("take") == "flags":
        return "flags have no outcome, so 'by: outcome' chooses nothing. Name a field of the event."
    return ""


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
