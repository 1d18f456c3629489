"""Change thresholds, costs or experiments in the text of policy.yaml; all other text stays as written."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from typing import Any

from shroff.errors import DefinitionError, Problem, UsageError
from shroff.json_types import TextDict
from shroff.language.yaml.nodes import plain_of
from shroff.language.yaml.text import Mapping, Node, Scalar, read
from shroff.rules.keys import EXPERIMENT
from shroff.runtime.values import FrozenStruct

POLICY = "policy.yaml"
SCORE = "score"
COSTS = "costs"
CUTS = ("review_at", "decline_at")
INDENT = "  "

_LINE_END = re.compile(r"\r\n|\r|\n")
_COMMA = re.compile(r"[ \t]*,[ \t]*")
_DOCUMENT_END = re.compile(r"^\.\.\.", re.MULTILINE)


class _Replacement(FrozenStruct):
    """A replacement text for [start, end)."""

    start: int
    end: int
    text: str


def with_cutoffs(text: str, event: str, review_at: float | None, decline_at: float | None) -> str:
    r"""Return the text of policy.yaml with other thresholds of an event type.

    If `score` has the same thresholds, only their numbers change; otherwise it is rewritten in its style, or inserted
    at the start of the policy. Without any threshold `score` is removed, and rules alone decide.

    Raises: DefinitionError if the text is not YAML; UsageError, which says what to write by hand, if the text has a
        form in which something else would change too.

    >>> with_cutoffs("payment:\n  score: {review_at: 0.6} # by ann\n", "payment", 0.25, None)
    'payment:\n  score: {review_at: 0.25} # by ann\n'
    """
    cuts = {name: _number(cut) for name, cut in zip(CUTS, (review_at, decline_at), strict=True) if cut is not None}
    cure = f"Write it by hand: {SCORE}: {_flow(cuts)}" if cuts else f"Remove {SCORE} by hand"
    return _changed(
        text,
        lambda written, node: _edits(written, node, event, cuts),
        lambda meaning: _wanted(meaning, event, cuts),
        f"for {event}. {cure}",
    )


def with_costs(text: str, event: str, costs: MappingOf[str, str]) -> str:
    r"""Return the text of policy.yaml with other costs of an event type that has costs.

    Raises: DefinitionError and UsageError as `with_cutoffs`.

    >>> with_costs("payment:\n  costs: { review: 4 } # each\n", "payment", {"review": "10"})
    'payment:\n  costs: { review: 10 } # each\n'
    """

    def edits(written: _Written, node: Node | None) -> list[_Replacement]:
        mapping = _costs(node, event)
        nodes = dict(zip(mapping.keys(), (value for _, value in mapping.entries), strict=True))
        changed = [
            _Replacement(written.start(nodes[cost]), written.end(nodes[cost]), costs[cost])
            for cost in costs
            if cost in nodes
        ]
        new = [f"{cost}: {costs[cost]}" for cost in costs if cost not in nodes]
        return [*changed, *(_in_front(written, mapping, entry) for entry in new)]

    def wanted(meaning: Any) -> Any:
        policy = meaning[event]
        return {**meaning, event: {**policy, COSTS: {**policy[COSTS], **costs}}}

    return _changed(text, edits, wanted, f"for {event}. Write its {COSTS} by hand") if costs else text


def without_experiment(text: str, event: str) -> str:
    r"""Return the text of policy.yaml without the experiment of an event type that has one.

    Raises: DefinitionError and UsageError as `with_cutoffs`.

    >>> without_experiment("payment:\n  score: {review_at: 0.6}\n  experiment: {}\n", "payment")
    'payment:\n  score: {review_at: 0.6}\n'
    """
    return _changed(
        text,
        lambda written, node: [_without(written, _mapping(_mapping(node, "it").get(event), event), EXPERIMENT)],
        lambda meaning: {**meaning, event: {key: meaning[event][key] for key in meaning[event] if key != EXPERIMENT}},
        f"for {event}. Remove {EXPERIMENT} by hand",
    )


def costs_of(text: str, event: str) -> TextDict:
    costs = plain_of(_costs(_node(text), event))
    return {name: str(value) for name, value in costs.items()}


def _costs(node: Node | None, event: str) -> Mapping:
    policy = _mapping(node, "it").get(event) if node is not None else None
    costs = None if policy is None else _mapping(policy, event).get(COSTS)
    if costs is None:
        raise UsageError(f"{POLICY} has no {COSTS} of {event}.")
    return _mapping(costs, COSTS)


def _changed(
    text: str, edits: Callable[[_Written, Node | None], list[_Replacement]], wanted: Callable[[Any], Any], cure: str
) -> str:
    """Apply edits. Raises: UsageError if the result does not parse to exactly what `wanted` returns."""
    node = _node(text)
    changed = text
    for edit in sorted(edits(_Written(text), node), key=lambda edit: edit.start, reverse=True):
        changed = changed[: edit.start] + edit.text + changed[edit.end :]
    problems: list[Problem] = []
    before, after = ({} if tree is None else plain_of(tree) for tree in (node, read(changed, POLICY, problems)))
    if after != wanted(before) or problems:
        raise UsageError(f"{POLICY} is written in a way that cannot be changed here {cure}.")
    return changed


def _node(text: str) -> Node | None:
    problems: list[Problem] = []
    node = read(text, POLICY, problems)
    if problems:
        raise DefinitionError(problems)
    return node


class _Written:
    """A text, and the positions of its nodes. Line ends and a byte order mark stay as they are."""

    __slots__ = ("line_end", "starts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [1 if text.startswith("\ufeff") else 0, *(match.end() for match in _LINE_END.finditer(text))]
        first = _LINE_END.search(text)
        self.line_end = first[0] if first else "\n"

    def start(self, node: Node) -> int:
        return self._index(node.line, node.column)

    def end(self, node: Node) -> int:
        raw = node.source
        if isinstance(node, Mapping) and node.entries and not raw:
            return self.end(node.entries[-1][1])
        lines = raw.count("\n")
        return self._index(node.line + lines, len(raw) - raw.rfind("\n") if lines else node.column + len(raw))

    def line_of(self, node: Node) -> tuple[int, int]:
        """Return [start, end) of the lines of a node."""
        end = next((start for start in self.starts if start > self.end(node)), len(self.text))
        return self.starts[node.line - 1], end

    def _index(self, line: int, column: int) -> int:
        return self.starts[line - 1] + column - 1


def _edits(written: _Written, node: Node | None, event: str, cuts: MappingOf[str, str]) -> list[_Replacement]:
    score = f"{SCORE}: {_flow(cuts)}"
    if node is None:
        return [_appended(written, 0, event, score)] if cuts else []
    top = _mapping(node, "it")
    policy = top.get(event)
    if policy is None:
        return [_new_policy(written, top, event, score)] if cuts else []
    policy = _mapping(policy, event)
    now = policy.get(SCORE)
    if now is None:
        return [_in_front(written, policy, score)] if cuts else []
    return _changed_score(written, _mapping(now, SCORE), cuts) if cuts else [_without(written, policy, SCORE)]


def _changed_score(written: _Written, score: Mapping, cuts: MappingOf[str, str]) -> list[_Replacement]:
    if set(score.keys()) == cuts.keys():
        return [
            _Replacement(written.start(value), written.end(value), cuts[name.text]) for name, value in score.entries
        ]
    if score.source:
        return [_Replacement(written.start(score), written.end(score), _flow(cuts))]
    between = written.line_end + " " * (score.column - 1)
    lines = between.join(f"{name}: {cut}" for name, cut in cuts.items())
    return [_Replacement(written.start(score), written.end(score), lines)]


def _in_front(written: _Written, mapping: Mapping, entry: str) -> _Replacement:
    start = written.start(mapping)
    if not mapping.source:
        return _Replacement(start, start, f"{entry}{written.line_end}{' ' * (mapping.column - 1)}")
    if not mapping.entries:
        return _Replacement(start, written.end(mapping), f"{{ {entry} }}")
    is_apart = written.text[start + 1].isspace()
    return _Replacement(start + 1, start + 1, f" {entry}," if is_apart else f"{entry}, ")


def _new_policy(written: _Written, top: Mapping, event: str, score: str) -> _Replacement:
    if top.source:
        return _in_front(written, top, f"{event}: {{ {score} }}")
    if _DOCUMENT_END.search(written.text):  # text after it would be another document
        inner = " " * (top.column - 1) + INDENT
        return _in_front(written, top, f"{event}:{written.line_end}{inner}{score}")
    return _appended(written, top.column - 1, event, score)


def _appended(written: _Written, indent: int, event: str, score: str) -> _Replacement:
    end = written.line_end
    outer = " " * indent
    is_apart = written.starts[-1] == len(written.text)
    text = f"{'' if is_apart else end}{outer}{event}:{end}{outer}{INDENT}{score}{end}"
    return _Replacement(len(written.text), len(written.text), text)


def _without(written: _Written, policy: Mapping, key: str) -> _Replacement:
    """Remove a key from a policy, with its lines if it has its own."""
    index = policy.keys().index(key)
    name, value = policy.entries[index]
    start = written.start(name)
    end = written.end(value)
    if len(policy.entries) == 1:
        return _Replacement(written.start(policy), written.end(policy), "{}")
    if not policy.source:
        first = written.line_of(name)[0]
        next_line = written.line_of(value)[1]
        return _Replacement(first, next_line, "")
    comma = _COMMA.match(written.text, end)
    if comma is not None:
        return _Replacement(start, comma.end(), "")
    if index + 1 < len(policy.entries):
        return _Replacement(start, written.start(policy.entries[index + 1][0]), "")
    before = written.end(policy.entries[index - 1][1])
    return _Replacement(before if _COMMA.fullmatch(written.text, before, start) else start, end, "")


def _mapping(node: Node | None, what: str) -> Mapping:
    if not isinstance(node, Mapping):
        raise UsageError(f"{POLICY}: {what} is not a mapping of names to values.")
    return node


def _wanted(meaning: Any, event: str, cuts: MappingOf[str, str]) -> Any:
    if not cuts and event not in meaning:
        return meaning
    policy = {name: value for name, value in meaning.get(event, {}).items() if name != SCORE}
    return {**meaning, event: {**policy, SCORE: dict(cuts)} if cuts else policy}


def _flow(cuts: MappingOf[str, str]) -> str:
    return f"{{ {', '.join(f'{name}: {cut}' for name, cut in cuts.items())} }}"


def _number(cut: float) -> str:
    text = f"{cut:.6f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def experiment_names(text: str) -> frozenset[str]:
    """Return the names of the experiments in the text of a policy.yaml, which may be empty."""
    if EXPERIMENT not in text:
        return frozenset()
    tree = read(text, POLICY, [])
    if not isinstance(tree, Mapping):
        return frozenset()
    experiments = [of_type.get(EXPERIMENT) for _, of_type in tree.entries if isinstance(of_type, Mapping)]
    names = [node.get("name") for node in experiments if isinstance(node, Mapping)]
    return frozenset(name.text for name in names if isinstance(name, Scalar))
