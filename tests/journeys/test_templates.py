"""Every template on its data: made, checked, read in whole, computed again."""

from __future__ import annotations

import csv
import errno
import json
import os
from collections import Counter
from itertools import islice
from pathlib import Path

import duckdb
import msgspec
import pytest

from shroff import config
from shroff.config import TEMPLATE_FOLDER
from shroff.errors import StorageError, UsageError
from shroff.features.computed import ENGINES
from shroff.services import project as app
from tests.support.log_memory_parts import quarantined

pytestmark = pytest.mark.slow

SAVINGS_LINES = """
{"eventType": "SAVING", "transactionId": "t1", "timestamp": 1767225600000, "userId": "u1", "accountId": "a1", "amount": "10000000::HUNDREDTH_CENT::ZAR"}
{"eventType": "LOGIN", "transactionId": "t2", "timestamp": 1767225660000, "userId": "u1"}
{"eventType": "WITHDRAWAL", "transactionId": "t3", "timestamp": "2026-01-01T02:00:00Z", "userId": "u1", "accountId": "a1", "amount": "98000::WHOLE_CENT::ZAR"}
{"eventType": "SAVING", "transactionId": "t4", "timestamp": 1767240000000, "userId": "u1", "accountId": "a2", "amount": "500::WHOLE_CURRENCY::ZAR"}
{"eventType": "WITHDRAWAL", "transactionId": "t5", "timestamp": 1767243600000, "userId": "u1", "accountId": "a2", "amount": "4999999::HUNDREDTH_CENT::ZAR"}
{"eventType": "SAVING", "transactionId": "t6", "timestamp": 1767243600000, "userId": "u2", "accountId": "a3", "amount": "100::HUNDREDTH_CENT::USD"}
{"eventType": "SAVING", "transactionId": "t7", "timestamp": 1767243600000, "userId": "u2", "accountId": "a3", "amount": "100::TENTH_CENT::ZAR"}
{"eventType": "SAVING", "transactionId": "t8", "timestamp": 1767243600000, "userId": "u2", "accountId": "a3", "amount": "0.5::HUNDREDTH_CENT::ZAR"}
{"eventType": "SAVING", "transactionId": "t9", "timestamp": 1767243600000, "userId": "u2", "accountId": "a3", "amount": "1000000000000000::HUNDREDTH_CENT::ZAR"}
{"eventType": "SAVING", "transactionId": "t10", "timestamp": 1767243600000, "userId": "u2", "accountId": "a3", "amount": "0.25::WHOLE_CENT::ZAR"}
{"saving": {"saving_id": "t11", "saved_at": "2026-01-02T00:00:00Z", "user": "u2", "amount": 12.5}}
"""  # noqa: E501 (lines as the app writes them)

ORDERS = """
order_id,ordered_at,customer_id,email,ip_addr,location,amount
o1,2026-01-05T10:00:00Z,c1,ann@example.com,192.0.2.1,Kiel,20.00
o2,2026-01-05T11:00:00Z,c1,Ann@example.com,192.0.2.2,Kiel,30.00
o3,2026-01-05T11:30:00Z,c2,ann@example.com,192.0.2.2,Bonn,10.00
o4,2026-01-05T12:00:00Z,c1,ann@example.org,,Kiel,40.00
o5,2026-01-05T13:00:00Z,c1,,192.0.2.1,Ulm,90.00
"""

TWELVE = "id timestamp type amount nameOrig oldbalanceOrg newbalanceOrig nameDest oldbalanceDest newbalanceDest"


@pytest.fixture
def made(tmp_path):
    """Make a project from a template; gives it when its check is passed."""

    def make(template):
        project, files = app.make_project(tmp_path / template, template)
        report = project.check()
        assert (report.errors, report.warnings) == ((), ())
        assert {"README.md", ".gitignore", "shroff.yaml", "events.yaml"} <= set(files)
        return project

    return make


@pytest.mark.parametrize("template", config.TEMPLATES)
def test_a_new_project_is_called_as_its_folder(template, tmp_path):
    project, _ = app.make_project(tmp_path / "Corner Bank", template)

    assert project.definitions.settings.name == "Corner Bank"


@pytest.mark.parametrize(
    "name", ["bank", "yes", "null", "2026", "~", "a: b # c", "it's", '"q"', "a\\b", "- x", "ÄÖ 銀行"]
)
def test_a_display_name_is_any_text(name, tmp_path):
    project, _ = app.make_project(tmp_path / "bank", "blank", name)

    assert app.open(project.context.paths.folder).definitions.settings.name == name


def test_the_tutorials_files_come_where_they_are_asked_for_and_fit(tmp_path):
    project, files = app.make_project(tmp_path / "bank", "payments", has_tutorial=True)

    assert {"tutorial/burst.jsonl", "tutorial/night.yaml"} <= set(files)
    assert (
        len([row for row in project.taking.look_at(tmp_path / "bank/tutorial/burst.jsonl", None).rows if row.event])
        == 5
    )
    with pytest.raises(UsageError, match="do not fit the template orders"):
        app.make_project(tmp_path / "shop", "orders", has_tutorial=True)
    assert not (tmp_path / "shop").exists()


def decisions(project):
    """The decisions of a project's log by id, in its order."""
    with project.log.reading() as log:
        documents = (msgspec.json.decode(row.document) for rows in log.decisions.after() for row in rows)
        return {document["id"]: document for document in documents}


def refused(project):
    with project.log.reading() as log:
        return [kept for _, kept in quarantined(log)]


def assert_computed_again(project, events, sample=60):
    """All decisions by the online engine, all features by batch, those of a sample by the definition."""
    whole, naive = project.verify(["online", "batch"]), project.verify(["naive"], sample=sample)

    assert (whole.events, whole.mismatches) == (events, 0)
    assert (naive.mismatches, naive.events >= min(sample, events)) == (0, True)


@pytest.mark.parametrize("template", config.TEMPLATES)
def test_a_template_has_an_example_of_each_type_that_is_answered_at_once(template, made):
    project = made(template)
    types = list(project.definitions.events.types)
    examples = sorted((project.context.paths.folder / "examples").glob("*.json"))
    answers = []
    for path in examples:
        fields = json.loads(path.read_text(encoding="utf-8"))
        submission = project.taking.intake(keeps_hashes=False).submit(
            path.stem, fields, source="test", place="1", raw=path.read_bytes(), is_strict=True
        )
        with project.log.writing() as (writer, _):
            answers += writer.write([submission])

    assert [path.stem for path in examples] == sorted(types)
    kinds = ["decided" if project.definitions.events.types[name].is_decided else "taken" for name in sorted(types)]
    assert [answer.kind for answer in answers] == kinds, answers


@pytest.mark.parametrize("template", config.TEMPLATES)
def test_the_readme_of_a_template_names_each_of_its_rules(template, made):
    project = made(template)
    text = (project.context.paths.folder / "README.md").read_text(encoding="utf-8")
    lacking = [rule.id for rule in project.definitions.rules if f"`{rule.id}`" not in text]

    assert lacking == []


def test_the_rule_that_the_docs_show_is_that_of_the_template(made):
    shown = (Path(__file__).parents[2] / "docs" / "howto" / "tell-people.md").read_text(encoding="utf-8")
    rules = (made("payments").context.paths.folder / "rules" / "customers.yaml").read_text(encoding="utf-8")
    (when,) = [line.strip() for line in rules.splitlines() if line.strip().startswith("when:")]

    assert when in shown


@pytest.mark.parametrize("template", config.TEMPLATES)
def test_an_example_on_one_line_is_read_as_the_readme_shows_it(template, made, tmp_path):
    project = made(template)
    for path in sorted((project.context.paths.folder / "examples").glob("*.json")):
        line = tmp_path / f"{path.stem}.jsonl"
        line.write_text(path.read_text(encoding="utf-8").replace("\n", ""), encoding="utf-8")

        report = project.ingest([line], as_type=path.stem)

        is_decided = project.definitions.events.types[path.stem].is_decided
        assert (report.events.quarantined, report.decisions) == (0, int(is_decided)), refused(project)


def test_bytecode_beside_a_script_of_a_template_is_not_copied(tmp_path, monkeypatch):
    cache = tmp_path / "templates" / "blank" / "__pycache__" / "generate.pyc"
    cache.parent.mkdir(parents=True)
    cache.write_bytes(b"")
    (cache.parents[1] / "shroff.yaml").write_text("shroff: 1\n", encoding="utf-8")
    monkeypatch.setattr(config, "TEMPLATE_FOLDER", tmp_path / "templates")

    assert [*config.template_files("blank")] == ["shroff.yaml"]


def test_every_template_is_there_by_name():
    beside = {path.name for path in TEMPLATE_FOLDER.iterdir()}

    assert set(config.TEMPLATES) == beside


def test_every_rule_of_a_template_has_a_test(made):
    for template in config.TEMPLATES:
        rules = made(template).definitions.rules

        assert [rule.id for rule in rules if not rule.tests] == []


# ---- savings


def test_savings_of_three_units_are_read_and_what_is_no_unit_is_refused(made, tmp_path):
    project = made("savings")
    file = tmp_path / "app.jsonl"
    file.write_text(SAVINGS_LINES.lstrip(), encoding="utf-8")
    report = project.ingest([file])
    found = decisions(project)
    reasons = [item.reason for item in refused(project)]

    assert (report.untaken, report.events.appended, report.events.quarantined) == (1, 7, 3)
    assert {id_: decision["features"]["account.saved_30d"] for id_, decision in found.items()} == {
        "t1": "1000.00",
        "t3": "1000.00",
        "t4": "500.00",
        "t5": "500.00",
        "t9": "100000000000.00",
        "t10": "100000000000.00",
        "t11": None,
    }
    assert found["t3"]["features"]["account.withdrawn_30d"] == "980.00"
    assert found["t5"]["features"]["account.withdrawn_30d"] == "500.00"
    assert "'100::HUNDREDTH_CENT::USD' is not a decimal number" in reasons[0]
    assert "'100::TENTH_CENT::ZAR' is not a decimal number" in reasons[1]
    assert "0.5 is not a whole number" in reasons[2]
    assert found["t5"]["rules"] == ["withdrawals_within_one_day_of_saving_events_during_one_week"]
    assert_computed_again(project, 7)


def test_fractions_of_a_cent_are_rounded_half_even_and_the_original_is_kept(made, tmp_path):
    line = SAVINGS_LINES.splitlines()[1].replace("1767225600000", "17672256{0:05}").replace('"t1"', '"t{0}"')
    cents = {"155": "0.02", "150": "0.02", "250": "0.02", "251": "0.03", "49": "0.00", "-49": "", "0": ""}
    lines = [
        line.replace("10000000::", f"{sent}::").replace("{0:05}", f"{n:05}").replace("{0}", f"{n}")
        for n, sent in enumerate(cents)
    ]
    file = tmp_path / "app.jsonl"
    file.write_text("\n".join([*lines, *(item.replace("SAVING", "WITHDRAWAL") for item in lines)]), "utf-8")
    project = made("savings")
    project.ingest([file])

    with project.log.reading() as log:
        found = [json.loads(item.body) for some in log.read() for item in some if item.kind == "event"]
    kept = [(f"{int(sent) / 10_000:.4f}".rstrip("0"), amount) for sent, amount in cents.items() if amount]
    assert [(item["exact_amount"], item["amount"]) for item in found] == 2 * kept
    assert ["exact_amount: expected a decimal number, above 0" in item.reason for item in refused(project)] == [
        True
    ] * 4


# ---- orders


def test_orders_know_the_ten_before_them(made, tmp_path):
    project = made("orders")
    file = tmp_path / "orders.csv"
    file.write_text(ORDERS.lstrip(), encoding="utf-8")
    report = project.ingest([file], as_type="order")
    features = {id_: decision["features"] for id_, decision in decisions(project).items()}

    def column(name):
        return [feature[name] for feature in features.values()]

    assert (report.events.appended, report.events.quarantined) == (5, 0)
    assert column("customer.orders_before") == [0, 1, 0, 2, 3]
    assert column("customer.emails") == [1, 1, 1, 2, 2]
    assert column("customer.ip_addrs") == [1, 2, 1, 2, 2]
    assert column("customer.same_email") == [None, True, None, False, None]
    assert column("customer.same_ip_addr") == [None, False, None, None, False]
    assert column("customer.known_ip_addr") == [False, False, False, None, True]
    assert column("customer.known_location") == [False, True, False, True, False]
    assert column("customer.amount_mean") == [None, 20.0, None, 25.0, 30.0]
    assert column("customer.amount_std")[4] == 10.0
    assert column("customer.amount_most") == [None, "20.00", None, "30.00", "40.00"]
    assert column("customer.since_last") == [None, 3600, None, 3600, 3600]
    assert column("mail.customers") == [1, 1, 2, 1, None]
    assert column("mail.same_customer") == [None, True, False, None, None]
    assert column("mail.known_location") == [False, True, False, False, None]
    assert column("mail_domain.customers_1h") == [1, 1, 2, 1, None]
    assert_computed_again(project, 5)


def test_the_eleventh_order_before_is_forgotten(made, tmp_path):
    #  place   1   2 .. 11   12
    #  town    A   B .. B    A      the order at A is the eleventh before: not among ten
    project = made("orders")
    file = tmp_path / "orders.csv"
    rows = [
        f"o{number},2026-01-{number:02d}T10:00:00Z,c1,ann@example.com,192.0.2.1,{'A' if number in {1, 12} else 'B'},10"
        for number in range(1, 13)
    ]
    file.write_text("\n".join([ORDERS.split(maxsplit=1)[0], *rows, ""]), encoding="utf-8")
    project.ingest([file], as_type="order")
    features = [decision["features"] for decision in decisions(project).values()]

    assert [feature["customer.orders_before"] for feature in features][-2:] == [10, 10]
    assert (features[10]["customer.locations"], features[11]["customer.locations"]) == (1, 2)
    assert features[11]["customer.known_location"] is False
    assert features[11]["customer.amount_sum"] == "100.00"
    assert_computed_again(project, 12)


# ---- cards


@pytest.mark.parametrize(
    ("name", "rows", "empty", "hits"),
    [
        ("creditcarddata_extract_50.csv", 50, [], {"cash_abroad": 5, "abroad_at_night": 3, "shipped_elsewhere": 5}),
        pytest.param(
            "creditcarddata_atm_usa_2429.csv",
            2_429,
            [b"#2550 318"],
            {"cash_abroad": 899, "abroad_at_night": 139},
            marks=pytest.mark.long,
        ),
    ],
)
def test_cards_are_read_whatever_their_encoding(name, rows, empty, hits, made, data):
    project = made("cards")
    report = project.ingest([data / name], as_type="payment", labels=data / name, order="time")
    again = project.ingest([data / name], as_type="payment", labels=data / name, order="time")
    kept = refused(project)
    found = decisions(project)
    taken = rows - len(empty)
    counted = Counter(rule for item in found.values() for rule in item["rules"])

    assert (report.events.read, report.events.appended, report.decisions) == (rows, taken, taken)
    assert (report.labels.appended, report.labels.pending) == (taken, len(empty))
    assert (again.events.appended, again.events.duplicates) == (0, taken)
    assert [item.raw[:9] for item in kept] == empty
    assert all("amount" in item.reason and "missing" in item.reason for item in kept)
    assert {rule: counted[rule] for rule in hits} == hits
    assert_computed_again(project, taken)


def test_cards_mend_the_bank_and_keep_the_double_ids_apart(made, data, tmp_path):
    name = "creditcarddata_atm_usa_2429.csv"
    project = made("cards")
    with (data / name).open(encoding="latin-1", newline="") as file:
        lines = list(csv.DictReader(file))
    project.ingest([data / name], as_type="payment", order="time")
    (kept,) = refused(project)
    with project.log.reading() as log:
        ids = [f"{name}:{number}" for number, line in enumerate(lines, 1) if line["Transaction ID"] == "#2842 118"]
        doubled = [msgspec.json.decode(record.body) for record in log.find("payment", ids).values()]
        bodies = (msgspec.json.decode(row.body) for rows in log.read() for row in rows if row.kind == "event")
        banks = Counter(body["bank"] for body in bodies)
    theirs = Counter(line["Bank"].replace("Barlcays", "Barclays") for line in lines if line["Amount"])

    assert [row["transaction_id"] for row in doubled] == ["#2842 118"] * 2
    assert doubled[0] != doubled[1]
    assert banks == theirs
    assert banks["Barclays"] == 977
    assert kept.raw.startswith(b"#2550 318")
    assert "missing" in kept.reason


def test_cards_in_the_order_of_the_file_are_stopped_before_anything_is_written(made, data):
    project = made("cards")
    with pytest.raises(UsageError, match="order time"):
        project.ingest([data / "creditcarddata_atm_usa_2429.csv"], as_type="payment")

    assert decisions(project) == {}


# ---- exports of Amplitude


def test_the_mapping_of_the_how_to_reads_every_line_of_an_amplitude_export(made, data):
    page = (Path(__file__).parents[2] / "docs" / "howto" / "read-amplitude-exports.md").read_text(encoding="utf-8")
    mapping = page.partition("cat > app/events.yaml <<'END'\n")[2].partition("\nEND\n")[0]
    project = made("blank")
    (project.context.paths.folder / "features.yaml").write_text("user:\n  bought_24h: count(purchase) over 24h\n")
    (project.context.paths.folder / "events.yaml").write_text(mapping)
    project.context.reload()
    found = project.ingest(data / "amplitude_export_sample.jsonl")

    assert (found.events.read, found.events.appended, found.events.quarantined, found.unmatched) == (5, 5, 0, [])
    with project.log.reading() as log:
        bodies = [json.loads(record.body) for rows in log.read() for record in rows if record.type == "purchase"]
    assert [(body["user"], body["amount"], body["bought_at"]) for body in bodies] == [
        ("user-1", "173.84", "2025-03-05T14:36:36.916Z")
    ] * 2


# ---- paysim


def test_paysim_of_twelve_columns_gives_what_eleven_give(made, data, tmp_path):
    eleven, twelve = tmp_path / "eleven.csv", tmp_path / "twelve.csv"
    names = [*TWELVE.split(), "isFraud", "isFlaggedFraud"]
    with (data / "paysim_first19998.csv").open(encoding="utf-8", newline="") as file:
        rows = list(islice(csv.DictReader(file), 400))
    with eleven.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    forms = ("2026-01-01T{:02d}:00:00Z", "2026-01-01 {:02d}:00:00")
    with twelve.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        for number, row in enumerate(rows, 1):
            at = forms[number % 2].format(int(row["step"]))
            writer.writerow({"id": f"eleven.csv:{number}", "timestamp": at, **row})
    project = made("paysim")
    first = project.ingest([eleven], as_type="payment", labels=eleven)
    second = project.ingest([twelve], as_type="payment", labels=twelve)

    assert (first.events.appended, first.labels.appended, first.events.quarantined) == (400, 400, 0)
    assert (second.events.duplicates, second.labels.duplicates, second.events.quarantined) == (400, 400, 0)
    assert_computed_again(project, 400)


@pytest.mark.long
def test_paysim_rules_on_the_shuffled_sample_have_the_known_precision_and_recall(made, data):
    file = data / "paysim_sample_51392.csv"
    project = made("paysim")
    report = project.ingest([file], as_type="payment", labels=file, order="time")
    verified = [project.verify([engine], sample=51_392) for engine in ENGINES]
    rows = duckdb.sql(f"SELECT isFraud = 1 FROM read_csv('{file}')").fetchall()
    fraud = {f"{file.name}:{number}" for number, (is_fraud,) in enumerate(rows, 1) if is_fraud}
    hit = {"large_transfer": set(), "account_emptied": set()}
    for id_, decision in decisions(project).items():
        for rule in decision["rules"]:
            hit[rule].add(id_)
    measured = {
        rule: (round(len(ids & fraud) / len(ids), 3), round(len(ids & fraud) / len(fraud), 3))
        for rule, ids in hit.items()
    }

    assert (report.events.appended, report.labels.appended, len(fraud)) == (51_392, 51_392, 1_392)
    assert measured == {"large_transfer": (0.125, 0.310), "account_emptied": (1.0, 0.975)}
    assert {(item.events, item.mismatches) for item in verified} == {(51_392, 0)}


def test_a_full_disk_leaves_nothing_of_a_project(tmp_path, monkeypatch):
    def written(path: Path, data: bytes) -> None:
        if path.name == "night.yaml":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        write(path, data)

    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", written)
    with pytest.raises(StorageError, match="Nothing was made"):
        app.make_project(tmp_path / "bank", "payments", has_tutorial=True)

    assert not (tmp_path / "bank").exists()
