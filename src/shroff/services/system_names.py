"""Check names in shroff.yaml (event types, entities, fields, outcomes) against the definitions.

Otherwise a wrong name would show up in a source or sink, or never.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from shroff import config
from shroff.errors import Problem, nearest
from shroff.events.definitions import Events
from shroff.events.mapping import LABEL, place_values
from shroff.json_types import JsonMapping, TextMapping
from shroff.language.yaml import text as yamltext
from shroff.project.policy import OUTCOMES
from shroff.project.settings.installed import settings_of
from shroff.project.settings.sources import SKIP, NamedSource
from shroff.project.settings.systems import Systems
from shroff.runtime import environment
from shroff.services.lake.project_lake import lake_mistake

_Found = Iterator[tuple[tuple[str, ...], str, str, Collection[str]]]  # path, name, kind of name, known names
_CURE = (
    "Use a column that identifies the row, such as row.id. row.file and row.number always mean the place of the row:"
    " a column named file or number needs another name, for example by a view."
)


def name_problems(events: Events, systems: Systems, text: str) -> list[Problem]:
    """Return an error at each name in shroff.yaml that the project lacks, and for contradicting lake settings."""
    tree = yamltext.read(text, config.PROJECT_FILE, [])
    mistake = "" if systems.lake is None else lake_mistake(systems.lake.options)
    return [*([_problem(tree, ("lake",), "lake", mistake, "")] if mistake else []), *_unknown(tree, events, systems)]


def unread_mappings(events: Events, systems: Systems) -> list[Problem]:
    """Warn of unused mappings: ids where the message provides the id, and labels that no source brings."""
    own, unread = systems.with_own_types, list[tuple[NamedSource, str]]()
    labels = events.label.mappings.get("json")
    for source in own.values():
        if LABEL in source.events and len(source.events) > 1 and (labels is None or labels.when is None):
            words = "it brings labels beside events, and label.from.json in events.yaml has no 'when'"
            unread.append((source, f"{words}: nothing says which of its messages are labels."))
        if source.contract != "push" or not source.is_id_of_message:
            continue
        for name in sorted({*(source.events or events.types), source.others} & events.types.keys()):
            id_field, mapping = events.types[name].id_field, events.types[name].mappings.get("json")
            if mapping is not None and mapping.each is None and id_field in mapping.fields:
                words = f"{name}.from.json.{id_field} in events.yaml is not used: the id of a message is the id of its"
                cure = f"event, and labels have to name that. Add 'id: row' to sources.{source.name} to use it."
                unread.append((source, f"{words} {cure}"))
    is_read = any(LABEL in source.events for source in own.values())
    if labels is not None and own and not is_read and len(systems.all_read) == len(systems.read.keys() & own):
        words = "label.from.json in events.yaml is read from files only, by no source"
        unread.append((next(iter(own.values())), f"{words}. Add label to 'events' of the source that brings labels."))
    return [Problem(config.PROJECT_FILE, 0, 0, ".".join(source.place), words) for source, words in unread]


def variables_not_set(files: TextMapping) -> dict[str, Problem]:
    """Map each unset environment variable that settings or notices use to a warning."""
    by_variable: dict[str, Problem] = {}
    for name in sorted(files):
        is_read = name == config.PROJECT_FILE or (name.startswith("notices/") and name.endswith(".yaml"))
        if not is_read or "${" not in files[name]:
            continue
        for scalar in _scalars(yamltext.read(files[name], name, [])):
            for variable in environment.missing_variables(scalar.text):
                words = f"the variable {variable} of the environment is not set."
                by_variable.setdefault(variable, scalar.problem(words, "Set it where shroff runs."))
    return by_variable


def _scalars(node: yamltext.Node | None) -> Iterator[yamltext.Scalar]:
    match node:
        case yamltext.Scalar():
            yield node
        case yamltext.Sequence(items=items):
            for item in items:
                yield from _scalars(item)
        case yamltext.Mapping(entries=entries):
            for _, value in entries:
                yield from _scalars(value)


def id_problems(events: Events, systems: Systems, text: str) -> list[Problem]:
    """Return an error for each id in events.yaml that would change when its source delivers the row again."""
    names, types = list[tuple[tuple[str, ...], str, str, str]](), {**events.types, LABEL: events.label}
    for source in systems.with_own_types.values():
        changing, reason = _changing(source)
        fed = {*(source.events or events.types), source.others} & types.keys() if changing else ()
        for name in sorted(fed):
            field = "event" if name == LABEL else types[name].id_field
            if read := [place_value for place_value in place_values(types[name], field) if place_value in changing]:
                mistake = f"{' and '.join(read)} in an id: {reason}."
                names.append(((name, "from", "json", field), source.name, mistake, _cures(source, name)))
    tree = yamltext.read(text, "events.yaml", []) if names else None
    return [_problem(tree, *problem) for problem in names]


def _cures(source: NamedSource, event: str) -> str:
    return _CURE if source.events else f"{_CURE} If the source has no {event} events, list its types in its `events:`."


def _changing(source: NamedSource) -> tuple[Collection[str], str]:
    """Return the values that an id from this source must not contain, and the reason."""
    if source.contract == "push" and not source.is_id_of_message:
        return ("row.number",), f"messages of the source '{source.name}' have no number"
    if source.contract == "pull" and settings_of("pull", source.system.kind).moves_rows:
        words = f"a row of the source '{source.name}' may have another file and number when it is read again"
        return ("row.file", "row.number"), f"{words}, and would then be ingested twice"
    return (), ""


def _unknown(tree: yamltext.Node | None, events: Events, systems: Systems) -> list[Problem]:
    return [
        _problem(
            tree, path, name, f"{name!r} is {what}.", nearest(name, known) or f"There is {', '.join(sorted(known))}."
        )
        for path, name, what, known in _names(events, systems)
        if name not in known
    ]


def _names(events: Events, systems: Systems) -> _Found:
    types = {*events.types, LABEL}
    for path, system in systems.all_read:
        setting = settings_of("source", system.kind).types
        for name in _mapping(system.options.get(setting)):
            yield (*path, setting, name), name, "not an event type", {*types, "any"}
    for type_ in systems.with_own_types.values():
        for at, event in enumerate(type_.events):
            yield (*type_.place, "events", str(at)), event, "not an event type", types
        yield (*type_.place, "others"), type_.others, "not an event type", {*events.types, SKIP, "quarantine"}
    if systems.online is not None:
        for at, name in enumerate(systems.online.options.get("entities", [])):
            yield ("online", "entities", str(at)), name, "not an entity", set(events.entities)
    if systems.lake is not None:
        for folder, document_events in _mapping(systems.lake.options.get("documents")).items():
            from shroff.lake.documents import ALL

            known = {*events.types, *ALL}
            yield (
                ("lake", "documents", folder, "of"),
                document_events["of"],
                "neither a kind of documents nor an event type",
                known,
            )
    if systems.scheme_programmes is not None:
        fields = {field for name in events.decided for field in events.types[name].countable}
        for name in systems.scheme_programmes.fields:
            yield ("scheme_programmes",), name, "not a field by which decided events are counted", fields
    for sink, system in systems.sinks.items():
        if (route := settings_of("sink", system.kind).route) is not None:
            yield from _routes(events, ("sinks", sink, system.kind), system.options, route)


def _routes(events: Events, path: tuple[str, ...], options: JsonMapping, route: tuple[str, str]) -> _Found:
    """Yield the names by which a sink chooses its topic: the outcome, or a field and its values."""
    by = options.get(route[0])
    if not isinstance(by, str):
        return
    fields = {field.name: field.type for type_ in events.types.values() for field in type_.fields}
    yield (*path, route[0]), by, "neither outcome nor a field of an event", {"outcome", *fields}
    values: tuple[str, ...] = OUTCOMES if by == "outcome" else ()
    if by in fields and sum(by in type_.field_names for type_ in events.types.values()) == 1 and not fields[by].is_open:
        values = fields[by].choices
    for name in _mapping(options.get(route[1])) if values else ():
        yield (*path, route[1], name), name, f"not a value of {by}", {*values, "else"}


def _mapping(value: object) -> JsonMapping:
    return value if isinstance(value, Mapping) else {}


def _problem(tree: yamltext.Node | None, path: tuple[str, ...], name: str, message: str, hint: str) -> Problem:
    """Place a problem at a key or value, or at the closest node above that the text has."""
    at: yamltext.Node | None = tree
    for step in path:
        inner: yamltext.Node | None = None
        if isinstance(at, yamltext.Mapping):
            is_key = step is path[-1] and step == name
            inner = next((key if is_key else value for key, value in at.entries if key.text == step), None)
        elif isinstance(at, yamltext.Sequence) and step.isdigit():
            inner = at.items[int(step)]
        if inner is None:  # a URL holds all settings in one text
            break
        at = inner
    return Problem(config.PROJECT_FILE, 1, 1, "", message, hint) if at is None else at.problem(message, hint)
