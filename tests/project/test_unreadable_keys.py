"""Values that a look-up cannot read are counted, and `check --with`, `ingest` and `doctor` say so."""

from __future__ import annotations

import pytest

from shroff.services import project as app

EVENTS = """payment:
  id: id
  time: at
  decide: true
  fields: {id: text, at: time, card: text, ip: text?, site: text?, mail: text?, bin: text?}
entities: {card: {payment: card}}
tables:
  nets: {network: network, country: text}
  bins: {bin: prefix, country: text}
  shops: {site: suffix, kind: text}
"""
FEATURES = """card:
  country: tables.nets[this.ip].country
  of_bin: tables.bins[trim(this.bin)].country
  kind: tables.shops[lower(this.site)].kind
  near: count(payment where subnet(payment.ip, 24) == subnet(this.ip, 24)) over 1h
  mails: domain(this.mail)
"""
GOOD = {"ip": "192.0.2.1", "site": "a.example", "mail": "a@example.test", "bin": "411111"}


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "p"
    (folder / "tables").mkdir(parents=True)
    (folder / "shroff.yaml").write_text("shroff: 1\nname: p\nmoney: EUR\n")
    (folder / "events.yaml").write_text(EVENTS)
    (folder / "features.yaml").write_text(FEATURES)
    (folder / "tables" / "nets.csv").write_text("network,country\n192.0.2.0/24,DE\n")
    (folder / "tables" / "bins.csv").write_text("bin,country\n4111,DE\n")
    (folder / "tables" / "shops.csv").write_text("site,kind\nexample,x\n")
    return app.open(folder)


def written(tmp_path, *rows):
    file = tmp_path / "f.csv"
    names = ",".join(GOOD)
    lines = [f"p{at},2026-03-01T10:0{at}:00Z,c,{','.join({**GOOD, **row}.values())}\n" for at, row in enumerate(rows)]
    file.write_text(f"id,at,card,{names}\n{''.join(lines)}")
    return file


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ip", "192.0.2.x", "an address"),
        ("ip", "10.0.0.1:443", "an address"),
        ("bin", "XXXX-1234", "a number that begins with 4 digits"),
        ("site", "https://a.example/x", "a domain"),
        ("mail", "nobody", "a mail address"),
    ],
)
def test_they_are_told(tmp_path, project, name, value, words):
    file = written(tmp_path, {}, {name: value}, {})
    sentence = f"1 of 3 values of payment.{name} are not {words}, such as '{value}'"
    project.taking.look_at(file, None)
    assert [text for text in project.context.warnings if sentence in text]
    project.context.warnings.clear()
    project.ingest([file])

    assert [text for text in project.context.warnings if sentence in text]
    assert [found for found in project.health.doctor() if sentence in found.words and found.state == "note"]


def test_values_that_can_be_read_are_not(tmp_path, project):
    project.ingest([written(tmp_path, {}, {"ip": "2001:db8::1"}, {"ip": ""}, {"site": "localhost"})])

    assert not project.context.warnings
    assert [found.state for found in project.health.doctor() if found.subject == "look-ups"] == ["ok"]


def test_lines_in_no_order_within_lateness_are_named(tmp_path, project):
    file = written(tmp_path, *[{}] * 8)
    head, *lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([head, *(lines[at] for at in (3, 1, 5, 0, 7, 2, 6, 4))]))
    project.ingest([file])

    assert "4 of the first 8 lines happened before the line above them" in project.context.warnings[0]
    assert "--order time" in project.context.warnings[0]
