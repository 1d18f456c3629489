"""What mails are made of: addresses, headers, templates in their sandbox, money and times, and what is never shown."""

from __future__ import annotations

from collections.abc import Mapping
from email import message_from_bytes
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shroff.errors import UsageError
from shroff.notices.definitions import Notice, To
from shroff.notices.texts.localization import card_end, covered, moment_text, money_text
from shroff.notices.texts.mails import RenderedText, mail_of
from shroff.notices.texts.templates import LENGTH_MAX, NoticeTemplates, TextError
from shroff.notices.texts.text_check import NAMES_OF, names_for
from shroff.notices.texts.words import LANGUAGES, MARKS, WORDS
from shroff.people.addresses import is_address, masked, who_of
from tests.support.telling import Bank

VALUES = {"words": WORDS["en"], "show": {"merchant": "<b>&"}, "subject": "s"}


def rendered(text: str, html: str = "") -> RenderedText:
    files = {"notices/own.txt.j2": f"Subject: x\n\n{text}", "notices/own.html.j2": html}
    return NoticeTemplates(files).render(("own",), "en", VALUES)


# ---- addresses and headers


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ann",
        "@x.example",
        "ann@",
        "ann@-x.example",
        "ann@x..example",
        "a b@x.example",
        "ann@x.example.",
        "é@x.example",
        '"ann"@x.example',
        "ann@[127.0.0.1]",
        f"{'a' * 65}@x.example",
        f"a@{'b' * 250}.example",
        "ann@x.example\n",
    ],
)
def test_what_is_no_plain_address_is_none(text):
    assert not is_address(text)


@given(st.text(st.sampled_from("an@.,;:<>()\"'\\ \r\n\0\t[]é"), max_size=20))
def test_an_address_never_holds_what_could_end_a_header_or_begin_another_address(text):
    if is_address(text):
        assert text.isascii()
        assert not set(text) & set(' ,;:<>()"\\\r\n\0\t[]')
        assert text.count("@") == 1


def test_an_address_is_shown_without_its_name_and_known_again_by_its_key():
    assert masked("ann.smith@bank.example") == "a…@bank.example"
    assert who_of(b"key", ["Ann@Bank.example"]) == who_of(b"key", ["ann@bank.example"])
    assert who_of(b"key", ["ann@bank.example"]) != who_of(b"other", ["ann@bank.example"])


@pytest.mark.parametrize(
    ("channel", "more", "shown"),
    [
        ("mail", {"to": To(("a@x.example",))}, "1 address"),
        ("mail", {"to": To(("a@x.example", "b@x.example"))}, "2 addresses"),
        ("mail", {"to": To(role="analyst")}, "analyst"),
        ("webhook", {"url": "https://me:s3cret@hooks.example:8443/key/s3cret?k=s3cret"}, "https://hooks.example:8443"),
        ("lake", {"folder": "alerts"}, "folder alerts"),
    ],
)
def test_who_gets_a_notice_is_told_without_addresses_and_without_what_may_be_a_key(channel, more, shown):
    assert Notice("one", "decision", channel, **more).recipient == shown


@pytest.mark.slow
@given(st.text(max_size=300), st.text(max_size=100))
def test_whatever_a_text_says_a_mail_has_the_headers_of_one_mail(subject, body):
    mail = mail_of(
        RenderedText(subject, body, f"<p>{body.encode('utf-16', 'surrogatepass')!r}</p>"),
        id="m-1",
        sender="Bank <a@bank.example>",
        recipients=["ann@x.example"],
        made_ms=1_000,
    )
    found = message_from_bytes(mail.data, policy=SMTP)

    own = "Subject From To Date Message-ID Auto-Submitted X-Auto-Response-Suppress MIME-Version Content-Type"
    assert sorted(found.keys()) == sorted(own.split())
    assert found["To"] == "ann@x.example"
    assert b"\n" not in mail.data.replace(b"\r\n", b"")


def test_the_same_mail_has_the_same_bytes():
    written = RenderedText("s", "t", "<p>h</p>")
    first, other = (
        mail_of(written, id="m-1", sender="a@b.example", recipients=["c@d.example"], made_ms=1_000) for _ in range(2)
    )

    assert first == other


@pytest.mark.parametrize("sender", ["", "Bank", "Bank <x>", "a@b.example, c@d.example"])
def test_a_sender_that_is_none_is_told(sender):
    with pytest.raises(UsageError, match="mail: 'from'"):
        mail_of(RenderedText("s", "t", ""), id="m", sender=sender, recipients=["c@d.example"], made_ms=0)


# ---- templates


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__ }}",
        "{{ words.__class__.__mro__ }}",
        "{{ ().__class__.__bases__[0].__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{% for x in range(10**9) %}{% endfor %}",
        "{{ 'x' * 10**10 }}",
        "{{ 2 ** 999999 }}",
        "{{ '%9999999999s' | format('x') }}",
        "{{ '%*s' | format(9999999999, 'x') }}",
        "{{ '{:9999999999}'.format('x') }}",
        "{{ '{:{}}'.format('x', 9999999999) }}",
        "{{ 'x'.ljust(9999999999) }}",
        "{{ 'x' | center(9999999999) }}",
        f"{{{{ 'xxxxxxxxxx' | join('{'y' * 101}') }}}}",
        "{{ 'x y' | wordwrap(1, false, subject) }}",
        "{% set a = subject ~ subject %}{{ a }}",
        "{% set a %}{{ subject }}{{ subject }}{% endset %}{{ a }}",
        "{% macro a() %}{{ a() }}{{ a() }}{% endmacro %}{{ a() }}",
        "{% for a in words %}{% for b in words %}{% for c in words %}{% endfor %}{% endfor %}{% endfor %}",
        "{{ lipsum() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{% include '/etc/passwd' %}",
        "{% include '../../shroff.yaml' %}",
        "{% import 'os' as os %}",
        "{{ nothing_of_this_name }}",
        "{{ 1 / 0 }}",
        "{{ show.update({'a': 1}) }}",
        "{{ '{0.__class__}'.format(words) }}",
        "{{ show['merchant'] | safe }}",
        "{% if %}",
    ],
)
def test_a_template_reaches_nothing_but_its_values(text):
    with pytest.raises(TextError) as raised:
        rendered(text)
    assert "notices/own.txt.j2" in str(raised.value)


def test_a_text_has_its_end():
    with pytest.raises(TextError, match=f"{LENGTH_MAX:,} characters"):
        rendered("{% for a in words %}{% for b in words %}{{ words.no_link }}{% endfor %}{% endfor %}")


def test_what_is_joined_stays_html_and_values_in_it_are_text():
    assert rendered("t", "{{ [show.merchant, 'x'] | join(', ') }}").html == "&lt;b&gt;&amp;, x"


def test_html_shows_values_as_text():
    assert rendered("t", "<p>{{ show.merchant }}</p>").html == "<p>&lt;b&gt;&amp;</p>"
    assert rendered("{{ show.merchant }}").text == "<b>&"


@pytest.mark.parametrize(
    "html",
    [
        "<img src='https://x.example/{{ subject }}'>",
        "<IMG src=x>",
        "<link rel=stylesheet href=x>",
        "<script>x</script>",
        "<p onclick='x'>",
        "<style>@import 'x'</style>",
        "<p style='background:url(x)'>",
        "<p style='background:u/* */rl(x)'>",
        "<table background='https://x.example/'>",
        "<{# #}img src='https://x.example/'>",
        "<{# a\nb #}script>x</script>",
        "<form action=x>",
        "<iframe src=x>",
        "<base href=x>",
        "{% autoescape false %}{{ show.merchant }}{% endautoescape %}",
    ],
)
def test_html_that_would_load_or_run_something_is_refused(html):
    with pytest.raises(TextError, match=r"notices/own\.html\.j2"):
        rendered("t", html)


def test_a_text_of_ones_own_stands_before_that_of_shroff_and_for_its_language():
    files = {"notices/question.txt.j2": "Subject: own\n\nfor all", "notices/question.de.txt.j2": "Subject: own\n\nde"}
    texts = NoticeTemplates(files)

    assert texts.render(("none", "question"), "en", {}).text == "for all"
    assert texts.render(("none", "question"), "de", {}).text == "de"
    assert texts.render(("none", "question"), "en", {}).html == ""
    assert [name.line for name in NoticeTemplates({"notices/a.txt.j2": "x\n{% if %}"}).check()] == [2]


STAFF = "to: [a@b.example]\nshow: { paid: this.amount }\n"
CUSTOMER = "to: { field: email }\nshow: { amount: this.amount, merchant: this.merchant }\n"


@pytest.mark.parametrize(
    ("notice", "text", "told"),
    [
        (
            f"{CUSTOMER}ask: true\n",
            "a\n{{ amuont }}",
            ":4:1: 'amuont' is nothing that a question (notice own) has. Did",
        ),
        (f"{CUSTOMER}ask: true\n", "{{ amount }} {{ merchant }} {{ show.merchant }} {{ until }} {{ link }}", ""),
        (STAFF, "{{ amount }}", ":3:1: 'amount' is nothing that a notice (notice own) has."),
        (STAFF, "{{ until }}", ":3:1: 'until' is nothing that a notice (notice own) has.\n"),
        (STAFF, "{{ paid }} {{ show.paid }} {{ items[0].named.rule }} {{ project }}", ""),
        (STAFF, "{{ show.amount }}", "no mail of notice own can come of it: UndefinedError"),
        (STAFF, "{% for one in items %}{{ one.sentense }}{% endfor %}", "no attribute 'sentense'"),
        (STAFF, "{% include 'foot.txt.j2' %}", "foot.txt.j2:1:1: 'links' is nothing that a notice (notice own) has."),
        ("to: [a@b.example]\non: report\n", "{{ hours[0].marks }} {{ is_quiet }}", ""),
        (f"{CUSTOMER}on: decision\n", "{{ amount }} {{ help }} {{ subject }}", ""),
        (f"{CUSTOMER}on: decision\n", "{{ notice }}", ":3:1: 'notice' is nothing that a receipt (notice own) has."),
        (f"{STAFF}texts: notice\n", "{{ outcomes }}", ""),  # of a text that no notice uses, any name is one
        (f"{STAFF}texts: notice\n", "{{ amuont }}", ":3:1: 'amuont' is nothing that any notice has. Did you mean"),
    ],
)
def test_check_holds_a_text_against_what_its_own_notice_gives_it(tmp_path, notice, text, told):
    own = {"notices/own.yaml": notice, "notices/own.txt.j2": f"Subject: x\n\n{text}"}
    foot = {"notices/foot.txt.j2": "{{ links }} Subject:"} if "foot" in text else {}
    errors = [f"{error}\n" for error in Bank(tmp_path, own | foot).project.check().errors]

    assert len(errors) == bool(told), errors
    assert told in "".join(errors)


def test_a_text_of_which_no_mail_can_come_is_told_before_one_is_made():
    (found,) = NoticeTemplates({"notices/customer.txt.j2": "Dear customer,\n\n{{ amount }}"}).check()

    assert (found.line, "begins with a line 'Subject: …'" in found.words) == (1, True), found.words


def test_whatever_a_notice_gives_its_template_may_be_named(tmp_path, monkeypatch):
    given: dict[str, set[str]] = {}
    render = NoticeTemplates.render

    def noted(
        self: NoticeTemplates, names: tuple[str, ...], language: str, values: Mapping[str, object]
    ) -> RenderedText:
        given[names[0]] = set(values)
        return render(self, names, language, values)

    monkeypatch.setattr(NoticeTemplates, "render", noted)
    more = {f"notices/{name}.yaml": f"to: [a@b.example]\non: {name}\n" for name in ("report", "failure")}
    counted = "on: report\nto: [a@b.example]\nfigures: { payments: { event: payment } }\n"
    more |= {"notices/counted.yaml": counted}
    bank = Bank(tmp_path, more | {"notices/paid.yaml": "on: decision\nto: { field: email }\n"})
    bank.pay()
    notices = bank.project.notice_files.declared
    for name in notices:
        bank.project.notices.preview(name)

    assert given == {name: set(names_for(notice)) for name, notice in notices.items()}
    assert {notice.text_kind for notice in notices.values()} == set(NAMES_OF)


def test_a_text_without_a_subject_is_told():
    with pytest.raises(TextError, match="begins with a line 'Subject: …'"):
        NoticeTemplates({"notices/own.txt.j2": "no subject"}).render(("own",), "en", {})


# ---- words


def test_every_language_has_the_same_words_with_the_same_gaps():
    from string import Formatter

    def gaps(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    english = {name: gaps(text) for name, text in WORDS["en"].items()}
    for language in LANGUAGES:
        assert {name: gaps(text) for name, text in WORDS[language].items()} == english
        assert language in MARKS


@given(st.integers(-(10**15), 10**15), st.integers(0, 4), st.sampled_from(LANGUAGES))
def test_money_keeps_its_digits_in_every_language(units, places, language):
    text = money_text(units, places, "EUR", language)

    assert int("".join(line for line in text if line.isdigit())) == abs(units)
    assert text.startswith("\N{MINUS SIGN}") is (units < 0)


def test_a_moment_names_whose_clock_it_is():
    assert moment_text(1_780_000_000_000, "Europe/Berlin", "en") == "Thursday 28 May 2026, 22:26, Berlin time"
    assert moment_text(1_780_000_000_000, "UTC", "de") == "Donnerstag, 28. Mai 2026, 20:26 Uhr, UTC"


@given(st.text(st.sampled_from("0123456789 -ab"), max_size=60))
def test_nothing_that_could_be_a_card_number_is_shown(text):
    import re

    whole = re.findall(r"(?<![0-9A-Za-z])[0-9]{12,19}(?![0-9A-Za-z])", covered(text))

    assert not whole


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("4000 1234 1234 4417", "•••• 4417"),
        ("card 4000-1234-1234-4417, twice 4000123412344417", "card •••• 4417, twice •••• 4417"),
        ("order 2026-05-28 of 12", "order 2026-05-28 of 12"),
        ("PAN4111111111111111x", "PAN•••• 1111x"),
        ("4111.1111/1111_1111", "•••• 1111"),
        ("from 192.168.100.200 at 28.05.2026/14.30", "from 192.168.100.200 at 28.05.2026/14.30"),
        (f"hashed:{'a' * 32}:4417", "•••• 4417"),
    ],
)
def test_of_a_card_number_the_end_is_left(text, shown):
    assert covered(text) == shown


@pytest.mark.parametrize("number", ["4000123412344417", "4000 1234 1234 4417", "•••• 4417", "400012******4417"])
def test_the_end_of_a_card_number_is_known(number):
    assert card_end(number) == "4417"


@pytest.mark.parametrize(
    "text", ["c-000186", "m-00127", "C1305486145", "186", "0186", "card 4417", "3" * 20, "•••• 44a7"]
)
def test_an_id_has_no_end_of_a_card_number(text):
    assert card_end(text) == ""
