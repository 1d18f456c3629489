"""Texts of notices: sandboxed templates, which see only the passed values.

Templates come with shroff (`templates/question.txt.j2`, `notice`, `report`, each with its `.html.j2`); a project's
template next to its notices replaces the built-in one. The plain text begins with a line `Subject: …` and an empty
line. HTML escapes its values and loads nothing: no image, style or font.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import BaseLoader, Template, TemplateError, TemplateNotFound, TemplateSyntaxError, meta, nodes

from shroff.errors import UsageError
from shroff.json_types import JsonMapping, TextMapping
from shroff.notices.added_reports import added_reports
from shroff.notices.texts.mails import RenderedText
from shroff.notices.texts.sandbox import Sandbox, check_own
from shroff.runtime.values import replace

FOLDER = "notices/"
ENDINGS = (".txt.j2", ".html.j2")
NO_SUBJECT = "a plain text begins with a line 'Subject: …' and an empty one"
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,Arial,sans-serif"
LENGTH_MAX = 256 * 1024  # characters of a rendered text
_PACKAGE = "shroff.notices"  # package whose templates/ has the built-in texts; reports of plug-ins name their own
_SUBJECT = re.compile(r"Subject:[ \t]*([^\r\n]+)\r?\n\r?\n")


class TextError(UsageError):
    """A template cannot be rendered. The message has its name, and the line if known."""

    def __init__(self, name: str, message: str, line: int = 0) -> None:
        self.name = name
        self.line = line
        self.words = message if message.endswith("?") else f"{message.rstrip('.')}."
        super().__init__(f"{name}{f':{line}' if line else ''}: {self.words}")

    @property
    def is_own(self) -> bool:
        """Whether the template belongs to the project."""
        return self.name.startswith(FOLDER)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextError) and str(self) == str(other)

    __hash__ = UsageError.__hash__


class NoticeTemplates:
    """The templates of a project, by file name: `notices/customer.de.txt.j2`."""

    def __init__(self, files: TextMapping) -> None:
        self._own = {
            name[len(FOLDER) :]: text
            for name, text in files.items()
            if name.startswith(FOLDER) and name.endswith(ENDINGS)
        }
        self._environment = Sandbox(_TemplateLoader(self._own))
        self._environment.globals["font"] = FONT

    @property
    def names(self) -> list[str]:
        """The project's templates, by their names in `notices/`."""
        return sorted(self._own)

    def render(
        self, names: tuple[str, ...], language: str, values: JsonMapping, *, falls_back: bool = True
    ) -> RenderedText:
        """Render the first of these templates that exists.

        If a project has only the plain text, there is no HTML, because a built-in HTML would say something else. If a
        project's template fails, the built-in text (the last name) replaces it, and `trouble` tells why. Raises:
        TextError, also for a project's template without `falls_back`.
        """
        try:
            return self._render(names, language, values)
        except TextError as error:
            if not (falls_back and error.is_own) or _built_in_text(f"{names[-1]}.txt.j2") is None:
                raise
            return replace(NoticeTemplates({}).render(names[-1:], language, values), trouble=str(error))

    def _render(self, names: tuple[str, ...], language: str, values: JsonMapping) -> RenderedText:
        name, plain = self._first_template(names, language)
        text = self._text(plain, values)
        head = _SUBJECT.match(text)
        if head is None:
            raise TextError(f"{FOLDER}{plain}" if plain in self._own else plain, NO_SUBJECT, 1)
        html_template = self._html_template(name, plain, language)
        return RenderedText(
            head[1].strip(), text[head.end() :], self._text(html_template, values) if html_template else ""
        )

    def _html_template(self, name: str, plain: str, language: str) -> str:
        """Return the HTML template that belongs to a plain text; empty if there is none."""
        html_file = self._template_name(name, language, ".html.j2")
        return html_file if html_file and (plain not in self._own or html_file in self._own) else ""

    def used(self, names: tuple[str, ...], language: str) -> list[str]:
        """Return the project's templates that a mail of these names uses, including included ones."""
        name, plain = self._first_template(names, language)
        pending = [plain, self._html_template(name, plain, language)]
        visited = dict[str, None]()
        while pending:
            template = pending.pop()
            source = self._own.get(template) or _built_in_text(template) or ""
            if template not in visited and source:
                visited[template] = None
                pending += [str(two) for two in meta.find_referenced_templates(self._parse(template, source)) if two]
        return [file for file in visited if file in self._own]

    def named_in(self, name: str) -> list[tuple[str, int]]:
        """Return the names that a template reads without setting them, each with its first line."""
        tree = self._parse(name, self._own[name])
        return [
            (variable, min(part.lineno for part in tree.find_all(nodes.Name) if part.name == variable))
            for variable in sorted(meta.find_undeclared_variables(tree))
        ]

    def _parse(self, name: str, text: str) -> nodes.Template:
        try:
            return self._environment.parse(text, name)
        except TemplateSyntaxError:  # reported by `check`
            return nodes.Template([], lineno=1)

    def check(self) -> list[TextError]:
        """Return the problems of the project's templates on their own, whatever notices use them."""
        problems = []
        for name in self.names:
            try:
                self._environment.get_template(name)
            except TemplateSyntaxError as error:
                problems.append(TextError(f"{FOLDER}{name}", error.message or "it cannot be read", error.lineno))
            except TemplateError as error:
                problems.append(TextError(f"{FOLDER}{name}", str(error)))
            else:
                has_subject = "Subject:" in self._own[name] or not name.endswith(".txt.j2")
                if not has_subject and not any(self._parse(name, self._own[name]).find_all(nodes.Include)):
                    problems.append(TextError(f"{FOLDER}{name}", NO_SUBJECT, 1))
        return problems

    # ---- one template

    def _first_template(self, names: tuple[str, ...], language: str) -> tuple[str, str]:
        for name in names:
            template = self._template_name(name, language, ".txt.j2")
            if template:
                return name, template
        raise TextError(f"{FOLDER}{names[0]}.txt.j2", "there is no such text")

    def _template_name(self, name: str, language: str, ending: str) -> str:
        """Return the template of a name for a language, or for all languages; empty if there is none."""
        own_files = [file for file in (f"{name}.{language}{ending}", f"{name}{ending}") if file in self._own]
        if own_files:
            return own_files[0]
        shipped_file = f"{name}{ending}"
        return "" if _built_in_text(shipped_file) is None else shipped_file

    def _text(self, name: str, values: JsonMapping) -> str:
        display_name = f"{FOLDER}{name}" if name in self._own else name
        try:
            return _render_limited(self._environment.get_template(name), display_name, values)
        except TemplateSyntaxError as error:
            raise TextError(display_name, error.message or "it cannot be read", error.lineno) from None
        except (TemplateError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise TextError(display_name, f"{type(error).__name__}: {error}") from None


def _render_limited(template: Template, name: str, values: JsonMapping) -> str:
    parts = []
    length = 0
    for part in template.generate(**values):
        parts.append(part)
        length += len(part)
        if length > LENGTH_MAX:
            raise TextError(name, f"it gives more than {LENGTH_MAX:,} characters")
    return "".join(parts)


class _TemplateLoader(BaseLoader):
    """Loads the project's templates, then the built-in ones, and no other files."""

    def __init__(self, own_texts: TextMapping) -> None:
        self._own = own_texts

    def get_source(self, environment: Any, template: str) -> tuple[str, str | None, Any]:
        text = self._own.get(template)
        if text is not None:
            check_own(environment, template, text)
        elif (text := _built_in_text(template)) is None:
            raise TemplateNotFound(template)
        return text, None, lambda: True


@cache
def _built_in_text(name: str) -> str | None:
    report = added_reports().get(name.partition(".")[0])
    folder = resources.files(_PACKAGE if report is None else report.package).joinpath("templates")
    return next((path.read_text("utf-8") for path in folder.iterdir() if path.name == name), None)
