"""A draft that overrides a project's files: its rules, features and policies replace those of the same name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from shroff.errors import Problem
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node, Scalar, Sequence, read
from shroff.runtime.values import FrozenStruct, replace

RULES = "rules/"
DRAFT = "draft/"  # no file of a project is called so: its rules stand in no folders


class DraftFile(FrozenStruct):
    """A file of a draft: which of the project's files it is laid over (`features.yaml`, `policy.yaml`, `rules/`).

    `name` is what it is called where it has a mistake.
    """

    over: str
    name: str
    text: str


def laid_over(
    trees: Mapping[str, Node | None], draft: Iterable[DraftFile], problems: list[Problem]
) -> dict[str, Node | None]:
    """The trees of a project's files with those of a draft.

    Features and policies are laid over name by name, and a rule takes the place of that of its id. Each node keeps the
    place where it was written.
    """
    found = dict(trees)
    for file in draft:
        tree = read(file.text, file.name, problems)
        if file.over == "features.yaml":
            found[file.over] = _merged(found.get(file.over), tree, _features)
        elif file.over == "policy.yaml":
            found[file.over] = _merged(found.get(file.over), tree, lambda _, new: new)
        elif isinstance(tree, Sequence):
            ids = {_id(item) for item in tree.items} - {None}
            found |= {name: _without(old, ids) for name, old in found.items() if name.startswith(RULES)}
            found[f"{RULES}{DRAFT}{len(found)}"] = tree
        elif tree is not None:
            tree.report(problems, "a draft's file of rules is a list: '- id: many_payments'.")
    return found


def _features(old: Node, new: Node) -> Node:
    return _merged(old, new, lambda _, feature: feature) or new


def _merged(old: Node | None, new: Node | None, entry: Callable[[Node, Node], Node]) -> Node | None:
    """Merge two mappings; for a key in both, `entry` combines the two values."""
    if not isinstance(old, YamlMapping) or not isinstance(new, YamlMapping):
        return old if new is None else new
    theirs = {key.text: (key, value) for key, value in new.entries}
    entries = [
        (theirs[key.text][0], entry(value, theirs.pop(key.text)[1])) if key.text in theirs else (key, value)
        for key, value in old.entries
    ]
    return replace(old, entries=(*entries, *theirs.values()))


def _without(tree: Node | None, ids: set[str | None]) -> Node | None:
    if not isinstance(tree, Sequence):
        return tree
    return replace(tree, items=tuple(item for item in tree.items if _id(item) not in ids))


def _id(rule: Node) -> str | None:
    found = rule.get("id") if isinstance(rule, YamlMapping) else None
    return found.text if isinstance(found, Scalar) else None
