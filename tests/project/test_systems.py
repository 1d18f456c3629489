"""Where things are, by shroff.yaml: read by shape, in no version, and never with a credential in what is said."""

from __future__ import annotations

import os

import pytest

import shroff
from shroff.cli.main import run
from shroff.errors import UsageError
from shroff.project.definitions import load_definitions
from shroff.project.settings import installed
from shroff.project.settings.system import System
from shroff.project.settings.systems import Systems
from shroff.runtime import environment
from shroff.services.system_names import name_problems
from tests.support.declare import declare
from tests.support.projects import systems_of

BASE = """
shroff: 1
name: bank
money: { currency: ZAR, places: 4 } # cents are too coarse
lateness: 7d
"""
EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, amount: money }
"""
PLACES = """
store: postgresql://shroff:${DB_PASSWORD}@db/shroff
source:
  kafka: { brokers: "k1:9092,k2:9092", topics: { payment: payments }, client: { sasl.password: hunter2 } }
lake: ./lake
sinks: { hook: { webhook: { url: "https://bank.example/x", secret: s3cret } } }
keep: 400d
"""


SINK = "sinks: {{ a: {{ kafka: {{ brokers: 'a:1', {} }} }} }}"


def loaded(settings: str):
    return load_definitions({"shroff.yaml": settings, "events.yaml": EVENTS})


def systems(line: str) -> Systems:
    loaded(BASE + line).or_raise()
    return systems_of(BASE + line)


def problem(line: str) -> str:
    found = loaded(BASE + line).problems
    assert found, line
    return "\n".join(map(str, found))


def test_where_things_are_is_in_no_version():
    assert loaded(BASE).or_raise().versions == loaded(BASE + PLACES).or_raise().versions
    assert loaded(BASE).or_raise().versions != loaded(BASE.replace("7d", "6d") + PLACES).or_raise().versions


def test_a_control_event_carries_settings_without_addresses_and_credentials():
    carried = loaded(BASE + PLACES).or_raise().files["shroff.yaml"]

    assert not any(word in carried for word in ("DB_PASSWORD", "hunter2", "s3cret", "kafka", "lake", "keep"))
    again = loaded(carried).or_raise()
    assert again.versions == loaded(BASE).or_raise().versions
    assert again.settings == loaded(BASE).or_raise().settings


def test_settings_that_name_no_system_are_carried_as_written():
    assert loaded(BASE).or_raise().files["shroff.yaml"] == BASE


def test_an_event_type_of_the_same_name_as_a_key_counts():
    with_store = EVENTS.replace("payment:", "store:")

    versions = load_definitions({"shroff.yaml": BASE, "events.yaml": with_store}).or_raise().versions
    other = load_definitions({"shroff.yaml": BASE, "events.yaml": with_store.replace("money", "number")}).or_raise()
    assert versions != other.versions


def test_an_address_gives_what_the_settings_written_out_give():
    written = (
        "source: { kafka: { brokers: 'a:1,b:2', topics: { any: payments }, format: avro, registry: 'http://r' } }\n"
    )

    assert systems("source: kafka://a:1,b:2/payments?format=avro&registry=http://r\n") == systems(written)
    assert systems("source: redis://h:6379/2/payments\n").source == System(
        "redis", {"url": "redis://h:6379/2", "streams": {"any": "payments"}}
    )


@pytest.mark.parametrize("brokers", ["${BROKERS}", "kafka-1:${PORT},kafka-2:${PORT}", "${HOST}:9092", "a:1, ${OTHERS}"])
def test_brokers_may_come_from_the_environment(brokers):
    found = systems(f"source: {{ kafka: {{ brokers: '{brokers}', topics: {{ payment: p }} }} }}\n")

    assert found.source.text("brokers") == brokers


def test_a_store_and_a_lake_are_of_the_kind_that_their_addresses_say():
    assert systems("store: postgresql://u@h/d\n").store == System("postgresql", {"url": "postgresql://u@h/d"})
    assert [systems(f"lake: {to}\n").lake.kind for to in ("s3://b/p", "gs://b/p", "./lake", "/lake")] == [
        *("s3", "gs", "folder", "folder")
    ]


TOO_LONG = (("sessions", "idle"), ("mail", "keep"), ("snapshots", "every"))


@pytest.mark.parametrize(
    "line, words",
    [
        *((f"store: {kind}://h/d\n", f"a store is postgresql://, not {kind}://.") for kind in ("mysql", "mariadb")),
        ("store: { url: nonsense }\n", "url is an address"),
        ("source: kafka://a:1\n", "ends with its topic"),
        *((f"{key}: {{ {name}: {'9' * 30}d }}\n", "is too long") for key, name in TOO_LONG),
        ("source: amqp://a:1/x\n", "a source is kafka://, redis:// or pubsub://, not amqp://"),
        ("source: kafka://a/payments\n", "addresses such as localhost:9092"),
        ("source: kafka://a:1/pay ments\n", "a name of letters, digits"),
        ("source: { kafka: { brokers: a, topics: { payment: p } } }\n", "addresses such as localhost:9092"),
        ("source: { kafka: { brokers: 'a:1,${}', topics: { payment: p } } }\n", "addresses such as localhost:9092"),
        ("source: { kafka: { brokers: 'a:1', topics: { payment: 'a/b' } } }\n", "a name of letters, digits"),
        ("source: { kafka: { brokers: 'a:1', topics: { payment: '..' } } }\n", "a name of letters, digits"),
        ("source: { kafka: { brokers: 'a:1', topic: p } }\n", "has no key 'topic'. Did you mean topics?"),
        (
            "source: { kafka: { brokers: 'a:1', topics: { p: p } }, redis: { url: 'redis://h', streams: { p: p } } }\n",
            "exactly one kind",
        ),
        ("source: kafka://a:1/p?format=xml\n", "format is json or avro"),
        ("sinks: { x: { sql: { url: 'postgresql://h/d', table: 'a; drop' } } }\n", "a table's name"),
        ("sinks: { x: { webhook: { url: 'ftp://h', secret: s } } }\n", "begins with http:// or https://"),
        ("keep: forever\n", "keep is a duration"),
        ("lake: { every: 1m }\n", "lake lacks to"),
    ],
)
def test_what_has_not_the_shape_is_refused_with_what_it_is(line, words):
    assert words in problem(line)


def test_a_password_that_is_written_out_is_warned_of_and_a_variable_is_not():
    def warned(line: str) -> list[str]:
        return [warning.message for warning in loaded(BASE + line).warnings]

    assert warned("store: postgresql://u:secret@h/d\n") == ["this file contains a password."]
    assert warned("store: postgresql://u:${PASSWORD}@h/d\n") == []
    assert warned("store: postgresql://u@h/d\n") == []


def test_variables_are_filled_in_when_something_is_opened(monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "p${x}")

    assert environment.fill_variables("postgresql://u:${DB_PASSWORD}@h", "store") == "postgresql://u:p${x}@h"
    with pytest.raises(UsageError) as raised:
        environment.fill_variables("postgresql://secret:${NO_SUCH_VARIABLE}@h", "store")
    assert "NO_SUCH_VARIABLE" in str(raised.value)
    assert "secret" not in str(raised.value)


def test_a_variable_may_be_the_content_of_a_file(tmp_path, monkeypatch):
    file = tmp_path / "login"
    file.write_text("a p w$'\"\n\n")
    monkeypatch.setenv("LOGIN_FILE", str(file))
    assert environment.fill_variables("redis://${LOGIN}@h", "online") == "redis://a p w$'\"@h"
    assert environment.missing_variables("${LOGIN} ${NO_SUCH_VARIABLE}") == ["NO_SUCH_VARIABLE"]
    file.write_text("renewed")
    assert environment.fill_variables("${LOGIN}", "online") == "renewed"

    monkeypatch.setenv("LOGIN", "secret")
    with pytest.raises(UsageError, match="both LOGIN and LOGIN_FILE are set") as raised:
        environment.fill_variables("${LOGIN}", "online")
    assert "secret" not in str(raised.value)
    monkeypatch.delenv("LOGIN")
    file.write_bytes(b"\xff")
    with pytest.raises(UsageError, match="it is not UTF-8 text"):
        environment.fill_variables("${LOGIN}", "online")
    file.unlink()
    with pytest.raises(UsageError, match=r"LOGIN_FILE names .*login, which cannot be read: No such file"):
        environment.fill_variables("${LOGIN}", "online")


def test_credentials_that_clouds_read_themselves_come_from_files_too(tmp_path, monkeypatch):
    (tmp_path / "key").write_text("of s3\n")
    given = {"AWS_SECRET_ACCESS_KEY_FILE": str(tmp_path / "key"), "SSL_CERT_FILE": "/etc/ssl/ca.pem"}
    monkeypatch.setattr(os, "environ", dict(given))
    environment.share_credentials()

    assert os.environ == {"AWS_SECRET_ACCESS_KEY": "of s3", "SSL_CERT_FILE": "/etc/ssl/ca.pem"}


def test_a_credential_that_cannot_be_read_stops_every_command(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY_FILE", str(tmp_path / "none"))

    assert run(["-C", str(tmp_path), "check"]) == 2
    assert "AWS_SECRET_ACCESS_KEY_FILE names" in capfd.readouterr().err


def test_a_variable_may_stand_for_a_whole_address(tmp_path, monkeypatch):
    assert systems("store: ${DATABASE_URL}\n").store == System("", {"url": "${DATABASE_URL}"})
    webhook = "sinks: { x: { webhook: { url: '${HOOK}', secret: '${SECRET}' } } }\n"
    assert systems(webhook).sinks["x"].text("url") == "${HOOK}"
    (tmp_path / "shroff.yaml").write_text(BASE + "store: ${DATABASE_URL}\n")
    (tmp_path / "events.yaml").write_text(EVENTS)
    project = shroff.open(tmp_path)

    with pytest.raises(UsageError, match="reads \\$\\{DATABASE_URL\\}, and that variable is not set"):
        project.log.exists()
    monkeypatch.setenv("DATABASE_URL", "oracle://scott:tiger@h/d")
    with pytest.raises(UsageError, match="a store is postgresql://, and this address is none") as raised:
        project.log.exists()
    assert "tiger" not in str(raised.value)


def test_a_variable_may_stand_for_the_whole_address_of_online_features_and_of_a_source(tmp_path, monkeypatch):
    assert systems("online: ${REDIS}\n").online == System("redis", {"url": "${REDIS}"})
    assert systems("online: { url: '${REDIS}', ttl: 1d }\n").online.text("url") == "${REDIS}"
    assert "the address of the source is in ${SOURCE}, and that variable is not set" in problem("source: ${SOURCE}\n")
    monkeypatch.setenv("SOURCE", "kafka://a:1/payments")
    assert systems("source: ${SOURCE}\n") == systems("source: kafka://a:1/payments\n")

    (tmp_path / "shroff.yaml").write_text(BASE + "online: ${REDIS}\n")
    (tmp_path / "events.yaml").write_text(EVENTS)
    project = shroff.open(tmp_path)
    monkeypatch.setenv("REDIS", "redis://:pw@localhost:6379/1")
    project.outside.open_online(None).close()
    monkeypatch.setenv("REDIS", "http://:pw@localhost")
    with pytest.raises(UsageError, match="online features are in redis:// or rediss://, not http://"):
        project.outside.open_online(None)


def test_the_text_of_a_system_shows_no_setting():
    assert "hunter2" not in repr(systems(PLACES))


def test_a_registry_is_an_address_or_one_with_certificates():
    head = "source: { kafka: { brokers: 'k:9092', topics: { payment: p }, format: avro, registry: "
    plain = systems(f"{head}'http://r:8081' }} }}").source
    whole = systems(f"{head}{{ url: 'https://r', ca: ca.pem, cert: c.pem, key: c.key }} }} }}").source
    none = systems("source: kafka://localhost:9092/p").source

    assert plain.registry == {"url": "http://r:8081"}
    assert whole.registry == {"url": "https://r", "ca": "ca.pem", "cert": "c.pem", "key": "c.key"}
    assert none.registry == {}
    assert "key belongs to the certificate" in problem(f"{head}{{ url: 'https://r', key: c.key }} }} }}")
    assert "begins with https://" in problem(f"{head}{{ url: 'http://r', ca: ca.pem }} }} }}")


@pytest.mark.parametrize(
    ("written", "minutes"),
    [("", (60, 720)), ("sessions: { idle: 15m }", (15, 720)), ("sessions: { idle: 15m, lasts: 8h }", (15, 480))],
)
def test_how_long_people_stay_signed_in_is_said_in_minutes_and_hours(written, minutes):
    times = systems_of(f"{BASE}{written}\n").sessions

    assert (times.idle_ms // 60_000, times.lasts_ms // 60_000) == minutes


@pytest.mark.parametrize("written", ["{ idle: 10s }", "{ idle: 2h, lasts: 1h }", "{ lasts: 31d }", "{ lasts: 30m }"])
def test_times_of_sessions_that_cannot_be_are_refused(written):
    found = loaded(f"{BASE}sessions: {written}\n")

    assert found.definitions is None
    assert [str(item).partition(": ")[2] for item in found.problems] == [
        "idle must be at least 1m, and the lifetime between idle and 30d."
    ]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("online: { url: 'redis://h:1/1', entities: [crad] }", "6:44 'crad' is not an entity. Did you mean card?"),
        ("source: { kafka: { brokers: 'a:1', topics: { paymnt: p } } }", "6:46 'paymnt' is not an event type."),
        ("source: { redis: { url: 'redis://h:1/1', streams: { paymnt: p } } }", "6:53 'paymnt' is not an event type."),
        ("source: { kafka: { brokers: 'a:1', topics: { payment: p, label: l, any: x } } }", ""),
        ("source: kafka://a:1/payments", ""),
        (SINK.format("by: outcom, topics: { else: y }"), "6:44 'outcom' is neither outcome nor a field of an event."),
        (SINK.format("by: outcome, topics: { declin: x }"), "6:63 'declin' is not a value of outcome."),
        (SINK.format("by: channel, topics: { wbe: x }"), "6:63 'wbe' is not a value of channel."),
        (SINK.format("by: channel, topics: { web: x, else: y }"), ""),
        (SINK.format("by: card, topics: { c-1: x, else: y }"), ""),
        ("lake: ftp://h/x", "6:1 a lake is in a folder, at s3://, gs:// or az://, not at ftp://."),
        ("lake: { to: ./l, layout: json }", "6:1 lake: layout json needs documents"),
        ("lake: { to: '${LAKE}', layout: both, documents: { events: { of: payment } } }", "6:1 lake: documents ca"),
        ("lake: ${LAKE}", ""),
        ("lake: { to: ./l, documents: { x: { of: payment } } }", "6:1 lake: documents are for layout json or both"),
        ("lake: { to: ./l, layout: both, documents: { x: { of: paymnt } } }", "6:54 'paymnt' is neither a kind"),
        ("lake: { to: ./l, layout: json, documents: { x: { of: flags }, y: { of: payment } } }", ""),
    ],
)
def test_a_name_in_the_settings_that_the_project_does_not_have_is_a_mistake_of_check(settings, told):
    fields = "fields: { card: text, channel: 'choice(pos, web)',"
    events = declare(EVENTS.replace("fields: {", fields) + "entities:\n  card: { payment: card }\n")
    text = f"{BASE}{settings}\n"
    problems = name_problems(events, systems(f"{settings}\n"), text)
    found = [f"{item.line}:{item.column} {item.message} {item.hint}" for item in problems]

    assert len(found) == bool(told)
    assert all(item.startswith(told) for item in found), found


def test_a_contract_may_have_no_settings_of_shroffs_own():
    assert installed.kinds("sender") == ("kafka", "redis")
