"""No password and no signature of a URL of shroff.yaml is in anything that the program says or keeps."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from shroff.adapters.pull import files as pulled_files
from shroff.adapters.pull.files import UrlList
from shroff.cli.main import run
from shroff.errors import ShroffError, TransientError, UsageError
from shroff.language.keys import ANY, Either, Late, Many, MappingShape, One, Shape
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.nodes import plain_of
from shroff.project.schema import project_files
from shroff.services import project as app
from shroff.streams.pull import PullPlace
from shroff.web.http.authentication import gate_of
from shroff.web.table import PAGES, ROUTES
from tests.support.effort import long_after
from tests.support.webs import Browser, asker, let_in

SECRET = "TOPSECRET777"
SCHEMES = ("http", "postgresql", "redis", "mongodb", "mariadb", "smtp", "kafka", "s3", "gs", "az", "sqlite", "https")
URLS = [f"{item}://{user}127.0.0.1:9/shroff?sig={SECRET}" for item in SCHEMES for user in (f"u:{SECRET}@", "")]
NO_URLS = (
    *("a text", "a file,", "an expression", "a mail address", "USER:PASSWORD", "a secret", "an environment"),
    "a time zone",  # `check` refuses everything else there
)


def settings(shape: Shape | None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], One]]:
    """Each setting that may be a URL, by where it stands."""
    if isinstance(shape, Late):
        yield from settings(shape.make(), path)
    elif isinstance(shape, Either):
        for item in shape.shapes:
            yield from settings(item, path)
    elif isinstance(shape, Many):
        yield from settings(shape.item, (*path, "[]"))
    elif isinstance(shape, MappingShape):
        for key in shape.keys:
            yield from settings(key.shape, (*path, key.name))
        yield from settings(shape.named, (*path, "mine"))
    elif (
        isinstance(shape, One)
        and not (shape is ANY or shape.options or shape.what.startswith(NO_URLS))
        and any(re.search(shape.pattern, url) for url in URLS)
    ):
        yield path, shape


def written(shape: Shape | None, path: tuple[str, ...], value: str) -> Any:
    """The smallest settings with a value at a path: beside it is what is required."""
    if isinstance(shape, Late):
        return written(shape.make(), path, value)
    if not path:
        return value
    if isinstance(shape, Either):
        fits = (item for item in shape.shapes if isinstance(item, MappingShape | Many | Late))
        return written(next(fits), path, value)
    if isinstance(shape, Many):
        return [written(shape.item, path[1:], value)]
    assert isinstance(shape, MappingShape)
    found = {key.name: example(key.examples, key.shape) for key in shape.keys if key.is_required}
    inner = next((key.shape for key in shape.keys if key.name == path[0]), shape.named)
    return {**found, path[0]: written(inner, path[1:], value)}


def example(examples: tuple[str, ...], shape: Shape | None) -> Any:
    if examples:
        return plain_of(yamltext.read(examples[0], "", []))
    if isinstance(shape, Late):
        return example((), shape.make())
    if isinstance(shape, One):
        return shape.options[0] if shape.options else "1"
    if isinstance(shape, Many):
        return [example((), shape.item)]
    if isinstance(shape, Either):
        return example((), shape.shapes[0])
    assert isinstance(shape, MappingShape)
    return {key.name: example(key.examples, key.shape) for key in shape.keys if key.is_required} or {
        "mine": example((), shape.named)
    }


MORE_PATHS = ("/find?q=p-1", "/decisions?outcome=all", "/settings/audit", "/mails/letters?state=failed")
SETTINGS = project_files()[0].shape
ALL = sorted({path for path, _ in settings(SETTINGS) if path[0] != "source" or len(path) == 1})
ALONE = [("store",), ("store", "url"), ("http", "proxy")]  # without which nothing else is reached
SCHEME = {  # of the addresses that a setting takes, by a part of where it stands; http elsewhere
    **dict.fromkeys(("store", "summaries", "table", "sql"), "postgresql"),
    **dict.fromkeys(("lake", "backup", "snapshots"), "s3"),
    **dict.fromkeys(("online", "redis"), "redis"),
    "mongodb": "mongodb",
    "mail": "smtp",
    "source": "kafka",
    "sinks/mine/webhook/url": "http",
}


def url_of(path: tuple[str, ...]) -> str:
    kinds = [] if path[-1] in {"endpoint", "proxy", "registry"} or "registry" in path else [*path]
    scheme = next((SCHEME[kind] for kind in kinds if kind in SCHEME), "http")
    query = f"?sig={SECRET}" if scheme == "http" else ""  # that of others has settings, and an unknown one is refused
    password = (
        "" if "webhook" in path else f"u:{SECRET}@"
    )  # which the service refuses there: receivers verify a signature
    return f"{scheme}://{password}127.0.0.1:9/shroff{query}"


def projects() -> Iterator[dict[str, Any]]:
    """Settings that together have each URL once: of sources and sinks several in one project, else one of a key."""
    waiting = [path for path in ALL if path not in ALONE]
    while waiting:
        made: dict[str, Any] = {}
        for path in [*waiting]:
            value = made_of(path)
            if path[0] in {"sources", "sinks"}:
                made.setdefault(path[0], {})[f"{path[0]}_{ALL.index(path)}"] = value["mine"]
            elif path[0] not in made:
                made[path[0]] = value
            else:
                continue
            waiting = [item for item in waiting if item != path]
        yield made
    for path in ALONE:
        yield {path[0]: made_of(path)}


def made_of(path: tuple[str, ...]) -> Any:
    top = MappingShape("", tuple(key for key in SETTINGS.keys if key.name == path[0]))
    return written(top, path, "${HIDDEN_" + str(ALL.index(path)) + "}")[path[0]]


PROJECTS = [*projects()]


def commands(made: dict[str, Any], bank: Path) -> Iterator[list[str]]:
    yield from (["check"], ["sources", "list"])
    yield from (["sources", "check"], ["source", "list"], ["snapshot"], ["lake", "write"], ["outbox", "list"])
    yield from (["backup", "create"], ["backup", "list"], ["summaries", "build"])
    is_job = dict[str, str]()  # a process of its own for one source of each kind: the job has the words of the sync
    for name, source in made.get("sources", {}).items():
        if kind := next(iter({"files", "table", "amplitude"} & source.keys()), ""):
            is_first = is_job.setdefault(kind, name) == name
            yield ["jobs", "run", "sync", f"source={name}", "--wait"] if is_first else ["sources", "sync", name]
    yield from (["jobs", "list", "--json"], ["doctor", "--bundle", str(bank / "report.zip")])


@pytest.mark.slow
@pytest.mark.first  # it waits for servers that are not there
# Each has other kinds of servers.
@pytest.mark.parametrize("number", long_after(1, range(len(PROJECTS))))
def test_no_secret_of_a_url_is_said_or_kept(number, tmp_path, monkeypatch, capfd):
    app.make_project(tmp_path / "bank", "payments")
    bank, made = tmp_path / "bank", PROJECTS[number]
    with (bank / "shroff.yaml").open("a") as file:
        file.writelines(f"{name}: {json.dumps(value)}\n" for name, value in made.items())
    for name in ("AWS_EC2_METADATA_DISABLED", "NO_GCE_CHECK", "AMPLITUDE_API_KEY", "AMPLITUDE_SECRET_KEY"):
        monkeypatch.setenv(name, "true")
    for name in re.findall(r"\$\{([A-Z_]+)\}", (bank / "shroff.yaml").read_text()):
        monkeypatch.setenv(name, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    for at, path in enumerate(ALL):
        monkeypatch.setenv(f"HIDDEN_{at}", url_of(path))
    said = {}
    for command in (["ingest", str(bank / "examples/payment.json"), "--as", "payment"], *commands(made, bank)):
        status = run(["-C", str(bank), *command])
        said[" ".join(command)] = "".join(capfd.readouterr())
        assert command != ["check"] or status == 0, said["check"]
    shown = answers(bank)
    leaks = {f"{path} of the service" for path, text in shown.items() if SECRET in text}
    leaks |= {command for command, text in said.items() if SECRET in text}
    leaks |= {str(path) for path in bank.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()}

    assert not leaks
    assert "sources" not in made or any("127.0.0.1:9" in text for text in shown.values())


def answers(bank: Path) -> dict[str, str]:
    """What the service says to an admin: pages, the API and metrics, by their paths; none where it does not start."""
    routes = [route for route in (*ROUTES, *PAGES) if route.method == "GET" and "{" not in route.path]
    paths = [route.path for route in routes if not route.path.endswith(("/stream", "/logo.svg"))]

    async def whole() -> dict[str, str]:
        async with asker(bank, gate=gate_of) as asks:
            browser = Browser(asks)
            await let_in(asks, browser)
            found = {path: await browser.get(path) for path in (*paths, *MORE_PATHS)}
            told = {"messages": "\n".join(asks.told)}
            return told | {
                path: f"{answer.headers}{answer.body.decode(errors='replace')}" for path, answer in found.items()
            }

    try:
        return asyncio.run(whole())
    except ShroffError as error:  # the store cannot be reached
        return {"start": str(error)}


def test_signatures_of_listed_files_are_not_in_the_names_that_the_log_keeps(tmp_path, monkeypatch):
    asked = []

    @contextmanager
    def reached(self, url):
        asked.append(url)
        answer = BytesIO(f"a.csv\n/b.csv?sig={SECRET}\n/b.csv?sig={SECRET}2\n".encode())
        answer.headers = {}
        yield answer

    monkeypatch.setattr(UrlList, "_request", reached)
    url = f"http://u:{SECRET}@host/list.txt?sig={SECRET}"
    source = UrlList(url, PullPlace("", tmp_path, lambda: 0, list))
    plain, *signed = source.names()
    with UrlList(url, PullPlace("", tmp_path, lambda: 0, list)).opened(signed[1]) as path:  # another process goes on
        assert path.name == "b.csv"

    assert plain == "a.csv"
    assert len({*signed}) == 2
    assert SECRET not in f"{signed} {source.source}"
    assert asked[-1] == f"http://u:{SECRET}@host/b.csv?sig={SECRET}2"


@pytest.mark.parametrize(
    ("limit", "value", "error", "words"),
    [
        ("FILE_BYTES_MAX", 3, UsageError, "a.csv has more than"),
        ("FILE_S_MAX", -1.0, TransientError, "a.csv: 6 bytes came in"),
        ("LIST_BYTES_MAX", 3, UsageError, "has more than"),
    ],
)
def test_what_a_server_sends_has_a_limit_of_size_and_of_time(tmp_path, monkeypatch, limit, value, error, words):
    @contextmanager
    def reached(self, url):
        answer = BytesIO(b"a.csv\n")
        answer.headers = {}
        yield answer

    monkeypatch.setattr(UrlList, "_request", reached)
    source = UrlList("http://host/list.txt", PullPlace("", tmp_path, lambda: 0, list))
    names = [] if limit == "LIST_BYTES_MAX" else source.names()
    monkeypatch.setattr(pulled_files, limit, value)
    with pytest.raises(error, match=words), source.opened(names[0]) if names else nullcontext():
        source.names()

    assert not list(tmp_path.glob("*.csv"))
