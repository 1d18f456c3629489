"""`shroff schema check|diff|register|show`, as a person runs them, with files and with a real registry."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest

from shroff.adapters.registry.http import HttpRegistry
from shroff.cli.main import run
from tests.support.avros import avro_file, record

PIPELINE = record(
    *(("step", "int"), ("type", "string"), ("amount", "float"), ("nameOrig", "string"), ("oldbalanceOrg", "float")),
    *(("newbalanceOrig", "float"), ("nameDest", "string"), ("oldbalanceDest", "double"), ("newbalanceDest", "float")),
    *(("isFraud", "int"), ("isFlaggedFraud", "int"), ("transaction_id", "string")),
    name="pipeline.Transaction",
)


@pytest.fixture
def folder(tmp_path, monkeypatch, capfd):
    """A project of the paysim template, in the current folder."""
    assert run(["init", str(tmp_path / "sim"), "--template", "paysim"]) == 0
    monkeypatch.chdir(tmp_path / "sim")
    capfd.readouterr()
    return tmp_path / "sim"


@pytest.fixture
def printed(capfd):
    def show(*words):
        code = run(list(words))
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return show


@pytest.fixture
def asked(printed):
    def ask(*words):
        code, out, _ = printed(*words, "--json")
        return code, json.loads(out)

    return ask


def written(path, schema):
    path.write_text(json.dumps(schema), encoding="utf-8")
    return str(path)


def with_field(name, type_):
    fields = [field if field["name"] != name else {"name": name, "type": type_} for field in PIPELINE["fields"]]
    return {**PIPELINE, "fields": fields}


# ---- files


def test_check_says_of_each_float_that_feeds_money_where_its_cents_are_lost(folder, printed, asked):
    path = written(folder / "theirs.avsc", PIPELINE)
    code, out, _ = printed("schema", "check", path)

    assert code == 0
    assert out.splitlines()[0] == f"payment from {path}: can be read."
    assert (
        "  amount: a float of 32 bits, exact below 131,072.00; above it the sender has already lost the cents; have it "
        "send a decimal." in out.splitlines()
    )
    assert "payee_balance_before: oldbalanceDest is a float of 64 bits, exact below 70,368,744,177,664.00" in out
    code, document = asked("schema", "check", path)
    assert (code, document["ok"]) == (0, True)
    assert len(document["types"][0]["remarks"]) == 5
    assert document["types"][0]["misfits"] == []


def test_check_reads_the_schema_of_an_avro_file_too(folder, asked):
    path = avro_file(folder / "rows.avro", PIPELINE, [])
    code, document = asked("schema", "check", str(path), "--as", "payment")

    assert (code, document["ok"]) == (0, True)
    assert document["types"][0]["theirs"]["name"] == "pipeline.Transaction"


def test_an_incompatible_schema_is_shown_beside_ours_with_the_field_named(folder, printed, asked):
    path = written(folder / "theirs.avsc", with_field("amount", "boolean"))
    code, out, _ = printed("schema", "check", path)

    assert code == 1
    assert "  amount: is boolean there and decimal(16, 2) (money) here." in out.splitlines()
    table = out.split("Both schemas:\n")[1].splitlines()
    assert [line.split() for line in table if line.split()[0] in {"field", "amount", "type"}] == [
        ["field", "theirs", "ours"],
        ["type", "string", "string", "same"],
        ["amount", "boolean", "decimal(16,", "2)", "cannot", "be", "read"],
    ]
    code, document = asked("schema", "check", path)
    (type_,) = document["types"]
    assert (code, document["ok"], type_["readable"]) == (1, False, False)
    assert [misfit["field"] for misfit in type_["misfits"]] == ["amount"]
    assert type_["theirs"] == with_field("amount", "boolean")
    assert type_["ours"]["fields"][3]["type"]["logicalType"] == "decimal"


def test_diff_goes_field_by_field(folder, asked):
    code, document = asked("schema", "diff", written(folder / "theirs.avsc", PIPELINE))
    fields = {
        field["field"]: (field["theirs"], field["ours"], field["kind"]) for field in document["types"][0]["fields"]
    }

    assert code == 0
    assert fields["type"] == ("string", "string", "same")
    assert fields["amount"] == ("float", "decimal(16, 2)", "changed")
    assert fields["payer"] == ("nameOrig: string", "string", "mapped")
    assert fields["isFraud"] == ("int", None, "only theirs")


def test_our_own_schema_differs_in_nothing_from_what_show_prints(folder, printed):
    code, out, _ = printed("schema", "show", "payment")
    (folder / "ours.avsc").write_text(out, encoding="utf-8")

    assert code == 0
    assert printed("schema", "diff", "ours.avsc")[1] == "payment and ours.avsc: the same.\n"


@pytest.mark.parametrize(
    "words, said",
    [
        (("check", "none.avsc"), "none.avsc cannot be read: No such file or directory."),
        (("check", "--topic", "payment=x"), "no schema registry is named: add --registry URL"),
        (("check",), "no event type has a topic: add --topic EVENT=TOPIC"),
        (("check", "--registry", "http://127.0.0.1:1"), "no event type has a topic: add --topic EVENT=TOPIC"),
        (("check", "--registry", "http://h", "--topic", "payment"), "--topic is EVENT=TOPIC"),
        (("check", "--registry", "http://h", "--topic", "payments=x"), "Did you mean payment?"),
        (("check", "--registry", "http://h", "--as", "payment"), "payment has no topic: add --topic payment=TOPIC"),
        (("show", "paiment"), "Did you mean payment?"),
        (("register", "--registry", "${NO_SUCH}", "--topic", "payment=x"), "that variable is not set"),
        ((), "name a folder with --out DIR"),
    ],
)
def test_what_cannot_be_asked_says_what_can(folder, printed, words, said):
    code, out, err = printed("schema", *words)

    assert (code, out) == (2, "")
    assert said in err


def test_a_registry_that_is_away_is_exit_status_3_without_its_credentials(folder, printed, monkeypatch):
    monkeypatch.setenv("REGISTRY_PASSWORD", "s3cret")
    address = "http://reader:${REGISTRY_PASSWORD}@127.0.0.1:1/api"
    code, out, err = printed("schema", "check", "--registry", address, "--topic", "payment=x")

    assert (code, out) == (3, "")
    assert "the schema registry at http://127.0.0.1:1/api cannot be reached" in err
    assert "s3cret" not in err


# ---- with a registry


@pytest.mark.slow
def test_a_type_is_registered_once_and_a_change_that_old_messages_do_not_bear_is_refused(folder, registry, asked):
    topic = uuid4().hex
    places = ("--registry", registry.address, "--topic", f"payment={topic}")
    assert asked("schema", "check", *places)[1]["types"][0]["words"] == "nothing is registered yet"

    code, document = asked("schema", "register", *places)
    (first,) = document["types"]
    assert (code, first["outcome"], first["subject"]) == (0, "registered", f"{topic}-value")
    assert asked("schema", "register", *places)[1]["types"] == [{**first, "outcome": "unchanged"}]
    code, document = asked("schema", "check", *places)
    assert (code, document["types"][0]["versions"], document["types"][0]["id"]) == (0, [1], first["id"])

    events = folder / "events.yaml"
    was = events.read_text("utf-8")
    events.write_text(was.replace("    payer: text\n", "    payer: text\n    branch: text\n"), "utf-8")
    code, document = asked("schema", "register", *places)
    assert (code, document["types"][0]["outcome"]) == (1, "refused")
    assert "branch: must be there, and they have no branch" in document["types"][0]["words"]
    events.write_text(was.replace("    payer: text\n", "    payer: text\n    branch: text?\n"), "utf-8")
    code, document = asked("schema", "register", *places)
    assert (code, document["types"][0]["outcome"]) == (0, "registered")
    schemas = HttpRegistry(registry.address)
    assert schemas.versions(f"{topic}-value") == [1, 2]
    schemas.close()


@pytest.mark.slow
def test_topics_and_registry_come_from_the_source_of_the_project(folder, registry, asked):
    topic = uuid4().hex
    settings = folder / "shroff.yaml"
    settings.write_text(
        f"{settings.read_text('utf-8')}\nsource:\n  kafka:\n    brokers: localhost:9092\n    format: avro\n"
        f"    topics: {{ payment: {topic} }}\n    labels: {topic}.labels\n    registry: {registry.address}\n",
        "utf-8",
    )
    code, document = asked("schema", "register")

    assert code == 0
    assert [(row["event"], row["subject"]) for row in document["types"]] == [
        ("payment", f"{topic}-value"),
        ("label", f"{topic}.labels-value"),
    ]


@pytest.mark.slow
def test_the_schema_of_another_subject_is_compared_by_name(folder, registry, asked):
    subject = f"{uuid4().hex}-value"
    schemas = HttpRegistry(registry.address)
    schemas.register(subject, json.dumps(PIPELINE))
    schemas.close()
    code, document = asked("schema", "check", "--registry", registry.address, "--subject", subject, "--as", "payment")

    assert (code, document["types"][0]["schema"], document["types"][0]["version"]) == (0, subject, 1)
