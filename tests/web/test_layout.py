"""Templates: indentation ends elements and statements, line breaks are blanks, and elements have names of their own."""

from __future__ import annotations

import re

import pytest
from jinja2 import TemplateSyntaxError, meta, nodes

from shroff.runtime.template_layout import closed, without_layout
from shroff.web.pages.renderer import ELEMENTS, environment, with_csrf

PAGE = """\
{% block main %}
<ul>
  {% for rule in rules %}
    {% if rule %}
      <li>
        <a href="/rules"
            title="{{ rule }}">one</a>
    {% else %}
      <li>none
      at all</li>
  {% else %}
    <li>No rules</li>
<p>{{ rules
    | length }}</p>
{% endblock %}
"""


def test_what_is_indented_below_a_tag_or_statement_stands_inside_it():
    text = environment().from_string(without_layout(closed(PAGE))).render(rules=["a", ""])
    assert text == '<ul><li><a href="/rules" title="a">one</a></li><li>none at all</li></ul><p>2</p>'
    assert (
        environment().from_string(without_layout(closed(PAGE))).render(rules=[]) == "<ul><li>No rules</li></ul><p>0</p>"
    )


def test_ends_may_be_written():
    ended = "<ul>\n  {% for text in texts %}\n    <li>\n      {{ text }}\n    </li>\n  {% endfor %}\n</ul>\n"
    assert closed(ended) == ended
    told = "<ul>\n  {% for text in texts %}\n    <li>\n      {{ text }}\n"
    page = environment()
    assert [page.from_string(without_layout(closed(text))).render(texts="ab") for text in (told, ended)] == [
        "<ul><li>a</li><li>b</li></ul>"
    ] * 2


def test_the_last_block_holds_the_rest_of_its_template():
    told = closed("{% block title %}A{% endblock %}\n{% block main %}\n<p>\n  one\n<p>\n  two\n")
    assert told == (
        "{% block title %}A{% endblock %}\n{% block main %}\n<p>\n  one</p>\n<p>\n  two</p>{% endblock %}\n"
    )


def test_a_statement_ends_before_the_next_one_beside_it():
    assert closed("{% if a %}\n  1\n{% if b %}\n  2\n") == "{% if a %}\n  1{% endif %}\n{% if b %}\n  2{% endif %}\n"


def test_messages_name_the_line_of_the_file():
    with pytest.raises(TemplateSyntaxError, match="expected the end of li, found that of p") as told:
        closed("<ul>\n  <li>\n    text</p>\n", "page.html")
    assert (told.value.lineno, told.value.name) == (3, "page.html")
    with pytest.raises(TemplateSyntaxError) as told:
        environment().from_string(without_layout(closed("<ul>\n  {% if x %}\n    <li>\n      {{ 1 + }}\n")))
    assert told.value.lineno == 4


@pytest.mark.parametrize("name", environment().list_templates())
def test_no_template_uses_the_name_of_an_element_for_something_else(name):
    page = environment()
    elements = {macro.name for part in ELEMENTS for macro in tree(part).find_all(nodes.Macro)}
    assert {"panel", "table", "badge"} < elements
    made = {node.name for node in tree(name).find_all(nodes.Name) if node.ctx in ("store", "param")}
    macros = set() if name in ELEMENTS else {macro.name for macro in tree(name).find_all(nodes.Macro)}
    assert not elements & (made | macros), "a value of this name hides the element"
    known = set(page.globals)
    assert elements <= known
    assert meta.find_undeclared_variables(tree(name)) & elements <= known


def tree(name: str) -> nodes.Template:
    page = environment()
    assert page.loader is not None
    return page.parse(page.loader.get_source(page, name)[0])


def test_each_form_that_posts_carries_the_token_of_the_session():
    html = (
        '<form method="post" action="/a"><button></form><form class="b" method="post"></form><form action="/c"></form>'
    )
    field = '<input type="hidden" name="csrf" value="a&#34;b">'
    assert with_csrf(html, 'a"b') == (
        f'<form method="post" action="/a">{field}<button></form><form class="b" method="post">{field}</form>'
        '<form action="/c"></form>'
    )


@pytest.mark.parametrize("name", ["scripts", "styles"])
def test_a_page_may_set_scripts_and_styles_under_a_condition(name):
    base = tree("base.html")
    (used,) = (
        node for node in base.find_all(nodes.Filter) if isinstance(node.node, nodes.Name) and node.node.name == name
    )
    assert used.name == "default"
    text = environment().from_string("{% set " + name + " = ['a'] if is_set %}{{ " + name + " | default([], true) }}")
    assert (text.render(is_set=True), text.render(is_set=False)) == ("[&#39;a&#39;]", "[]")
    assert [argument.as_const() for argument in used.args] == [[], True]


FLAT = "<ul>\n{% for name in names %}\n<li>\n{{ name }}\n</li>\n{% endfor %}\n</ul>\n"
DEEP = "{# layout #}\n<ul>\n  {% for name in names %}\n    <li>\n      {{ name }}\n"


@pytest.mark.parametrize("source", [FLAT, DEEP])
def test_templates_of_other_packages_are_plain_jinja_unless_they_say_otherwise(tmp_path, monkeypatch, source):
    """Well-formed HTML need not be indented."""
    name = f"of_bank_{len(source)}"
    package = tmp_path / name
    (package / "templates").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "templates" / "names.html").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    page = environment().get_template(f"{name}:names.html").render(names=["a", "b"])
    assert re.sub(r"\s", "", page) == "<ul><li>a</li><li>b</li></ul>"
