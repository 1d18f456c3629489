"""Rules of Amazon Fraud Detector: forty in the forms of its documentation, with the hits of another evaluator."""

from __future__ import annotations

import ast
import json
import random
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from shroff.cli.main import run
from shroff.services import project as app
from tests.support.projects import write_files

ORDERS = Path(__file__).parent / "detector" / "orders.json"
EVENTS = """
order:
  id: id
  time: at
  decide: true
  fields:
    id: text
    at: time
    account: text
    order_price: number
    shipping_price: number
    items: integer
    billing_country: text
    ip_country: text
    currency: text
    email_address: text?
    phone_number: text?
    billing_postal: text
    user_agent: text
    is_guest: boolean
    example_score: integer
entities:
  account: { order: account }
"""
HEAD = "value,note,added_by,expires_at\n"
FILES = {
    "shroff.yaml": "shroff: 1\nname: shop\nmoney: USD\n",
    "events.yaml": EVENTS,
    "lists/blocked_mails.csv": f"{HEAD}eve@bad.example,,,\n",
    "lists/high_risk_countries.csv": f"{HEAD}NG,,,\nKP,,,\n",
}
LISTS = {"blocked_mails": {"eve@bad.example"}, "high_risk_countries": {"NG", "KP"}}
MAPPING = "outcomes: { send_to_team: review }\n"
EFFECTS = {"allow": 0, "challenge": 1, "review": 2, "decline": 3}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "map.yaml").write_text(MAPPING, encoding="utf-8")
    return write_files(tmp_path / "shop", FILES)


def imported(shop: Path, file: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    capsys.readouterr()
    run(["-C", str(shop), "import-rules", str(file), "--map", str(shop.parent / "map.yaml"), "--json", *options])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def drawn(chance: random.Random, number: int) -> dict[str, Any]:
    """An order with values near those that the rules name."""
    mails = ["eve@bad.example", "Ann@Gmail.com", "bob123@shop.example", "test@x.example", None]
    return {
        "id": f"o-{number}",
        "at": f"2026-01-05T08:{number // 60 % 60:02}:{number % 60:02}Z",
        "account": f"a-{number % 7}",
        "order_price": chance.choice([4, 20, 49.5, 101, 350, 420, 501, 950, 1000, 2500]),
        "shipping_price": chance.choice([0, 4.5, 12]),
        "items": chance.choice([1, 2, 4, 5, 10, 25]),
        "billing_country": chance.choice(["US", "DE", "AT", "NG", "CA"]),
        "ip_country": chance.choice(["US", "DE", "KP", "GB"]),
        "currency": chance.choice(["EUR", "eur", "GBP", "USD"]),
        "phone_number": chance.choice(["+14155550100", "004930", None]),
        "email_address": chance.choice(mails),
        "billing_postal": chance.choice(["10115", "SW1A"]),
        "user_agent": chance.choice(["Curl", "Mozilla"]),
        "is_guest": chance.choice([True, False]),
        "example_score": chance.choice([50, 500]),
    }


# ---- an evaluator of their language by Python's own parser: what is missing spreads


def expected(expression: str, order: Mapping[str, Any]) -> bool:
    text = expression.replace("&&", " and ").replace("||", " or ")
    text = re.sub(r"!(?!=)", " not ", text).replace("null", "None").replace("true", "True").replace("false", "False")
    text = re.sub(r"\$(\w+)", r"order['\1']", text)
    text = re.sub(r" in @(\w+)", r" in lists['\1']", text)
    text = re.sub(r'regex_match\("', 'regex_match(r"', text)
    return evaluated(ast.parse(text.strip(), mode="eval").body, order) is True


def evaluated(node: ast.expr, order: Mapping[str, Any]) -> Any:
    match node:
        case ast.BoolOp(ast.And(), parts):
            found = [evaluated(part, order) for part in parts]
            return False if False in found else None if None in found else True
        case ast.BoolOp(_, parts):
            found = [evaluated(part, order) for part in parts]
            return True if True in found else None if None in found else False
        case ast.UnaryOp(ast.Not(), part):
            found = evaluated(part, order)
            return None if found is None else not found
        case ast.Compare(left, [sign], [ast.Constant(None)]):
            return (evaluated(left, order) is None) == isinstance(sign, ast.Eq)
        case ast.Compare(left, [sign], [right]):
            return spread(COMPARED[type(sign)], evaluated(left, order), evaluated(right, order))
        case ast.BinOp(left, sign, right):
            return spread(RECKONED[type(sign)], evaluated(left, order), evaluated(right, order))
        case ast.Call(ast.Name(name), arguments):
            return spread(CALLED[name], *(evaluated(argument, order) for argument in arguments))
        case ast.Subscript(ast.Name("order"), ast.Constant(name)):
            return order[str(name)]
        case ast.Subscript(_, ast.Constant(name)):
            return LISTS[str(name)]
        case ast.List(parts):
            return [evaluated(part, order) for part in parts]
        case ast.Constant(value):
            return value
    raise AssertionError(ast.dump(node))


def spread(function: Callable[..., Any], *values: Any) -> Any:
    return None if None in values else function(*values)


COMPARED: dict[type, Callable[..., Any]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
RECKONED: dict[type, Callable[..., Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Mod: lambda a, b: a % b,
}
CALLED: dict[str, Callable[..., Any]] = {
    "lowercase": str.lower,
    "uppercase": str.upper,
    "regex_match": lambda pattern, text: re.fullmatch(pattern, text) is not None,
}


# ---- tests


@pytest.mark.slow
def test_thirty_seven_of_forty_are_carried_and_hit_as_their_own_language_has_it(shop, capsys):
    out = shop.parent / "out"
    found = imported(shop, ORDERS, capsys, "--out", str(out), "--shadow")
    rules = json.JSONDecoder().raw_decode(ORDERS.read_text("utf-8"))[0]["ruleDetails"]
    carried = {
        each["id"]: rule["expression"]
        for rule in rules
        for each in found["carried"]
        if each["rule"] == rule["expression"]
    }
    (shop / "rules").mkdir()
    shutil.copy(out / "orders.yaml", shop / "rules" / "orders.yaml")
    chance = random.Random(7)
    orders = [drawn(chance, number) for number in range(200)]
    decisions = app.open(shop).decide(orders, as_type="order")

    assert len(carried) == len(found["carried"]) == 37
    assert {each["attribute"] or each["message"] for each in found["refused"]} == {
        "$ofi_model_insightscore",
        "$loyalty_level",
        "the pattern '(a+)+b' is more than the language has.",
    }
    assert "loyalty_level: text?" in str(found["refused"])
    hits = [sorted(decision.shadow_rules) for decision in decisions]
    assert hits == [sorted(name for name, text in carried.items() if expected(text, order)) for order in orders]
    assert len({name for names in hits for name in names}) >= 34


def test_of_rules_that_match_first_the_first_decides(shop, capsys):
    rules = [
        ("a", "$order_price > 2000", "review"),
        ("b", '$billing_country == "DE"', "approve"),
        ("c", "$items >= 5", "verify_customer"),
        ("d", '$ip_country == "KP"', "block_order"),
        ("e", "$order_price > 300", "review"),
        ("f", "$phone_number == null", "approve"),
    ]
    details = [{"ruleId": name, "expression": text, "outcomes": [outcome]} for name, text, outcome in rules]
    file = shop.parent / "first.json"
    file.write_text(json.dumps({"ruleDetails": details, "ruleExecutionMode": "FIRST_MATCHED"}), encoding="utf-8")
    found = imported(shop, file, capsys, "--out", str(shop.parent / "out"))
    (shop / "rules").mkdir()
    shutil.copy(shop.parent / "out" / "first.yaml", shop / "rules" / "first.yaml")
    chance = random.Random(8)
    orders = [drawn(chance, number) for number in range(150)]
    decisions = app.open(shop).decide(orders, as_type="order")
    effects = {each["id"]: each["effect"] for each in found["carried"]}
    matched = [next((name for name, text, _ in rules if expected(text, order)), "") for order in orders]

    outcomes = ["approve" if effects.get(name, "allow") == "allow" else effects[name] for name in matched]
    assert found["refused"] == []
    assert [decision.outcome for decision in decisions] == outcomes
    assert set(outcomes) == {"approve", "challenge", "review", "decline"}


@pytest.mark.parametrize(
    ("expression", "outcome", "words"),
    [
        ("$order_price > ", "review", "expected a value, found 'the end'"),
        ("$order_price # 5", "review", "'#' means nothing here"),
        ("$order_price > 5 6", "review", "the condition is over before '6'"),
        ("$billing_country > 5", "review", "in the language it is"),
        ("$email_address in @nobody", "review", "there is no list nobody"),
        ("$order_price > 5", "to_be_seen", "nothing says what the outcome to_be_seen does"),
        ("$order_price > 5", "not_fraud", "nothing says what the outcome not_fraud does"),
        ("$order_price > 5", "low-fraud_risk", "nothing says what the outcome low-fraud_risk does"),
        ("$order_price > 5", "disapproved", "nothing says what the outcome disapproved does"),
        ("exists($order_price)", "review", "expected a value, found 'exists'"),
        ("regex_match($email_address, 'a')", "review", "regex_match takes a pattern in quotes"),
    ],
)
def test_what_cannot_be_carried_over_is_told_at_its_rule(shop, capsys, expression, outcome, words):
    details = [{"ruleId": "good", "expression": "$items > 1", "outcomes": ["review"]}]
    details.append({"ruleId": "bad", "expression": expression, "outcomes": [outcome]})
    file = shop.parent / "rules.json"
    file.write_text(json.dumps({"ruleDetails": details}, indent=1), encoding="utf-8")
    found = imported(shop, file, capsys)

    (refused,) = found["refused"]
    assert words in refused["message"]
    assert refused["line"] == 11
    assert [rule["id"] for rule in found["carried"]] == ["good"]


@pytest.mark.parametrize(("used", "limit"), [("9", "90"), ("", "100")])
def test_of_several_versions_of_a_rule_the_one_counts_that_the_detector_uses_else_the_latest(shop, capsys, used, limit):
    details = [
        {"ruleId": "many", "ruleVersion": version, "expression": f"$items > {version}0", "outcomes": ["review"]}
        for version in ("10", "9", "2")
    ]
    detector = {"rules": [{"ruleId": "many", "ruleVersion": used}]} if used else {}
    file = shop.parent / "rules.json"
    file.write_text(json.dumps({"ruleDetails": details, **detector}), encoding="utf-8")

    (carried,) = imported(shop, file, capsys)["carried"]
    assert carried["when"].endswith(f"> {limit}")


@pytest.mark.parametrize("text", ['{"rules": []}', "{", '{"ruleDetails": 5}', "{} []"])
def test_another_document_is_refused(shop, capsys, text):
    file = shop.parent / "rules.json"
    file.write_text(text, encoding="utf-8")

    assert run(["-C", str(shop), "import-rules", str(file)]) == 2
    assert "aws frauddetector get-rules" in capsys.readouterr().err
