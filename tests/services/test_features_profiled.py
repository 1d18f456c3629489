"""What a profile of features says is what numpy says of the recorded decisions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest

from shroff.errors import UsageError
from shroff.examples.bank import bank
from shroff.services import project as app
from shroff.services.features.operations import FeatureProfiles, ProfileFeatures
from shroff.services.project import Project

EVENTS = 300


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    made, _ = app.make_project(tmp_path_factory.mktemp("profiled") / "bank", "payments")
    made.decide([{"payment": payment.event} for payment in bank(EVENTS, seed=4)])
    return made


def profiled(project: Project, **asked: str) -> FeatureProfiles:
    return project.run(ProfileFeatures(**asked))


def test_each_feature_of_the_decisions_is_there_with_its_shares_and_its_range(project):
    found = profiled(project)
    rows = project.features("payment")

    assert (found.event, found.events) == ("payment", EVENTS)
    assert [each.name for each in found.features] == sorted(project.definitions.features)
    for each in found.features:
        values = [value for value in rows[each.name].to_pylist() if value is not None]
        assert each.missing == pytest.approx(1 - len(values) / EVENTS)
        assert each.distinct == len(set(values))
        if each.type == "integer":
            ends = np.quantile(values, [0.05, 0.5, 0.95], method="nearest")
            assert [each.low, each.median, each.high] == [f"{end:,}" for end in ends], each.name
        assert sum(each.bins) == (len(values) if each.median else 0)
        if each.frequent:
            assert each.frequent[0][1] == pytest.approx(Counter(values).most_common(1)[0][1] / len(values))


def test_what_reads_a_feature_is_named(project):
    found = {each.name: each.read_by for each in profiled(project).features}

    assert "rule card_testing" in found["card.payments_10m"]
    assert all(
        f"rule {rule.id}" in found["card.largest_10m"]
        for rule in project.definitions.rules
        if rule.id == "card_testing"
    )


def test_an_expression_is_tried_on_the_same_events(project):
    tried = profiled(project, expression="this.amount > 50").tried
    amounts = [float(value) for value in project.events("payment")["amount"].to_pylist()]

    assert tried is not None
    assert dict(tried.frequent)["yes"] == pytest.approx(np.mean(np.array(amounts) > 50))
    assert (tried.missing, tried.read_by) == (0, [])


@pytest.mark.parametrize("text", ["this.amuont", "card.payments_99m", "1 +", "count(payment) over 1h", "row.x"])
def test_an_expression_that_means_nothing_here_is_refused(project, text):
    with pytest.raises(UsageError, match="--try"):
        profiled(project, expression=text)


def test_a_log_without_events_and_a_type_that_is_not_decided(tmp_path):
    empty, _ = app.make_project(tmp_path / "bank", "payments")

    assert {each.missing for each in profiled(empty).features} == {None}
    with pytest.raises(UsageError, match="decided"):
        profiled(empty, event="refund")
