"""Overlay a project's files with a draft, whose rules, features and policies replace those of the same name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from shroff.errors import Problem
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node, Scalar, Sequence, read
from shroff.runtime.values import FrozenStruct, replace

RULES = "rules/"
DRAFT = "draft/"  # folder name that no rule file of a project has


class DraftFile(FrozenStruct):
    """A file of a draft. `over` is the file that it overlays: `features.yaml`, `policy.yaml` or `rules/`.

    `name` is the file's name in problems.
    """

    over: str
    name: str
    text: str


def laid_over(
    trees: Mapping[str, Node | None], draft: Iterable[DraftFile], problems: list[Problem]
) -> dict[str, Node | None]:
    """Return the trees of a project's files overlaid with those of a draft.

    Features and policies are replaced by name, rules by id. Each node keeps its position in its own file.
    """
    result = dict(trees)
    for file in draft:
        tree = read(file.text, file.name, problems)
        if file.over == "features.yaml":
            result[file.over] = _merged(result.get(file.over), tree, _features)
        elif file.over == "policy.yaml":
            result[file.over] = _merged(result.get(file.over), tree, lambda _, new: new)
        elif isinstance(tree, Sequence):
            ids = {_id(item) for item in tree.items} - {None}
            result |= {name: _without(old, ids) for name, old in result.items() if name.startswith(RULES)}
            result[f"{RULES}{DRAFT}{len(result)}"] = tree
        elif tree is not None:
            tree.report(problems, "a draft's file of rules is a list: '- id: many_payments'.")
    return result


def _features(old: Node, new: Node) -> Node:
    return _merged(old, new, lambda _, feature: feature) or new


def _merged(old: Node | None, new: Node | None, entry: Callable[[Node, Node], Node]) -> Node | None:
    """Merge two mappings; for a key in both, `entry` combines the two values."""
    if not isinstance(old, YamlMapping) or not isinstance(new, YamlMapping):
        return old if new is None else new
    new_entries = {key.text: (key, value) for key, value in new.entries}
    entries = [
        (new_entries[key.text][0], entry(value, new_entries.pop(key.text)[1]))
        if key.text in new_entries
        else (key, value)
        for key, value in old.entries
    ]
    return replace(old, entries=(*entries, *new_entries.values()))


def _without(tree: Node | None, ids: set[str | None]) -> Node | None:
    if not isinstance(tree, Sequence):
        return tree
    return replace(tree, items=tuple(item for item in tree.items if _id(item) not in ids))


def _id(rule: Node) -> str | None:
    id_node = rule.get("id") if isinstance(rule, YamlMapping) else None
    return id_node.text if isinstance(id_node, Scalar) else None
