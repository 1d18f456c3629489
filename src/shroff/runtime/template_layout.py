"""Layout of templates: lines indented below a tag or statement stand inside it, and line breaks are blanks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, TemplateSyntaxError

_TAGS = (
    "aside|button|caption|dd|details|dialog|div|dl|dt|fieldset|figcaption|figure|footer|form|g|h1|h2|h3|header|label|"
    "legend|li|nav|noscript|ol|p|section|select|summary|svg|table|tbody|td|tfoot|th|thead|tr|ul"
)
_TOKEN = re.compile(
    r"\{#.*?#\}|\{\{.*?\}\}"
    r"|\{%-?\s*(?:end(?P<ended>\w+)|(?P<begun>block|call|filter|for|if|macro|set(?=\s+\w+\s*-?%\})|with)\b)?.*?%\}"
    rf"|<(?P<slash>/)?(?P<tag>{_TAGS})(?![\w-])(?:\{{[{{%].*?[}}%]\}}|[^<>{{]|\{{(?![{{%]))*>"
    r"|</?[a-z](?:\{[{%].*?[}%]\}|[^<>{]|\{(?![{%]))*>",
    re.DOTALL,
)
# Line breaks around a tag that does not stand in a line of text, and within the edges of one that does.
_BREAKS = re.compile(
    r"\n*</?(?!(?:a|b|br|button|code|del|i|iframe|input|ins|kbd|label|output|pre|progress|select|small|span|svg|"
    r"textarea)\b)[a-z][^>]*>\n*|\n+</[a-z]+>|<(?!br|input)[a-z][^>]*>\n+"
)
_OTHER_BREAKS = re.compile(
    r"(\{%.*?%\}\n?|\{#.*?#\}\n?|\{\{.*?\}\})"
    r"|\n((?:\{%-|\{% (?:el|end(?!block))).*?%\}\n?|\{\{-.*?\}\}|\{% if [^%]*%\}(?= ))?",
    re.DOTALL,
)


class LayoutLoader(PackageLoader):
    """Loader of a package's templates. In those of HTML indentation ends elements."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool] | None]:
        source, path, is_current = super().get_source(environment, template)
        if template.endswith(".html"):
            source = closed(source, template)
        return source, path, is_current


class _Open(NamedTuple):
    """A tag or statement without its end so far; with `is_indented` the indentation of later lines ends it."""

    name: str
    end: str
    indent: int
    is_indented: bool


def closed(source: str, name: str | None = None) -> str:
    r"""Write the ends of tags and statements that the indentation of their lines tells.

    A tag or statement at the end of its line, such as `<ul>` or `{% for … %}`, holds the lines that are indented below
    it. Its end may be written, and must be for elements in a line of text, such as `<span>`. A `{% block %}` without
    its end holds the rest of the template.

    Raises: TemplateSyntaxError if an end has no beginning.

    >>> closed("<ul>\n  {% for text in texts %}\n    <li>{{ text }}</li>\n")
    '<ul>\n  {% for text in texts %}\n    <li>{{ text }}</li>{% endfor %}</ul>\n'
    """
    lines = list[str]()
    opened = list[_Open]()
    number = 1
    for line in _lines(source):
        text = line.strip()
        if text:
            indent = len(line) - len(line.lstrip(" "))
            while opened and opened[-1].is_indented and opened[-1].indent >= indent and not _goes_on(opened[-1], line):
                _append_to_last_line(lines, opened.pop().end)
            try:
                _follow(line, indent, opened)
            except ValueError as error:
                raise TemplateSyntaxError(str(error), number, name) from None
        lines.append(line)
        number += line.count("\n")
    for last in reversed(opened):
        if last.is_indented or last.name == "block":
            _append_to_last_line(lines, last.end)
    return "".join(lines)


def _lines(source: str) -> Iterator[str]:
    """Yield lines with their line breaks. A tag or statement over several lines is one."""
    inside = {position for token in _TOKEN.finditer(source) for position in range(*token.span())}
    start = 0
    for position, character in enumerate(source):
        if character == "\n" and position not in inside:
            yield source[start : position + 1]
            start = position + 1
    yield source[start:]


def _goes_on(last: _Open, line: str) -> bool:
    """Whether a line with the indentation of `last` is its own end, or another branch of it."""
    if len(line) - len(line.lstrip(" ")) < last.indent:
        return False
    word = re.match(r"\s*(?:\{%-?\s*|</)(\w+)", line)
    name = "" if word is None else word[1]
    if name in ("else", "elif"):
        return last.name in ("for", "if")
    return name == f"end{last.name}" or re.match(rf"\s*</{last.name}\b", line) is not None


def _append_to_last_line(lines: list[str], end: str) -> None:
    index = max(index for index, line in enumerate(lines) if line.strip())
    bare = lines[index].rstrip()
    lines[index] = f"{bare}{end}{lines[index][len(bare) :]}"


def _follow(line: str, indent: int, opened: list[_Open]) -> None:
    """Open and end what a line opens and ends. Raises: ValueError if an end has no beginning."""
    for token in _TOKEN.finditer(line):
        begun = token["begun"] or (token["tag"] if not token["slash"] else None)
        ended = token["ended"] or (token["tag"] if token["slash"] else None)
        if begun and not token[0].endswith("/>"):
            is_last = not line[token.end() :].strip()
            end = f"{{% end{begun} %}}" if token["begun"] else f"</{begun}>"
            opened.append(_Open(begun, end, indent, is_last and begun != "block"))
        elif ended:
            if not opened or opened[-1].name != ended:
                raise ValueError(
                    f"expected the end of {opened[-1].name if opened else 'nothing'}, found that of {ended}"
                )
            opened.pop()


def without_layout(source: str) -> str:
    """Return a template whose line breaks are blanks, or nothing beside a tag that starts a line of its own.

    Before the end of a statement, such as `else` or `endif`, a line break is nothing. They stand in comments, so that
    messages of Jinja name the lines of the file.
    """

    def tag_alone(found: re.Match[str]) -> str:
        before, tag, after = re.split(r"(<[^\0]*>)", found[0])
        return "\0" * len(before) + tag + "\0" * len(after)

    source = _BREAKS.sub(tag_alone, re.sub(r"\n[ \t]+", "\n", source))
    source = _OTHER_BREAKS.sub(lambda found: found[1] or ("\0" + found[2] if found[2] else " \0"), source)
    return source.replace("\0", "{#\n#}")
