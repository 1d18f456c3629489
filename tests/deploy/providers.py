"""Arguments of Terraform's resources as the providers have them, read from their bindings for Python.

The providers themselves cannot be had where tests run. Their bindings (cdktf) are generated from the same schemas: a
package for each resource, and a class for each block, whose arguments have the names of the provider.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.deploy import hcl

META = {"for_each", "count", "depends_on", "lifecycle", "provider"}  # of Terraform itself
OURS = {"scope", "id_", "connection", "provisioners"}  # of the bindings
Classes = dict[str, dict[str, tuple[bool, str]]]  # arguments: whether it must be given, and its type


def unknown(main: hcl.Module, site: Path) -> Iterator[str]:
    """Arguments and blocks that the provider does not know, and those that it needs and that are not given."""
    for (kind, name), body in main.resources.items():
        cloud, _, rest = kind.removeprefix("data.").partition("_")
        package = (
            site / f"cdktf_cdktf_provider_{cloud}" / (f"data_{cloud}_{rest}" if kind.startswith("data.") else rest)
        )
        if kind.startswith("ephemeral.") or cloud not in {"aws", "google"}:
            continue
        if not package.is_dir():
            yield f"{kind}.{name}: the provider has no such resource"
            continue
        known = _classes(package / "__init__.py")
        configs = [
            resource for resource, arguments in known.items() if resource.endswith("Config") and "for_each" in arguments
        ]
        config = max(configs, key=len)  # a resource can be called Config itself
        yield from _body(known, config, body, f"{kind}.{name}")


@functools.cache
def _classes(path: Path) -> Classes:
    found: Classes = {}
    for item in ast.parse(path.read_text(encoding="utf-8")).body:
        for function in item.body if isinstance(item, ast.ClassDef) else ():
            if isinstance(function, ast.FunctionDef) and function.name == "__init__" and isinstance(item, ast.ClassDef):
                given = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
                found[item.name] = {
                    each.arg: (default is None, ast.unparse(each.annotation) if each.annotation else "")
                    for each, default in given
                }
    return found


def _body(known: Classes, name: str, body: dict[str, Any], place: str) -> Iterator[str]:
    arguments = known[name]
    given = {key for key in body if key not in META | {"dynamic"}}
    blocks = [(key, body[key]) for key in sorted(given)]
    for item in body.get("dynamic", ()):
        for key, dynamic in item.items():
            given.add(key)
            blocks.append((key, dynamic["content"]))
    for key, value in blocks:
        at = key if key in arguments else f"{key}_"  # names that Python has for itself
        if at not in arguments:
            yield f"{place}: the provider does not know {key}"
            continue
        inner = [text for text in re.findall(r"[A-Z]\w+", arguments[at][1]) if text in known]
        for item in value if isinstance(value, list) and inner else ():
            if isinstance(item, dict):
                yield from _body(known, inner[0], item, f"{place}.{key}")
    for key, (is_needed, _) in arguments.items():
        if is_needed and key.rstrip("_") not in given and key not in given | OURS:
            yield f"{place}: the provider needs {key}"
