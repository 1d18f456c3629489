"""model.yaml: what it may say, what is there without it, and every mistake with its place and its cure."""

from __future__ import annotations

import pytest

from shroff.language.values import DAY_MS
from shroff.models.definitions import DailyCapacity, ModelGate, Split
from shroff.models.keys import PARAMETERS, parameters_of
from shroff.models.metrics import METRICS
from shroff.project.definitions import load_definitions
from shroff.project.policy import Policy
from tests.support.projects import FILES as SMALL

FILES = {
    "shroff.yaml": SMALL["shroff.yaml"],
    "events.yaml": """
payment:
  id: payment_id
  time: paid_at
  decide: true
  fields:
    payment_id: text
    paid_at: time
    card: text hashed
    merchant: text
    arn: integer? unique
    amount: money
    weight: real
    wait: duration?
    is_new: boolean
    country: text?
    channel: choice(pos, web)
login:
  id: id
  time: at
  decide: false
  fields: { id: text, at: time, user: text }
entities:
  card: { payment: card }
  merchant: { payment: merchant }
  user: { login: user }
""",
    "features.yaml": """
card:
  payments_1h: count(payment) over 1h
  spent_24h: sum(payment.amount) over 24h
  spent_7d: sum(payment.amount) over 7d
  last_country: last(payment.country) over 7d
  last_at: last(payment.paid_at) over 7d
  since_last: this.paid_at - card.last_at
merchant:
  last_card: last(payment.card) over 7d
  known_card: last(payment.card) over 7d == this.card
user:
  logins_1h: count(login) over 1h
""",
    "policy.yaml": """
payment:
  costs: { missed_fraud: payment.amount, false_decline: 15, review: 4.5, reviews_a_day: 100 }
""",
}


def loaded(model, **files):
    changed = {f"{name}.yaml": text for name, text in files.items()}
    return load_definitions({**FILES, **changed, "model.yaml": model})


def model_of(model, **files):
    return loaded(model, **files).or_raise().models["payment"]


def settings(*lines, **files):
    """The model of payments with these lines under its event type."""
    return model_of("payment:\n" + "".join(f"  {line}\n" for line in lines), **files)


def problems(*lines, **files):
    """What is wrong with these lines, the first of which is the second of the file: (line, column, path, all words)."""
    found = loaded("payment:\n" + "".join(f"  {line}\n" for line in lines), **files).problems
    assert {item.file for item in found} <= {"model.yaml"}
    return [
        (item.line, item.column, item.path.removeprefix("payment."), f"{item.message} {item.hint}".strip())
        for item in found
    ]


def problem(*lines, **files):
    """The words of the one mistake in these lines."""
    ((*_, words),) = problems(*lines, **files)
    return words


def names(found):
    return [item.name for item in found]


# ---- inputs


def test_a_model_without_settings_reads_what_can_be_read_and_has_the_defaults():
    model = model_of("payment: {}\n")

    assert names(model.inputs) == [
        *("payment.amount", "payment.weight", "payment.wait", "payment.is_new", "payment.channel"),
        *("card.payments_1h", "card.spent_24h", "card.spent_7d", "card.last_country", "card.since_last"),
        "merchant.known_card",
    ]
    assert model.split == Split(28 * DAY_MS, 7 * DAY_MS, 7 * DAY_MS, 4)
    assert (model.label_delay_ms, model.learner, model.capacity) == (7 * DAY_MS, "xgboost", None)
    assert model.gates == (
        ModelGate("average_precision", above_champion_by="noise"),
        ModelGate("leak_test", is_required=True),
    )
    assert (model.parameters, model.search, model.calibration) == ({}, {}, "auto")
    assert (model.negatives_kept, model.friendly_reasons, model.give_away) == (1.0, frozenset(), ())
    assert (names(model.slices), model.seed) == (["payment.is_new", "payment.channel"], 1)


def test_defaults_are_what_the_patterns_of_the_event_and_its_entities_find():
    assert settings("inputs: [payment.*, card.*, merchant.*]").inputs == model_of("payment: {}\n").inputs


@pytest.mark.parametrize(
    "pattern, found",
    [
        ("card.spent_*", ["card.spent_24h", "card.spent_7d"]),
        ("card.*_24h", ["card.spent_24h"]),
        ("this.w*", ["payment.weight", "payment.wait"]),
    ],
)
def test_a_pattern_finds_names_that_begin_or_end_so(pattern, found):
    assert names(settings(f"inputs: [{pattern}]").inputs) == found


def test_patterns_may_overlap_and_each_input_stands_once():
    inputs = settings("inputs: [card.spent_*, card.*_24h, card.*]").inputs

    assert names(inputs) == [
        *("card.spent_24h", "card.spent_7d", "card.payments_1h", "card.last_country", "card.since_last")
    ]


def test_an_input_is_named_in_one_spelling():
    inputs = settings(
        "inputs:", "  - hour( this.paid_at )", "  - this.amount>10 * card.spent_24h", "  - this.country"
    ).inputs

    assert names(inputs) == [*("hour(payment.paid_at)", "payment.amount > 10 * card.spent_24h", "payment.country")]


def test_a_pattern_says_which_features_it_leaves_out():
    warnings = loaded("payment:\n  inputs: [card.*, merchant.*]\n").warnings

    assert [
        (warning.path, warning.message.partition(":")[0], warning.hint)
        for warning in warnings
        if warning.file == "model.yaml"
    ] == [
        ("payment.inputs[0]", "'card.*' leaves out card.last_at", "Write hour(card.last_at) or weekday(card.last_at)."),
        (
            "payment.inputs[1]",
            "'merchant.*' leaves out merchant.last_card",
            "Use a feature that counts or compares what matters about it.",
        ),
    ]


@pytest.mark.parametrize(
    "written, words",
    [
        ("payment.amout", "payment.amout reads 'amout', which is not a field of payment. Did you mean amount?"),
        (
            "card.spend_24h",
            "an input of payment reads 'card.spend_24h', which no feature declares. Did you mean card.spent_24h?",
        ),
        ("cards.*", "'cards' is not an entity of payment. Did you mean card?"),
        ("user.*", "'user' has no key in payment. Patterns begin with payment, card, merchant."),
        ("card.spend_*", "no input of a model fits the pattern 'card.spend_*'. Did you mean card.spent_7d?"),
        ("user.logins_1h", "user.logins_1h is missing for every payment: user has no key in it."),
        (
            "payment.paid_at",
            (
                "payment.paid_at is a time, which no model can read. "
                "Write hour(payment.paid_at) or weekday(payment.paid_at)."
            ),
        ),
        (
            "card.last_at",
            "card.last_at is a time, which no model can read. Write hour(card.last_at) or weekday(card.last_at).",
        ),
        ("payment.payment_id", "payment.payment_id is different in every event, so a model cannot learn from it."),
        ("payment.arn", "payment.arn is different in every event, so a model cannot learn from it."),
        ("score", "score is read by rules and the policy, not by an input of payment"),
        ("count(payment) over 1h", "aggregates stand in features and rules, not in an input of payment"),
        ("1 + 1", "1 + 1 is the same for every payment."),
        ("missing", "missing is always missing."),
    ],
)
def test_what_a_model_cannot_read_is_refused(written, words):
    assert problems("inputs:", "  - payment.weight", f"  - {written}") == [(4, 7, "inputs[1]", words)]


@pytest.mark.parametrize(
    "written",
    [
        "payment.card",
        "text(payment.card)",
        "join(payment.card, ':', payment.country)",
        "payment.card when payment.is_new",
        "payment.card when payment.is_new else merchant.last_card",
        "merchant.last_card",
    ],
)
def test_a_hash_is_no_input(written):
    assert "gives back card, which is hashed: a hash says nothing about what it hides." in problem(
        f'inputs: ["{written}"]'
    )


@pytest.mark.parametrize(
    "written",
    [
        "payment.card == merchant.last_card",
        "merchant.known_card",
        "'a' when payment.card == merchant.last_card else 'b'",
        "ends_with(payment.card, '1234')",
    ],
)
def test_what_only_looks_at_a_hash_is_one(written):
    assert len(settings(f'inputs: ["{written}"]').inputs) == 1


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("lower(payment.card)", "lower cannot look into a hashed text."),
        ("length(payment.card)", "length cannot look into a hashed text."),
        ("'none' when payment.is_new else left(payment.card, 4)", "left cannot look into a hashed text."),
        ("payment.card == 'x'", "a hashed text stands beside one in clear here, and they are never equal."),
        ("'a' when payment.card == 'x' else 'b'", "a hashed text stands beside one in clear here"),
    ],
)
def test_what_a_hash_cannot_answer_is_refused_with_what_to_write(written, words):
    told = problem(f'inputs: ["{written}"]')

    assert words in told
    assert "Compare it with a hashed field" in told


@pytest.mark.parametrize(
    "first, second, words",
    [
        (
            "payment.amount",
            "this.amount",
            "payment.amount stands in line 3 already, as 'payment.amount'. Each input stands once.",
        ),
        (
            "card.spent_*",
            "card.spent_7d",
            "card.spent_7d stands in line 3 already, as 'card.spent_*'. Each input stands once.",
        ),
        (
            "card.spent_7d",
            "card.*_7d",
            (
                "'card.*_7d' has card.spent_7d, which stands in line 3 already, as 'card.spent_7d'. "
                "Each input stands once."
            ),
        ),
    ],
)
def test_an_input_that_stands_twice_is_told_with_both_places(first, second, words):
    assert problems("inputs:", f"  - {first}", f"  - {second}") == [(4, 7, "inputs[1]", words)]


def test_a_broken_feature_is_told_once_where_it_stands():
    broken = FILES["features.yaml"].replace("sum(payment.amount) over 24h", "sum(payment.amout) over 24h")
    found = loaded("payment:\n  inputs: [card.*, card.spent_24h > 5]\n", features=broken).problems

    assert [item.file for item in found] == ["features.yaml"]


def test_a_model_that_could_read_nothing_is_a_mistake():
    events = "payment:\n  id: id\n  time: at\n  decide: true\n  fields: { id: text, at: time }\nentities: {}\n"
    found = loaded("payment: {}\n", events=events, features="", policy="").problems

    assert [(item.line, item.message) for item in found] == [
        (1, "there is nothing that a model of payment could read.")
    ]
    assert problem("inputs: []") == "inputs is empty Write `inputs: all` for all that a model can read."


def test_all_inputs_are_those_without_inputs():
    everything = settings("inputs: all").inputs

    assert everything == model_of("payment: {}\n").inputs
    assert problem("inputs: card.*") == "inputs must be a list. Write [card.*], or 'all' for all that a model can read."


# ---- whose model


@pytest.mark.parametrize(
    "event, words",
    [
        ("payments", "'payments' is not an event type. Did you mean payment?"),
        ("login", "login is not decided, so it has no score. Write 'decide: true' under login in events.yaml."),
        ("label", "'label' is not an event type."),
    ],
)
def test_only_decided_types_have_a_model(event, words):
    (found,) = loaded(f"{event}: {{}}\n").problems

    assert (found.line, found.column, f"{found.message} {found.hint}".strip()) == (1, 1, words)


# ---- settings


def test_every_setting_is_read():
    model = settings(
        "label_delay: 30d",
        "learner: lightgbm",
        "split: { train: 60d, test: 14d, folds: 2 }",
        "capacity: { by: card, k: 50 }",
        "parameters: { trees: 200, learning_rate: 0.05 }",
        "search: { trials: 20, time: 10m }",
        "calibration: platt",
        "negatives: 12.5%",
        "friendly_fraud: [friendly, family]",
        "slices: [channel, payment.amount > 100, hour(payment.paid_at)]",
        "give_away: [payment.amount, card.spent_*]",
        "seed: 7",
    )

    assert (model.label_delay_ms, model.learner) == (30 * DAY_MS, "lightgbm")
    assert model.split == Split(60 * DAY_MS, 30 * DAY_MS, 14 * DAY_MS, 2)
    assert model.capacity == DailyCapacity("card", 50)
    assert model.parameters == {"trees": "200", "learning_rate": "0.05"}
    assert model.search == {"trials": "20", "time": "10m"}
    assert (model.calibration, model.negatives_kept, model.seed) == ("platt", 0.125, 7)
    assert model.friendly_reasons == {"friendly", "family"}
    assert names(model.slices) == ["payment.channel", "payment.amount > 100", "hour(payment.paid_at)"]
    assert model.give_away == ("payment.amount", "card.spent_24h", "card.spent_7d")


@pytest.mark.parametrize(
    "line, words",
    [
        ("lable_delay: 7d", "the model of payment has no key 'lable_delay'. Did you mean label_delay?"),
        ("label_delay: 7", "'7' is not a duration"),
        (
            "learner: xgbost",
            "learner is xgboost or forest or lightgbm or logistic or isolation, not 'xgbost'. Did you mean xgboost?",
        ),
        ("split: { train: 0d }", "train is above 0."),
        ("split: { folds: 0 }", "folds is a whole number from 1 to 1000, not '0'."),
        ("split: { folds: 2.5 }", "folds is a whole number from 1 to 1000, not '2.5'."),
        ("split: { tran: 1d }", "split has no key 'tran'. Did you mean train?"),
        ("capacity: { by: cart, k: 5 }", "'cart' is not an entity. Did you mean card?"),
        ("capacity: { by: user, k: 5 }", "'user' has no key in payment. There is card, merchant."),
        ("capacity: { by: card }", "capacity lacks k."),
        ("capacity: { by: card, k: 0 }", "k is a whole number from 1 to 1000000000, not '0'."),
        ("parameters: { depht: 3 }", "xgboost has no parameter 'depht'. Did you mean depth?"),
        ("parameters: { depth: deep }", "depth is a whole number from 1 to 32, not 'deep'."),
        ("parameters: { learning_rate: 0 }", "learning_rate is a number above 0 and at most 1, not '0'."),
        ("search: {}", "search has no bound. It takes trials, time."),
        ("search: { trials: 0 }", "trials is a whole number from 1 to 1000000, not '0'."),
        ("search: { time: 0s }", "time is above 0."),
        (
            "calibration: isotonnic",
            "calibration is auto or isotonic or platt or none, not 'isotonnic'. Did you mean isotonic?",
        ),
        ("negatives: 0.1", "negatives is a share such as 25%, not '0.1'."),
        ("negatives: 0%", "negatives is above 0%: without genuine events nothing can be learned."),
        ("friendly_fraud: friendly", "friendly_fraud must be a list, not a value"),
        ("friendly_fraud: [a, a]", "'a' is used twice."),
        ("slices: [chanel]", "payment has no field 'chanel'. Did you mean channel?"),
        ("slices: [channel, this.channel]", "payment.channel is used twice among the slices."),
        ("slices: [card]", "payment.card gives back card, which is hashed"),
        (
            "slices: [amount]",
            (
                "a slice of payment is a text, a truth or an integer; payment.amount is money. "
                "Cut it into bands, as payment.amount > …"
            ),
        ),
        ("give_away: [payment.country]", "payment.country is not an input of this model. Did you mean"),
        ("give_away: [card.bal*]", "card.bal* is not an input of this model."),
        ("give_away: [payment.*, card.*, merchant.*]", "give_away lists every input, so none is left."),
        ("seed: -1", "seed is a whole number from 0 to 2147483647, not '-1'."),
    ],
)
def test_a_wrong_setting_is_told(line, words):
    assert problem(line).startswith(words)


@pytest.mark.parametrize(
    "learner, parameter, nearest",
    [("logistic", "trees", "It takes l2, positive_weight."), ("isolation", "row", "Did you mean rows?")],
)
def test_each_learner_has_its_own_parameters(learner, parameter, nearest):
    words = problem(f"learner: {learner}", f"parameters: {{ {parameter}: 1 }}")

    assert words == f"{learner} has no parameter {parameter!r}. {nearest}"


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.name)
def test_the_example_of_a_parameter_is_taken_by_its_learners(parameter):
    for learner in parameter.learners:
        assert parameters_of(learner)[parameter.name] is parameter
        assert settings(f"learner: {learner}", f"parameters: {{ {parameter.name}: {parameter.example} }}").parameters


@pytest.mark.parametrize("learner", ["isolation", "theirs"])
def test_a_learner_without_labels_or_of_another_package_is_not_searched(learner, monkeypatch):
    monkeypatch.setattr("shroff.models.definitions.installed", lambda kind: {"theirs": None})
    ((line, _, path, words),) = problems(f"learner: {learner}", "search: { trials: 5 }")

    assert (line, path) == (3, "search")
    assert words == f"parameters of {learner} cannot be searched for. Leave search out."


def test_a_delay_below_the_label_delay_is_told():
    warnings = loaded("payment:\n  label_delay: 7d\n  split: { delay: 1d }\n").warnings

    assert [
        (warning.line, warning.column, warning.message) for warning in warnings if warning.file == "model.yaml"
    ] == [(3, 19, "delay is shorter than label_delay (7d).")]


# ---- gates


def test_who_wants_no_gates_says_so():
    assert settings("gates: none").gates == ()
    ((line, _, path, words),) = problems("gates: {}")
    assert (line, path) == (2, "gates")
    assert words.startswith("gates asks nothing. Leave gates out for those that hold by default, or write 'gates: ")


def test_gates_are_read_in_their_order():
    gates = settings(
        "gates:",
        "  latency_p99: { at_most: 2ms }",
        "  average_precision: { at_least: 0.5, above_champion_by: noise }",
        "  auc_roc: { at_most: 0.999, above_champion_by: 0.01 }",
        "  f1: { at: 0.30, at_least: 0.5 }",
        "  slice_collapse: required",
        "  leak_test: required",
    ).gates

    assert gates == (
        ModelGate("latency_p99", at_most=2.0),
        ModelGate("average_precision", at_least=0.5, above_champion_by="noise"),
        ModelGate("auc_roc", at_most=0.999, above_champion_by=0.01),
        ModelGate("f1", at_least=0.5, at=0.3),
        ModelGate("slice_collapse", is_required=True),
        ModelGate("leak_test", is_required=True),
    )


@pytest.mark.parametrize(
    "gate, words",
    [
        ("average_precison: { at_least: 0.5 }", "gates has no key 'average_precison'. Did you mean average_precision?"),
        ("auc_roc: { at_least: 90 }", "at_least of auc_roc is a number from 0 to 1, not '90'."),
        ("auc_roc: { at_lest: 0.9 }", "auc_roc has no key 'at_lest'. Did you mean at_least?"),
        ("auc_roc: { at_least: 0.9, at_most: 0.8 }", "at_least 0.9 is above at_most 0.8."),
        ("f1: { at: 0.5 }", "f1 has no limit. It takes at_least, at_most, above_champion_by."),
        ("f1: { at_least: 0.5 }", "f1 lacks at."),
        ("auc_roc: {}", "auc_roc has no limit. It takes at_least, at_most, above_champion_by."),
        ("auc_roc: 0.9", "auc_roc has limits. Write auc_roc: { at_least: 0.5 }."),
        ("auc_roc: required", "auc_roc has limits. Write auc_roc: { at_least: 0.5 }."),
        ("auc_roc: { above_champion_by: much }", "above_champion_by of auc_roc, where it is not 'noise', is a number"),
        ("calibration_error: { at_least: 0.02 }", "calibration_error has no key 'at_least'. Did you mean at_most?"),
        ("calibration_error: { above_champion_by: noise }", "calibration_error has no key 'above_champion_by'."),
        ("latency_p99: { at_most: 1 }", "at_most of latency_p99: '1' is not a duration"),
        ("leak_test: { at_least: 1 }", "leak_test passes or does not. Write leak_test: required."),
        ("leak_test: true", "leak_test is required, not 'true'."),
        ("slice_collapse: needed", "slice_collapse is required, not 'needed'."),
    ],
)
def test_a_wrong_gate_is_told(gate, words):
    assert problem("gates:", f"  {gate}").startswith(words)


@pytest.mark.parametrize(
    "gate, cure",
    [
        ("card_precision_at_k", "Write capacity: { by: ENTITY, k: 100 }."),
        ("recall_at_budget", "Write costs: { reviews_a_day: 100 } under payment in policy.yaml."),
        ("recall_at_review", "Write score: { review_at: 0.60 } under payment in policy.yaml."),
        ("precision_at_decline", "Write score: { decline_at: 0.92 } under payment in policy.yaml."),
    ],
)
def test_a_gate_that_cannot_be_computed_names_the_cure(gate, cure):
    ((line, column, path, words),) = problems("gates:", f"  {gate}: {{ at_least: 0.5 }}", policy="")

    assert (line, column, path) == (3, 5, f"gates.{gate}")
    assert words.startswith(f"{gate} cannot be computed without ")
    assert words.endswith(cure)


def test_money_needs_an_amount_and_a_cut_off():
    events = FILES["events.yaml"].replace("amount: money", "amount: number")
    features = "card:\n  payments_1h: count(payment) over 1h\n"
    found = problems("gates:", "  money_saved: { at_least: 1 }", policy="", events=events, features=features)

    assert [words.rpartition("Write ")[2] for *_, words in found] == [
        "costs: { missed_fraud: … } under payment in policy.yaml.",
        "score: { review_at: 0.60 } under payment in policy.yaml.",
    ]


def test_slices_are_needed_where_one_may_collapse():
    events = (
        FILES["events.yaml"].replace("    is_new: boolean\n", "").replace("channel: choice(pos, web)", "channel: text")
    )
    words = problem("gates: { slice_collapse: required }", events=events)

    assert words == "slice_collapse cannot be computed without slices. Write slices: [FIELD]."


def test_what_a_gate_needs_and_is_wrong_itself_is_told_once():
    found = problems("capacity: { by: cart, k: 5 }", "gates: { card_precision_at_k: { at_least: 0.5 } }")

    assert [path for _, _, path, _ in found] == ["capacity.by"]


def test_every_metric_can_be_a_gate():
    policy = FILES["policy.yaml"] + "  score: { review_at: 0.6, decline_at: 0.9 }\n"
    limit = {"share": "0.5", "money": "5", "duration": "1ms"}
    at = {metric.name: "at: 0.5, " if metric.has_cut_off else "" for metric in METRICS}
    gates = [
        f"  {metric.name}: required"
        if metric.kind == "test"
        else f"  {metric.name}: {{ {at[metric.name]}at_most: {limit[metric.kind]} }}"
        for metric in METRICS
        if metric.kind != "segments"
    ]
    gates.append("  fairness: { by: [channel], false_positive_ratio: { at_most: 1.5 } }")
    model = settings("capacity: { by: card, k: 5 }", "gates:", *gates, policy=policy)

    assert {gate.metric for gate in model.gates} == {metric.name for metric in METRICS}


def test_segments_that_a_gate_compares_are_slices_too():
    policy = FILES["policy.yaml"] + "  score: { review_at: 0.6 }\n"
    lines = "gates:", "  fairness: { by: [channel, payment.amount > 100], false_positive_ratio: { at_most: 1.5 } }"
    model = settings("slices: [payment.is_new]", *lines, policy=policy)

    assert names(model.slices) == ["payment.is_new", "payment.channel", "payment.amount > 100"]
    assert model.gates == (ModelGate("fairness", at_most=1.5, by=("payment.channel", "payment.amount > 100")),)


@pytest.mark.parametrize(
    "gate, words",
    [
        ("{ false_positive_ratio: { at_most: 2 } }", "fairness lacks by."),
        ("{ by: [], false_positive_ratio: { at_most: 2 } }", "by names no field. Write by: [FIELD]."),
        (
            "{ by: [chanel], false_positive_ratio: { at_most: 2 } }",
            "payment has no field 'chanel'. Did you mean channel?",
        ),
        ("{ by: [channel] }", "fairness lacks false_positive_ratio."),
        ("{ by: [channel], false_positive_ratio: {} }", "false_positive_ratio has no limit. It takes at_most."),
        (
            "{ by: [channel], false_positive_ratio: 2 }",
            "false_positive_ratio has limits. Write false_positive_ratio: {",
        ),
    ],
)
def test_a_fairness_gate_says_by_what_and_its_limit(gate, words):
    policy = FILES["policy.yaml"] + "  score: { review_at: 0.6 }\n"

    assert problems("gates:", f"  fairness: {gate}", policy=policy)[0][3].startswith(words)


# ---- all at once, and in force


def test_several_mistakes_are_told_at_once_in_the_order_of_the_file():
    found = problems("inputs:", "  - payment.amout", "  - card.*", "learner: tree", "seed: one", "gates: { auc: {} }")

    assert [(line, column) for line, column, *_ in found] == [(3, 7), (5, 12), (6, 9), (7, 12)]


def test_the_way_a_model_is_made_puts_nothing_in_force():
    plain, forest = loaded("payment: {}\n").or_raise(), loaded("payment: { learner: forest }\n").or_raise()

    assert plain.versions == forest.versions == load_definitions(FILES).or_raise().versions
    assert plain.files == forest.files
    assert "model.yaml" not in plain.files


def test_a_list_that_a_model_asks_about_a_hashed_field_is_kept_hashed():
    files = {**FILES, "lists/blocked.csv": "value,note,added_by,expires_at\n4111,,,\n"}
    model = "payment:\n  inputs: [payment.amount, payment.card in lists.blocked]\n"
    found = load_definitions({**files, "model.yaml": model}, lambda value: f"hashed:{'0' * 32}:{value}").or_raise()

    assert list(found.reference.lists["blocked"]) == [f"hashed:{'0' * 32}:4111"]


# ---- costs of policy.yaml


def policy_of(costs, places=2):
    money = "EUR" if places == 2 else f"{{ currency: EUR, places: {places} }}"
    files = FILES | {
        "shroff.yaml": f"shroff: 1\nname: small\nmoney: {money}\n",
        "policy.yaml": f"payment:\n  costs: {costs}\n",
    }
    return load_definitions(files)


def test_costs_are_exact_in_smallest_units():
    policy = policy_of("{ false_decline: 15, review: 4.05, reviews_a_day: 100 }").or_raise().policy("payment")
    fine = policy_of("{ review: 0.0405 }", places=4).or_raise().policy("payment")

    assert (policy.false_decline_minor, policy.review_minor, policy.reviews_a_day) == (1500, 405, 100)
    assert fine.review_minor == 405
    assert policy.given == {"false_decline", "review", "reviews_a_day"}
    assert Policy().given == frozenset()


@pytest.mark.parametrize(
    "costs, words",
    [
        ("{ review: 4.005 }", "review has more than the 2 places of the project's money."),
        ("{ review: 0." + "0" * 300 + "1 }", "review has more than the 2 places of the project's money."),
        ("{ review: -4 }", "review is a number from 0 to 10000000000000, not '-4'."),
        ("{ false_decline: dear }", "false_decline is a number from 0 to 10000000000000, not 'dear'."),
        ("{ reviews_a_day: 2.5 }", "reviews_a_day is a whole number from 0 to 1000000000000000, not '2.5'."),
        ("{ missed_fraud: payment.country }", "missed_fraud is an amount, this is text."),
    ],
)
def test_a_wrong_cost_is_told(costs, words):
    (found,) = policy_of(costs).problems

    assert (found.file, found.line, found.message) == ("policy.yaml", 2, words)
