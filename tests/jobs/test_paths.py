"""Paths among the parameters of jobs: whoever asks for a job writes below `out/` only, and reads nothing foreign."""

from __future__ import annotations

import msgspec
import pytest

from shroff.errors import DefinitionError, ShroffError, UsageError
from shroff.services import project as app
from shroff.services.jobs.kinds import KINDS, kind_named
from shroff.services.jobs.work import JobRun, path_of

SECRET = "TOP_OF_SECRETS"
HOSTILE = (
    *("policy.yaml", "events.yaml", "rules/velocity.yaml", "models/in_force.json", "new.yaml", "out", "out/", "."),
    *("../outside/file", "out/../policy.yaml", "out/./x", "out//x", "~/x", "out/.x", ".shroff/hash.key", "secrets/db"),
    *(
        "out/away/file",
        "out/loop/policy.yaml",
        "out/held.db",
        "out/lake/x.parquet",
        "out/device",
        "drafts/foreign.yaml",
    ),
    *("file:///x", "s3://bucket/x", "out/s3://bucket/x", "out\\..\\policy.yaml", "out/\x00x", "out/\nx", "drafts"),
)


@pytest.fixture
def bank(tmp_path):
    """A project with links that lead away, a secret, and settings that name places below `out/`."""
    app.make_project(tmp_path / "bank", "payments")
    folder, outside = tmp_path / "bank", tmp_path / "outside"
    outside.mkdir()
    for path in (outside / "file", outside / "foreign.yaml", folder / "secrets" / "db"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{SECRET}: 1\n")
    for name, target in (("away", outside), ("loop", folder), ("device", "/dev/full")):
        (folder / "out").mkdir(exist_ok=True)
        (folder / "out" / name).symlink_to(target)
    (folder / "drafts").mkdir(exist_ok=True)
    (folder / "drafts" / "foreign.yaml").symlink_to(outside / "foreign.yaml")
    with (folder / "shroff.yaml").open("a") as settings:
        settings.write("lake: out/lake\nsummaries: { url: 'sqlite:///out/held.db', columns: { country: country } }\n")
    (folder / "out" / "held.db").write_text("held")
    return app.open_exactly(folder), tmp_path


def contents(folder):
    """What jobs must not touch: all but what the program keeps for itself."""
    kept = (folder / "bank" / ".shroff", folder / "bank" / "marts")
    files = (
        path for path in folder.rglob("*") if path.is_file() and not any(path.is_relative_to(other) for other in kept)
    )
    return {str(file): file.read_bytes() for file in files}


def texts(kind):
    """The parameters that are texts."""
    for field in msgspec.structs.fields(kind_named(kind).params):
        if '"string"' in msgspec.json.encode(msgspec.json.schema(field.type)).decode():
            yield field


def run(project, kind, given):
    kind_named(kind).load()(project, kind_named(kind).read(given), JobRun(0))


@pytest.mark.parametrize("kind", [*sorted(KINDS), "make-orders", "orders-pipeline"])
def test_no_text_that_a_job_is_given_makes_it_write_beside_out_or_show_what_is_foreign(bank, kind):
    project, folder = bank
    before = contents(folder)
    needed = {text.encode_name: "payment" for text in texts(kind) if text.required}
    for field in texts(kind):
        for value in HOSTILE:
            with pytest.raises((ShroffError, ValueError)) as found:
                run(project, kind, needed | {field.encode_name: value})
            assert SECRET not in str(found.value), (field.encode_name, value)
            assert contents(folder) == before, (field.encode_name, value)


@pytest.mark.parametrize(("kind", "name"), [("features", "out"), ("make-orders", "out"), ("orders-pipeline", "out")])
def test_what_jobs_write_is_declared_and_their_defaults_are_below_out(bank, kind, name):
    project, folder = bank
    params = kind_named(kind).params(**({"event": "payment"} if kind == "features" else {}))
    assert path_of(project, params, name).is_relative_to(folder / "bank" / "out")


def test_a_job_says_where_to_write_and_schedules_are_checked_for_it(bank):
    _, folder = bank
    with pytest.raises(UsageError, match=r"^params\.out: a job writes below out/ only.*Write out/policy\.yaml\.$"):
        kind_named("features").read({"event": "payment", "out": "policy.yaml"})
    (folder / "bank" / "schedules.yaml").write_text(
        "nightly: { kind: make-orders, cron: '0 2 * * *', params: { out: rules } }\n"
    )
    with pytest.raises(DefinitionError, match=r"params\.out: a job writes below out/"):
        app.open_exactly(folder / "bank").definitions  # noqa: B018 - it is read
