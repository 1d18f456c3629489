"""Type checker of aggregates: event type, argument, condition and window."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from shroff.errors import nearest
from shroff.language import syntax
from shroff.language.aggregates import AGGREGATES, NTH_LAST_MAX, AggregateRow
from shroff.language.expression import (
    VIA_UP_TO,
    Aggregate,
    ItemFeature,
    Literal,
    Node,
    ThisField,
    Via,
    compares_with_this,
    looks_at_each,
    reads_features,
    walk,
)
from shroff.language.names import Scope
from shroff.language.syntax import Syntax, refuse
from shroff.language.types import Type
from shroff.runtime.values import replace

CheckTree = Callable[[Syntax, Scope, str | None], Node]


def check_aggregate(call: syntax.FunctionCall, scope: Scope, check_tree: CheckTree) -> Aggregate:
    """Type-check one aggregate. Raises: ExpressionError with position and hint."""
    if scope.entity is None:
        refuse(call, f"aggregates stand in features and rules, not in {scope.what}")
    row = AGGREGATES[call.name]
    event = _event_type(call, row, scope)
    argument = None
    if row.takes is not None:
        argument = check_tree(call.arguments[0], scope, event)
        _check_argument(call, row.takes, argument.type)
    condition = check_tree(call.where, replace(scope, is_where=True), event) if call.where is not None else None
    if condition is not None and condition.type.kind not in {"boolean", "missing"}:
        refuse(call.where or call, f"'where' takes true or false, this is {condition.type}")
    modifiers = _modifiers(call, scope, event)
    over = modifiers.get("over")
    delayed = modifiers.get("delayed")
    amount, is_last = (over.amount, over.word == "over last") if over else (None, False)
    aggregate = Aggregate(
        _result_type(row, argument),
        call.name,
        scope.entity,
        event,
        argument,
        condition,
        over_ms=None if is_last else amount,
        last_n=amount if is_last else None,
        delay_ms=delayed.amount if delayed else 0,
        including="including this" in modifiers,
        since_flag="since flag" in modifiers,
        matching=_matched_field(modifiers.get("matching"), scope, event, call),
        rank=_rank(call, scope, check_tree) if row.has_rank else None,
        each_source="of each source" in modifiers,
        via=_via(call, event, scope, check_tree) if call.via is not None else None,
    )
    _check_needs(call, aggregate)
    return aggregate


def _event_type(call: syntax.FunctionCall, row: AggregateRow, scope: Scope) -> str:
    if row.takes is None:
        name, hint = next(iter(call.arguments), call), f"Write {call.name}(payment where …)."
        if len(call.arguments) != 1 or not isinstance(name, syntax.DottedName) or len(name.parts) != 1:
            refuse(name, f"{call.name} takes an event type", hint)
        if row.needs_where and call.where is None:
            refuse(call, f"{call.name} takes a condition", hint)
        _known_event(name, str(name), scope)
        return str(name)
    expected = 2 if row.has_rank else 1
    if len(call.arguments) != expected:
        refuse(call, f"{call.name} takes {expected} argument{'s' if expected > 1 else ''}, not {len(call.arguments)}")
    found: dict[str, syntax.DottedName] = {}
    for name in _names(call.arguments[0]):
        if name.parts[0] == "this":
            refuse(name, "'this' is allowed only in the 'where' of an aggregate")
        if (
            name.parts[0] not in {*scope.names.entities, "lists", "tables", "row"}
            or name.parts[0] in scope.names.events
        ):
            _known_event(name, name.parts[0], scope)
            found.setdefault(name.parts[0], name)
    if len(found) > 1:
        refuse(call.arguments[0], f"an aggregate is over one event type; this one reads {' and '.join(found)}")
    if not found:
        refuse(call.arguments[0], f"{call.name} takes a field of an event type, such as payment.amount")
    return next(iter(found))


def _known_event(name: syntax.DottedName, event: str, scope: Scope) -> None:
    known = {*scope.names.events, "label"}
    if event not in known:
        refuse(name, f"{event!r} is not an event type.", nearest(event, known))


def _names(tree: Syntax) -> Iterator[syntax.DottedName]:
    """Yield the names of an expression; for `feature of event` the event, for a look-up those of its key."""
    if isinstance(tree, syntax.DottedName):
        yield tree
        return
    if isinstance(tree, syntax.Of):
        yield tree.event
        return
    if isinstance(tree, syntax.TableLookup):
        yield from _names(tree.key)
        return
    for part in syntax.parts_of(tree):
        yield from _names(part)


def _check_argument(call: syntax.FunctionCall, takes: frozenset[str], type_: Type) -> None:
    if type_.kind in takes:
        return
    if type_.kind == "real":
        refuse(
            call, f"{call.name} over a real would depend on the order of its additions.", "Declare the field as number."
        )
    refuse(call, f"{call.name} takes {', '.join(sorted(takes))}, not {type_}")


def _result_type(row: AggregateRow, argument: Node | None) -> Type:
    if row.type is None:
        assert argument is not None, "what takes an event type has a type of its own"
        return argument.type
    return row.type


def _rank(call: syntax.FunctionCall, scope: Scope, check_tree: CheckTree) -> tuple[int, int]:
    """Check the second argument; return it as (n, 1), or the share of a quantile as a fraction."""
    second = check_tree(call.arguments[1], scope, None)
    value = int(second.value or 0) if isinstance(second, Literal) and second.type.is_exact else -1
    must_be = f"the second argument of {call.name} is"
    if AGGREGATES[call.name].state == "looks":
        if second.type.kind != "integer" or not 1 <= value <= NTH_LAST_MAX:
            refuse(call.arguments[1], f"{must_be} a whole number from 1 to {NTH_LAST_MAX:,}, written out")
        return value, 1
    if not 0 <= value <= 10**second.type.places:
        refuse(call.arguments[1], f"{must_be} a number from 0 to 1, written out")
    return value, 10**second.type.places


def _modifiers(call: syntax.FunctionCall, scope: Scope, event: str) -> dict[str, syntax.Modifier]:
    by_word: dict[str, syntax.Modifier] = {}
    for modifier in call.modifiers:
        word = "over" if modifier.word == "over last" else modifier.word
        if word in by_word:
            refuse(modifier, f"'{word}' is used twice")
        by_word[word] = modifier
    over = by_word.get("over")
    delayed = by_word.get("delayed")
    is_last = over is not None and over.word == "over last"
    if delayed and is_last:
        refuse(delayed, "'delayed' goes with 'over' a duration, not with 'over last n'")
    if delayed and over is None:
        refuse(delayed, "'delayed' goes with 'over' a duration", "Write over 7d delayed 7d.")
    if call.via is not None:
        _check_window_of_links(call, call.via, by_word)
    elif delayed and "including this" in by_word:
        refuse(delayed, "'including this' does not go with 'delayed', whose window has ended before this event")
    if "of each source" in by_word and event != "label":
        refuse(by_word["of each source"], f"'of each source' is for labels, which have sources; {event} has none")
    if "since flag" in by_word:
        if not scope.since_flag:
            refuse(by_word["since flag"], "'since flag' is for rules, which have flags; a feature has none")
        if is_last or delayed:
            refuse(
                by_word["since flag"],
                "'since flag' goes with 'over' a duration or nothing, not with 'over last' or 'delayed'",
            )
    return by_word


def _check_window_of_links(call: syntax.FunctionCall, via: Syntax, modifiers: dict[str, syntax.Modifier]) -> None:
    for word in ("since flag", "matching"):
        if word in modifiers:
            refuse(modifiers[word], f"'{word}' does not go with 'via'")
    over = modifiers.get("over")
    if over is None or over.word == "over last":
        refuse(over or via, f"'via' in {call.name} needs 'over' a duration", "Write over 30d after the bracket.")


def _via(call: syntax.FunctionCall, event: str, scope: Scope, check_tree: CheckTree) -> Via:
    """Check the link of an aggregate: an expression over its events; for labels, over events of a decided type."""
    assert call.via is not None
    names = [name for name in _names(call.via) if name.parts[0] not in {"this", "lists", "tables"}]
    if not names:
        refuse(call.via, "'via' takes a field of an event type, such as payment.device")
    source = names[0].parts[0]
    _known_event(names[0], source, scope)
    if event not in {"label", source}:
        refuse(names[0], f"'via' takes a field of {event}, whose events are aggregated, not of {source}")
    if event == "label" and source not in scope.names.decided:
        refuse(names[0], f"'via' takes a field of the events that have labels, not of {source}")
    if source not in scope.names.entities.get(scope.entity or "", frozenset()):
        refuse(names[0], f"{source} has no key of {scope.entity}.", f"Add {source} to entities.{scope.entity}.")
    operand = check_tree(call.via, scope, source)
    if any(isinstance(part, ThisField | ItemFeature) for part in walk(operand)):
        refuse(call.via, "'via' reads fields of the linked events, not 'this' and no features")
    return Via(operand.type, source, operand, call.up_to.amount if call.up_to else VIA_UP_TO)


def _matched_field(matching: syntax.Modifier | None, scope: Scope, event: str, call: syntax.FunctionCall) -> str | None:
    names = scope.names
    entity = scope.entity or ""
    if matching is None or matching.name is None:
        keyed = names.entities.get(entity, frozenset())
        if not (keyed & names.decided if event == "label" else event in keyed):
            refuse(
                call,
                f"{event} has no key of {entity}.",
                f"Add {event} to entities.{entity} in events.yaml, or use 'matching'.",
            )
        return None
    if len(matching.name.parts) != 2 or matching.name.parts[0] != event:
        refuse(matching.name, f"'matching' takes a field of {event}, such as {event}.receiver")
    field = matching.name.parts[1]
    fields = names.events.get(event, {})
    if field not in fields:
        refuse(matching.name, names.no_field(str(matching.name), field, (event,)), nearest(field, fields))
    type_ = fields[field]
    key = names.keys.get(entity, type_)
    if type_.hashing != key.hashing:
        refuse(matching.name, f"one of {matching.name} and the key of {entity} is hashed, so they never match.")
    if type_.key_form != key.key_form:
        refuse(matching.name, f"{matching.name} is {type_} and the key of {entity} {key}, so they never match.")
    return field


def _check_needs(call: syntax.FunctionCall, aggregate: Aggregate) -> None:
    if reads_features(aggregate.condition) and (aggregate.since_flag or aggregate.event == "label"):
        what = "a 'since flag' aggregate" if aggregate.since_flag else "an aggregate over labels"
        hint = "Compare with the feature outside the bracket."
        refuse(call.where or call, f"the condition of {what} reads no features of 'this'.", hint)
    if aggregate.over_ms is not None or aggregate.last_n is not None or not looks_at_each(aggregate):
        return
    if AGGREGATES[call.name].scans:
        refuse(call, f"{call.name} looks at each event and so needs a window.", "Write over 30d after the bracket.")
    if not compares_with_this(aggregate):
        return
    refuse(
        call,
        "a condition that compares with 'this' looks at each event and so needs a window.",
        "Write over 30d after the bracket.",
    )
