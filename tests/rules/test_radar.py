"""Rules of Stripe Radar: forty of public guides, each carried over or refused with what is missing; every mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from shroff.cli.main import run
from shroff.errors import DefinitionError, UsageError
from shroff.services import project as app
from tests.support.projects import write_files

GUIDES = Path(__file__).parent / "radar" / "guides.txt"
MAPPING = Path(__file__).parent / "radar" / "mapping.yaml"
CHECK = "choice(pass, fail, unavailable, unchecked, not_provided)?"
EVENTS = f"""
payment:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    card: text hashed
    customer: text?
    email: text?
    ip: text?
    ip_country: text?
    ip_state: text?
    card_country: text?
    card_funding: choice(Credit, Debit, Prepaid, Unknown)?
    amount: money
    cvc_check: {CHECK}
    address_zip_check: {CHECK}
    address_line1_check: {CHECK}
    digital_wallet: text?
    is_off_session: boolean?
    has_cryptogram: boolean?
    billing_country: text?
    shipping_country: text?
    item_id: text?
    category_id: text?
    customer_age: integer?
    customer_trusted: text?
    foo: text?
    authentication: text?
    result: text?
entities:
  card: {{ payment: card }}
  customer: {{ payment: customer }}
  email: {{ payment: lower(payment.email) }}
  ip: {{ payment: ip }}
"""
FILES = {
    "shroff.yaml": "shroff: 1\nname: shop\nmoney: USD\n",
    "events.yaml": EVENTS,
    "features.yaml": "ip:\n  burst: count(payment) over 1h\n",
    "rules/own.yaml": "- { id: block_amount_in_usd, on: payment, by: card, when: this.amount > 9_999, effect: note }\n",
    "lists/card_countries_to_block.csv": "value,note,added_by,expires_at\nKP,,,\n",
    "lists/proxies.csv": "value,note,added_by,expires_at\n192.0.2.1,,,\n",
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_files(tmp_path / "shop", FILES)


def imported(shop: Path, text: str, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """What the command says of some rules."""
    file = shop.parent / "rules.txt"
    file.write_text(text, encoding="utf-8")
    capsys.readouterr()
    code = run(["-C", str(shop), "import-rules", str(file), "--json", *options])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)

    assert code == (1 if found["refused"] else 0), found
    return found


def carried(shop: Path, text: str, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    """The condition of one rule that is carried over."""
    found = imported(shop, text, capsys, *options)

    assert found["refused"] == []
    return str(found["carried"][-1]["when"])


# ---- the guides

ALLOWED = "not (this.customer_trusted == 'true' else false)"
COUNTRIES = " or ".join(f"upper(this.card_country) == '{item}'" for item in ("CA", "DE", "AE"))
STARTS_AND_ENDS = "starts_with(lower(this.email), 'fraud') and ends_with(lower(this.email), '@stripe.com')"
CARRIED = {
    6: ("block_amount_in_usd_2", f"this.amount > 1000 and {ALLOWED}"),
    7: ("block_card_country_ip_country", f"upper(this.card_country) != upper(this.ip_country) and {ALLOWED}"),
    8: ("review_customer_age", "this.customer_age < 30"),
    9: ("review_item_id_amount_in_usd", "this.item_id == '5A381D' and this.amount > 1000"),
    10: ("review_category_id", "this.category_id in ['groceries', 'electronics', 'clothing']"),
    11: ("review_item_id", "contains(this.item_id, 'A381')"),
    12: ("allow_customer_trusted", "this.customer_trusted == 'true'"),
    14: ("block_ip_state", f"upper(this.ip_state) == 'CA' and {ALLOWED}"),
    15: ("block_address_line1_check", f"this.address_line1_check == 'fail' and {ALLOWED}"),
    16: ("block_cvc_check", f"this.cvc_check != 'pass' and {ALLOWED}"),
    17: ("block_address_zip_check", f"this.address_zip_check in ['fail', 'not_provided'] and {ALLOWED}"),
    18: ("block_card_country", f"({COUNTRIES}) and {ALLOWED}"),
    19: ("block_card_country_2", f"upper(this.card_country) in ['CA', 'DE', 'AE'] and {ALLOWED}"),
    20: ("block_card_country_3", f"upper(this.card_country) in lists.card_countries_to_block and {ALLOWED}"),
    21: ("block_email_domain", f"domain(this.email) == 'definitelyfraud.com' and {ALLOWED}"),
    22: ("review_email_domain", "domain(this.email) != 'definitelysafe.com'"),
    23: ("review_email_domain_2", "domain(this.email) is missing"),
    24: ("review_foo", "this.foo is not missing"),
    25: (
        "review_email_domain_3",
        "domain(this.email) is missing or domain(this.email) in ['yopmail.net', 'yandex.ru']",
    ),
    26: ("block_email", f"{STARTS_AND_ENDS} and length(lower(this.email)) >= 16 and {ALLOWED}"),
    27: ("review_ip_address", "contains(lower(this.ip), '192.168')"),
    36: ("challenge_foo", "this.foo == 'bar'"),
    37: ("challenge_seconds_since_card_first_seen", "card.since_first is missing"),
    38: ("challenge_is_new_card_on_customer", "customer.times_with_card == 0"),
    42: ("block_total_charges_per_ip_address_hourly", f"ip.burst > 5 and {ALLOWED}"),
    43: ("review_total_charges_per_card_number_daily_amount_in_usd", "card.payments_24h > 1 and this.amount > 100"),
    44: ("block_card_count_for_email_daily", f"email.cards_24h > 2 and {ALLOWED}"),
    49: (
        "review_billing_address_country_shipping_address_country",
        "upper(this.billing_country) != upper(this.shipping_country)",
    ),
    50: (
        "review_card_funding_hours_since_card_first_seen",
        "this.card_funding == 'Prepaid' and card.since_first < 24h",
    ),
    51: (
        "review_average_usd_amount_attempted_on_card_all_time_card_funding",
        "card.mean_amount < 50 and not this.card_funding == 'Debit'",
    ),
}
REFUSED = {
    13: "::destination:Category::",
    30: ":risk_level:",
    31: ":risk_level:",
    32: ":is_3d_secure:",
    35: ":is_3d_secure:",
    39: "@enforce_3ds_list",
    45: ":declined_charges_per_card_number_daily:",
    46: ":blocked_charges_per_ip_address_daily:",
    47: ":risk_score:",
    48: ":is_anonymous_ip:",
}


def test_forty_rules_of_public_guides_are_carried_over_or_refused_by_name(shop, capsys):
    found = imported(shop, GUIDES.read_text(encoding="utf-8"), capsys)

    assert {item["line"]: (item["id"], item["when"]) for item in found["carried"]} == CARRIED
    assert {item["line"]: item["attribute"] for item in found["refused"]} == REFUSED
    assert len(CARRIED) + len(REFUSED) == 40
    assert all(item["hint"] for item in found["refused"])
    assert found["features"] == {
        "card.since_first": "this.at - first(payment.at)",
        "customer.times_with_card": "count(payment where payment.card == this.card)",
        "card.payments_24h": "count(payment) over 24h",
        "email.cards_24h": "distinct(payment.card) over 24h",
        "card.mean_amount": "mean(payment.amount)",
    }


@pytest.mark.parametrize(
    "condition", [":amount_in_usd: > 'abc'", ":email:", ":amount_in_usd: LIKE '5%'", ":amount_in_usd: in @mails"]
)
def test_an_attribute_that_is_there_and_used_wrongly_is_not_told_as_missing(condition, shop, capsys):
    found = imported(shop, f"Block if {condition}\n", capsys)

    assert [item["attribute"] for item in found["refused"]] == [""]
    assert found["missing"] == {}


def test_what_a_mapping_says_of_the_others_carries_them_over_too(shop, capsys):
    found = imported(shop, GUIDES.read_text(encoding="utf-8"), capsys, "--map", str(MAPPING))
    whens = {item["line"]: item["when"] for item in found["carried"]}

    assert found["refused"] == []
    assert len(whens) == 40
    assert whens[47] == "score * 100 > 65"
    assert whens[48] == f"this.ip in lists.proxies and {ALLOWED}"
    assert whens[45] == f"card.declined_payments_24h > 2 and {ALLOWED}"
    assert found["features"]["ip.blocked_payments_24h"] == "count(payment where payment.result == 'blocked') over 24h"


def test_the_draft_loads_with_the_project_and_its_rules_hit(shop, capsys):
    out = shop.parent / "drafts"
    found = imported(shop, GUIDES.read_text(encoding="utf-8"), capsys, "--out", str(out), "--shadow")
    shutil.copy(out / "rules.yaml", shop / "rules" / "radar.yaml")
    features = (shop / "features.yaml").read_text() + (out / "features.yaml").read_text().replace("\nip:\n", "\n")
    (shop / "features.yaml").write_text(features, encoding="utf-8")
    report = app.open(shop).check()
    known = {"card": "c-1", "amount": "1500.00", "card_country": "de", "email": "FRAUD.1@stripe.com"}
    payment = {"id": "p-1", "at": "2026-01-05T08:30:00Z", **known}
    (decision,) = app.open(shop).decide([payment], as_type="payment")

    assert report.errors == ()
    assert sorted(Path(file).name for file in found["files"]) == ["features.yaml", "rules.yaml"]
    assert decision.outcome == "approve"
    assert set(decision.shadow_rules) == {
        "block_amount_in_usd_2",
        "block_card_country",
        "block_card_country_2",
        "block_email",
        "challenge_seconds_since_card_first_seen",
        "review_email_domain",
    }


def test_in_the_folder_of_drafts_each_rule_is_a_draft(shop, capsys):
    rules = "Block if :amount_in_usd: > 5\nReview if :total_charges_per_card_number_hourly: > 5\n"
    found = imported(shop, rules, capsys, "--out", str(shop / "rules" / ".." / "drafts"))
    project = app.open(shop)
    plain, counting = drafts = project.drafts.all()
    names = ["features.yaml", *(f"{draft.id}.yaml" for draft in drafts)]

    assert [draft.id for draft in drafts] == sorted(item["id"] for item in found["carried"])
    assert sorted(Path(file).name for file in found["files"]) == sorted(names)
    assert project.drafts.check(plain.id, plain.text).is_ok
    (mistake,) = project.drafts.check(counting.id, counting.text).mistakes
    assert "reads 'card.payments_1h', which no feature declares" in mistake.message
    own, theirs = (item / "features.yaml" for item in (shop, shop / "drafts"))
    own.write_text(own.read_text(encoding="utf-8") + theirs.read_text(encoding="utf-8"), encoding="utf-8")
    assert project.drafts.check(counting.id, counting.text).is_ok

    with pytest.raises(UsageError, match="and not features or policy"):
        project.drafts.write("features", "- id: features\n", "", [])


# ---- mistakes

MISTAKES = {
    "Block if :risk_level: < 'highest'": (10, "takes = and != only"),
    "Block if :ip_country: = 'Canada'": (25, "'Canada' is not a code of a country"),
    "Block if :amount_in_usd: >= 'one thousand dollars'": (29, "'one thousand dollars' is a text"),
    "Block if :is_off_session: = 'true'": (10, "is a boolean: write it without a comparison"),
    "Block if :card_funding:": (10, "is choice, no truth"),
    "Block if :card_funding: = 'gift'": (27, "is never 'gift' here"),
    "Block if :card_fingerprint: = 'abc'": (31, "is hashed, so no rule can name a value"),
    "Block if :amount_in_eur: > 5": (10, "is in EUR, and this project's money is USD"),
    "Block if :card_contry: = 'US'": (10, ":card_contry: is not known."),
    "Block if ::Item ID:: > 5": (10, "takes = and != only"),
    "Block if ::Customer Age:: = '30'": (29, "'30' is a text"),
    "Block if :amount_in_usd: in @large": (10, "lists hold texts"),
    "Block if :email: in @mails": (21, "there is no list mails."),
    "Block if :email: LIKE 'a%b%c'": (23, "has too many parts"),
    "Block if :amount_in_usd: LIKE '5%'": (10, "LIKE looks into a text"),
    "Block if :total_charges_per_billing_address_daily: > 1": (10, "needs an entity for billing address"),
    "Block if :name_count_for_card_weekly: > 1": (10, "payment has nothing that says a name"),
    "Block if :authorized_charges_per_customer_hourly: > 1": (10, "nothing in the log says"),
    "Block if :hours_since_customer_was_created: < 1": (10, "is not known"),
    f"Block if :hours_since_card_first_seen: < {'9' * 4_500}": (42, "is not a span of whole milliseconds"),
    f"Block if :amount_in_usd: > {'9' * 700}": (1, "too many digits"),
    "Block :amount_in_usd: > 5": (1, "this is not a rule."),
    "Bloc if :amount_in_usd: > 5": (1, "this is not a rule."),
    "Block if :amount_in_usd: == 5": (26, "'==' is not an operator."),
    "Block if amount_in_usd > 5": (10, "expected an attribute"),
    "Block if :amount_in_usd > 5": (10, "an attribute has a colon on both sides."),
    "Block if :email: = 'a": (20, "this text has no end."),
    "Block if :card_country: = US": (27, "expected a text in quotes"),
    "Block if :amount_in_usd: > 5 :email: = 'a'": (30, "the condition is over before ':email:'."),
    "Block if (:amount_in_usd: > 5": (30, "expected ')', found 'the end'."),
    "Block if :card_country: in 'US'": (28, "expected a list."),
    "Block if :amount_in_usd: > $5": (28, "'$' means nothing here."),
    "Block if " + "(" * 50 + ":is_off_session:" + ")" * 50: (50, "at most 40 deep"),
    "Block if " + " or ".join([":amount_in_usd: > 5"] * 300): (1, "at most 5,000 characters"),
}


@pytest.mark.parametrize("rule", MISTAKES, ids=lambda rule: rule[:50])
def test_what_cannot_be_carried_over_is_told_at_its_place_and_the_others_are(rule, shop, capsys):
    column, words = MISTAKES[rule]
    mapped = shop.parent / "mapping.yaml"
    mapped.write_text("attributes: { risk_level: \"'normal'\" }\n", encoding="utf-8")
    found = imported(shop, f"Review if :amount_in_usd: > 1\n\n{rule}\n", capsys, "--map", str(mapped))
    (refused,) = found["refused"]

    assert [item["id"] for item in found["carried"]] == ["review_amount_in_usd"]
    assert (refused["file"], refused["line"], refused["column"]) == ("rules.txt", 3, column)
    assert words in refused["message"]
    assert refused["rule"] == rule


def test_a_rule_may_go_on_in_further_lines_and_has_remarks(shop, capsys):
    text = "# one\nBlock if :amount_in_usd: > 5  # large\n  AND :email: = 'A#B'\nand :ip_address: = '1'\n"
    found = imported(shop, text, capsys)

    assert found["carried"][0]["rule"] == "Block if :amount_in_usd: > 5 AND :email: = 'A#B' and :ip_address: = '1'"
    assert found["carried"][0]["when"] == "this.amount > 5 and lower(this.email) == 'a#b' and lower(this.ip) == '1'"


PRECEDENCE = {
    "Block if :is_off_session: or not :has_cryptogram: and :amount_in_usd: > 5": (
        "this.is_off_session or not this.has_cryptogram and this.amount > 5"
    ),
    "Block if (:is_off_session: || !:has_cryptogram:) && :amount_in_usd: > 5": (
        "(this.is_off_session or not this.has_cryptogram) and this.amount > 5"
    ),
    "Block if not (:is_off_session: and :amount_in_usd: > 5)": ("not (this.is_off_session and this.amount > 5)"),
    "Block if not :amount_in_usd: > 5": "not this.amount > 5",
    "Block if :card_country: not in ('us')": "upper(this.card_country) not in ['US']",
    'Block if :email: = "o\'brien@x.org"': "lower(this.email) == 'o''brien@x.org'",
    "Block if :email: LIKE '%+%'": "contains(lower(this.email), '+')",
    "Block if :email: LIKE '%'": "lower(this.email) is not missing",
    "Block if :email: LIKE 'a@b.c'": "lower(this.email) == 'a@b.c'",
    "Block if :minutes_since_card_first_seen: < 1.5": "card.since_first < 1m30s",
    "Block if :total_customers_for_card_weekly: > 2": "card.customers_7d > 2",
    "Block if :dispute_count_on_card_number_yearly: >= 1": "card.disputes_365d >= 1",
}


@pytest.mark.parametrize("rule", PRECEDENCE, ids=lambda rule: rule[:50])
def test_a_rule_is_what_it_says_in_the_language(rule, shop, capsys):
    assert carried(shop, rule, capsys) == PRECEDENCE[rule]


def test_what_an_allow_rule_lets_through_no_block_rule_of_the_file_declines(shop, capsys):
    text = "Block if :amount_in_usd: > 5\nAllow if :amount_in_usd: < 10\nAllow if :ip_address: = '1'\n"
    found = imported(shop, text + "Request 3DS if :amount_in_usd: > 1\n", capsys)
    (decline, *others) = found["carried"]

    assert decline["when"] == ("this.amount > 5 and not (this.amount < 10 or lower(this.ip) == '1' else false)")
    assert [other["effect"] for other in others] == ["allow", "allow", "challenge"]
    assert found["notes"] == ["An allow rule cancels a challenge here; in Radar 3D Secure is requested all the same."]


def test_rules_flag_what_they_count_by_or_whom_they_are_told_to(shop, capsys):
    text = "Block if :total_charges_per_email_daily: > 5\nBlock if :amount_in_usd: > 5\n"

    assert [line["by"] for line in imported(shop, text, capsys)["carried"]] == ["email", "card"]
    assert [line["by"] for line in imported(shop, text, capsys, "--by", "ip")["carried"]] == ["ip", "ip"]


def test_what_radar_counts_whatever_its_case_is_not_counted_by_an_entity_that_tells_capitals_apart(shop, capsys):
    rules = "Block if :total_charges_per_email_daily: > 5\nBlock if :hours_since_email_first_seen: < 1\n"
    (shop / "events.yaml").write_text(EVENTS.replace("lower(payment.email)", "email"), encoding="utf-8")
    mapped = shop.parent / "mapping.yaml"
    mapped.write_text("entities: { email: email }\n", encoding="utf-8")
    found = imported(shop, rules, capsys)
    named = imported(shop, rules, capsys, "--map", str(mapped))

    assert [item["line"] for item in found["refused"]] == [1, 2]
    assert "such as 'email: { payment: lower(payment.email) }'" in found["refused"][0]["hint"]
    assert [row["line"] for row in named["carried"]] == [1, 2]
    assert all("and entity email tells capitals apart." in note for note in named["notes"])
    assert len(named["notes"]) == 2


def test_values_of_lists_stand_in_the_case_in_which_they_are_compared(shop, capsys):
    found = imported(shop, "Block if :email_domain: in @proxies\nBlock if :item_id: in @proxies\n", capsys)

    assert found["notes"] == ["Values of lists/proxies.csv must be in lower case: :email_domain: is compared so."]


def test_wrong_use_is_told(shop, tmp_path):
    project, rules = app.open(shop), tmp_path / "rules.txt"
    rules.write_text("Block if :amount_in_usd: > 5\n", encoding="utf-8")
    mapping = tmp_path / "mapping.yaml"
    mapping.write_text("attribute: {}\nentities: { mail: card }\n", encoding="utf-8")

    with pytest.raises(UsageError, match="'paiment' is not an event type"):
        project.rules.import_rules(rules, event="paiment")
    with pytest.raises(UsageError, match="'merchant' is not an entity with a key in payment"):
        project.rules.import_rules(rules, by="merchant")
    with pytest.raises(UsageError, match="cannot be read"):
        project.rules.import_rules(tmp_path / "none.txt")
    with pytest.raises(DefinitionError, match="has no key 'attribute'") as raised:
        project.rules.import_rules(rules, mapping=mapping)
    assert any("'mail' is none of Radar's entities" in problem.message for problem in raised.value.problems)
    mapping.write_text("attributes: { risk_score: this.nothing }\n", encoding="utf-8")
    rules.write_text("Block if :risk_score: > 5\n", encoding="utf-8")
    (refused,) = project.rules.import_rules(rules, mapping=mapping).outcome.refused
    assert "'nothing'" in refused.problem.message


def test_nothing_is_overwritten(shop, capsys):
    out = shop.parent / "drafts"
    imported(shop, "Block if :amount_in_usd: > 5\n", capsys, "--out", str(out))
    before = (out / "rules.yaml").read_bytes()

    assert run(["-C", str(shop), "import-rules", str(shop.parent / "rules.txt"), "--out", str(out)]) == 2
    assert "exists already and is not overwritten" in capsys.readouterr().err
    assert (out / "rules.yaml").read_bytes() == before


def test_no_rule_comes_past_a_second_person(shop, capsys):
    file, settings = shop.parent / "rules.txt", shop / "shroff.yaml"
    file.write_text("Block if :amount_in_usd: > 5\n", encoding="utf-8")
    settings.write_text(settings.read_text(encoding="utf-8") + "second_person: [rules]\n", encoding="utf-8")
    before = sorted((shop / "rules").iterdir())

    assert run(["-C", str(shop), "import-rules", str(file), "--out", str(shop / "drafts" / ".." / "rules")]) == 2
    assert "a second person approves rules here" in capsys.readouterr().err
    assert sorted((shop / "rules").iterdir()) == before
    imported(shop, "Block if :amount_in_usd: > 5\n", capsys, "--out", str(shop.parent / "drafts"))
