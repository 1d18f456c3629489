"""Texts of notices: templates in a sandbox, which see the values that they are given and nothing else.

A template comes with shroff (`templates/question.txt.j2`, `notice`, `report`, each with its `.html.j2`), or lies beside
the notices of a project and takes the place of that one. The plain text begins with a line `Subject: …` and an empty
line. HTML shows what it is given as text, and loads nothing: no picture, no style and no font from anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import BaseLoader, Template, TemplateError, TemplateNotFound, TemplateSyntaxError, meta, nodes

from shroff.errors import UsageError, nearest
from shroff.notices.mails import Written
from shroff.notices.sandbox import Sandbox, check_own

FOLDER: Final = "notices/"
ENDINGS: Final = (".txt.j2", ".html.j2")
NO_SUBJECT: Final = "a plain text begins with a line 'Subject: …' and an empty one"
LENGTH_MAX: Final = 256 * 1024  # characters of one text: a mail is read by a person
_SHIPPED: Final = resources.files("shroff.notices").joinpath("templates")
NAMES: Final = frozenset(  # what templates may name; which of them there are goes by what is told
    "amount day facts findings help hours is_held items language link maturity more notice outcomes project sender "
    "show subject title until waiting words zone".split()
)
_SUBJECT: Final = re.compile(r"Subject:[ \t]*([^\r\n]+)\r?\n\r?\n")


class TextError(UsageError):
    """A template cannot give a text: says which, and the line where that is known."""

    def __init__(self, name: str, words: str, line: int = 0) -> None:
        self.name, self.line = name, line
        self.words = words if words.endswith("?") else f"{words.rstrip('.')}."
        super().__init__(f"{name}{f':{line}' if line else ''}: {self.words}")


class Texts:
    """The templates of a project, by the names of files: `notices/customer.de.txt.j2`."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._own = {
            name[len(FOLDER) :]: text for name, text in files.items() if name.startswith(FOLDER) and _is_template(name)
        }
        self._environment = Sandbox(_Loader(self._own))

    @property
    def names(self) -> list[str]:
        """The templates of the project's own, by their names in `notices/`."""
        return sorted(self._own)

    def render(self, names: tuple[str, ...], language: str, values: Mapping[str, Any]) -> Written:
        """What the first template that there is, of these names, makes of some values.

        Where a project has only the plain text, there is no HTML: the words of another text would stand beside it.
        Raises: TextError.
        """
        name, plain = self._found(names, language, ".txt.j2")
        text = self._text(plain, values)
        head = _SUBJECT.match(text)
        if head is None:
            raise TextError(plain, NO_SUBJECT, 1)
        html = ""
        beside = self._named(name, language, ".html.j2")
        if beside and (plain not in self._own or beside in self._own):
            html = self._text(beside, values)
        return Written(head[1].strip(), text[head.end() :], html)

    def check(self) -> list[TextError]:
        """What is wrong with the project's own templates, as far as can be known without values."""
        found = []
        for name in self.names:
            try:
                self._environment.get_template(name)
            except TemplateSyntaxError as error:
                found.append(TextError(f"{FOLDER}{name}", error.message or "it cannot be read", error.lineno))
            except TemplateError as error:
                found.append(TextError(f"{FOLDER}{name}", str(error)))
            else:
                found += self._unknown(name)
        return found

    def _unknown(self, name: str) -> Iterator[TextError]:
        """What a template names that no notice has, and a plain text that says no subject anywhere."""
        text = self._own[name]
        tree = self._environment.parse(text, name)
        unknown = meta.find_undeclared_variables(tree) - NAMES
        for one in sorted(unknown):
            line = min(part.lineno for part in tree.find_all(nodes.Name) if part.name == one)
            words = f"{one!r} is nothing that a notice has. {nearest(one, NAMES)}"
            yield TextError(f"{FOLDER}{name}", words.rstrip(), line)
        if name.endswith(".txt.j2") and "Subject:" not in text and not any(tree.find_all(nodes.Include)):
            yield TextError(f"{FOLDER}{name}", NO_SUBJECT, 1)

    # Below: one template

    def _found(self, names: tuple[str, ...], language: str, ending: str) -> tuple[str, str]:
        for name in names:
            found = self._named(name, language, ending)
            if found:
                return name, found
        raise TextError(f"{FOLDER}{names[0]}{ending}", "there is no such text")

    def _named(self, name: str, language: str, ending: str) -> str:
        """The template of a name for a language, or for all; empty where there is none."""
        own = [one for one in (f"{name}.{language}{ending}", f"{name}{ending}") if one in self._own]
        return own[0] if own else f"{name}{ending}" if _shipped(f"{name}{ending}") is not None else ""

    def _text(self, name: str, values: Mapping[str, Any]) -> str:
        shown = f"{FOLDER}{name}" if name in self._own else name
        try:
            return _limited(self._environment.get_template(name), shown, values)
        except TemplateSyntaxError as error:
            raise TextError(shown, error.message or "it cannot be read", error.lineno) from None
        except TemplateError as error:
            raise TextError(shown, f"{type(error).__name__}: {error}") from None
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise TextError(shown, f"{type(error).__name__}: {error}") from None


def _limited(template: Template, name: str, values: Mapping[str, Any]) -> str:
    parts, length = [], 0
    for part in template.generate(**values):
        parts.append(part)
        length += len(part)
        if length > LENGTH_MAX:
            raise TextError(name, f"it gives more than {LENGTH_MAX:,} characters")
    return "".join(parts)


class _Loader(BaseLoader):
    """The project's own templates, then those that come with shroff. No other file can be named."""

    def __init__(self, own: Mapping[str, str]) -> None:
        self._own = own

    def get_source(self, environment: Any, template: str) -> tuple[str, str | None, Any]:
        text = self._own.get(template)
        if text is not None:
            check_own(environment, template, text)
        if text is None:
            text = _shipped(template)
        if text is None:
            raise TemplateNotFound(template)
        return text, None, lambda: True


@cache
def _shipped(name: str) -> str | None:
    return next((one.read_text("utf-8") for one in _SHIPPED.iterdir() if one.name == name), None)


def _is_template(name: str) -> bool:
    return name.endswith(ENDINGS)
