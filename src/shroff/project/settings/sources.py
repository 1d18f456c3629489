"""Parse the sources of shroff.yaml: read continuously (`source`), pushed by senders (`push`), or pulled (`pull`)."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from msgspec.json import encode as to_json

from shroff.errors import Problem, UsageError
from shroff.json_types import JsonMapping
from shroff.language.shapes import read_shape
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node
from shroff.project.settings.installed import first_schemes, kind_at, kinds, settings_of
from shroff.project.settings.location_keys import NAMED_SOURCE_KEYS
from shroff.project.settings.system import System, look_for_mistakes, mapping_of, names_of, registry_mistake
from shroff.project.settings.systems_keys import kind_shape, source, sources
from shroff.runtime import environment
from shroff.runtime.values import FrozenStruct

SKIP = "skip"
_BESIDE = frozenset(key.name for key in NAMED_SOURCE_KEYS)  # keys other than the kind


class NamedSource(FrozenStruct):
    """A source with its name.

    Attributes:
        events: Event types of its messages; empty for all.
        others: What happens to other messages: `skip`, `quarantine`, or the event type that they get.
        is_id_of_message: Whether the sender's message id becomes the event's id.
        place: Path of keys in shroff.yaml.
    """

    name: str
    system: System
    events: tuple[str, ...] = ()
    others: str = SKIP
    is_id_of_message: bool = True
    place: tuple[str, ...] = ("source",)

    @property
    def contract(self) -> str:
        """Contract of the source's adapter: `push`, `pull` or `source`."""
        kind = self.system.kind
        return next((name for name in ("push", "pull") if kind in kinds(name, [kind])), "source")

    @property
    def has_own_types(self) -> bool:
        """Whether the source's settings name event types, and not only its topics."""
        return bool(self.events) or self.others != SKIP or self.contract != "source"


def read_sources(top: YamlMapping, problems: list[Problem]) -> tuple[System | None, dict[str, NamedSource]]:
    """Return the first source of the contract `source`, and all sources with a name.

    The single `source` of the file is among the latter, by its kind, if its settings name event types.
    """
    single = _single(top, problems)
    named = _named(top, problems)
    read_by_name = {name: source for name, source in named.items() if source.contract == "source"}
    node = top.get("sources")
    systems = [source.system for source in ([single] if single else []) + [*read_by_name.values()]]
    if node is not None and single is not None and single.name in read_by_name:
        node.report(problems, f"'source:' has the name {single.name} beside others. Give this one another.")
    if single is not None and single.has_own_types:
        named = {single.name: single, **named}
    return next(iter(systems), None), named


def _single(top: YamlMapping, problems: list[Problem]) -> NamedSource | None:
    node = top.get("source")
    options = None if node is None else read_shape(node, source(names_of(node) - _BESIDE), problems, "source")
    if node is None or not options:
        return None
    if not isinstance(options, str):
        return _source("", mapping_of(options), node, problems)
    system = source_of(options, node, problems)
    return None if system is None else NamedSource(system.kind, system)


def _named(top: YamlMapping, problems: list[Problem]) -> dict[str, NamedSource]:
    node = top.get("sources")
    entries = node.entries if isinstance(node, YamlMapping) else ()
    options = mapping_of(None)
    if node is not None:
        written = frozenset(name for _, entry in entries for name in names_of(entry)) - _BESIDE
        options = mapping_of(read_shape(node, sources(written), problems, "sources"))
    sources_ = {
        key.text: _source(key.text, mapping_of(options.get(key.text)), entry, problems) for key, entry in entries
    }
    return {name: named for name, named in sources_.items() if named is not None}


def _source(name: str, options: JsonMapping, node: Node, problems: list[Problem]) -> NamedSource | None:
    kind, *more = [key for key in options if key not in _BESIDE] or [""]
    if options and (more or not kind):
        kinds_text = " and ".join([kind, *more]) or "none"
        node.report(problems, f"a source has exactly one kind, and this has {kinds_text}.")
    if more or not kind:
        return None
    system = System(kind, mapping_of(options[kind]))
    parsed = NamedSource(
        name or kind,
        system,
        tuple(options.get("events", ())),
        options.get("others", SKIP),
        options.get("id", "message") == "message",
        ("sources", name) if name else ("source",),
    )
    look_for_mistakes(parsed.contract, system, node, problems)
    taken = _BESIDE if parsed.contract == "push" else {"events", "others"}
    beside = [key.name for key in NAMED_SOURCE_KEYS if key.name in options and key.name not in taken]
    if beside:
        node.report(problems, f"{' and '.join(beside)}: not a setting of a source of the kind {kind}.")
    mistake = registry_mistake(system.registry)
    if mistake:
        node.report(problems, mistake)
    return parsed


def source_of(url: str, node: Node, problems: list[Problem]) -> System | None:
    """Parse the address of a source, such as `kafka://HOST:PORT[,HOST:PORT]/TOPIC`; None after reporting an error.

    The query has settings: `?format=avro&registry=http://localhost:8081`. An address that is an environment variable
    (`${SOURCE}`) is read now, since it tells the kind of the source.
    """
    if url.startswith("${"):
        missing = environment.missing_variables(url)
        if missing:
            message = f"the address of the source is in ${{{missing[0]}}}, and that variable is not set."
            hint = "Set it, or name the kind here, as in source: { kafka: { brokers: '${BROKERS}', topics: ... } }."
            node.report(problems, message, hint)
            return None
        url = environment.fill_variables(url, "source")
    parts = urlsplit(url)
    try:
        kind = kind_at("source", parts.scheme)
        declared = settings_of("source", kind) if kind else None
        if declared is None or declared.from_address is None:
            node.report(problems, f"a source is {first_schemes('source')}, not {parts.scheme}://.")
            return None
        options = {**dict(parse_qsl(parts.query)), **declared.from_address(parts)}
    except (UsageError, ValueError) as error:
        node.report(problems, str(error))
        return None
    system = System(kind, options)
    found: list[Problem] = []
    tree = yamltext.read(to_json(options).decode(), "", found)
    if tree is not None:
        read_shape(tree, kind_shape("source", kind), found, "the address")  # the same checks as for written settings
    problems += [node.problem(problem.message, problem.hint) for problem in found]
    return system
