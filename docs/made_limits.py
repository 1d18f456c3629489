"""The page of the reference with every limit of the service, made from the constants that hold it."""

from __future__ import annotations

import re
from pathlib import Path

from docs.made_files import MADE, markdown_table
from shroff.adapters.pull import files as pulled
from shroff.cases import case_actions, case_service, files
from shroff.events import raw_values, readers
from shroff.events.avro import files as avro
from shroff.events.formats import csv_records, encodings, parquet_limits
from shroff.events.formats import lines as formats
from shroff.jobs import job
from shroff.language import parser
from shroff.language.types import ORIGINAL_PLACES, UNITS_MAX
from shroff.language.values import show_duration
from shroff.language.yaml import reader as yamlreading
from shroff.log import ruletests
from shroff.log.columns import lines
from shroff.models import imported, registry
from shroff.operations import pagination
from shroff.people import throttle
from shroff.project import list_csv, schedules, table_files
from shroff.runtime import contents
from shroff.services.backups import vault
from shroff.services.drafts import draft_files as rule_drafts
from shroff.services.drafts import operations as draft_operations
from shroff.services.jobs import desk as job_desk
from shroff.services.jobs.kinds import OPEN_MAX
from shroff.services.lists import operations as list_operations
from shroff.services.rules import files as rule_files
from shroff.web import server, service
from shroff.web.api import events, hooks
from shroff.web.api.rules import backtests as judged
from shroff.web.http import asgi, concurrency_limits, connections, problems, proxies, streaming
from shroff.web.http import messages as http
from shroff.web.http.authentication import SENDERS_MAX
from shroff.web.work import operation_processes as checking
from shroff.worker import request_bodies, request_loop, writer_tasks
from shroff_plugins.connectors import sns_certificates

Row = tuple[str, str, str]

INTRODUCTION = (
    "Limits of one client of `shroff serve`, and the response above each limit. Errors are problem documents "
    "(RFC 9457). One client cannot block others: long texts are read on separate threads, and everything that a "
    "client sends is limited.\n"
)
PROXY = Path(__file__).parents[1] / "deploy" / "systemd" / "Caddyfile"
OF_PROXY = (
    "A proxy in front of the service adds TLS and keeps these limits for the service too. The values are those of "
    "`deploy/systemd/Caddyfile`, of the Helm chart and of HAProxy in `deploy/compose/haproxy.cfg`, which answers 400 "
    "where Caddy answers 431. Other proxies have settings of their own. Caddy does not limit the connections of one "
    "address: use HAProxy or the firewall for that."
)
CUT = "the connection is closed"
RETRY = "with `Retry-After`"


def limits_page() -> str:
    """All limits, by what they are of."""
    parts = [f"{MADE}# Limits\n\n{INTRODUCTION}"]
    for title, rows in (
        ("Connections", _connections()),
        (f"Connections, by the proxy\n\n{OF_PROXY}", _by_the_proxy()),
        ("Requests", _requests()),
        ("Events and labels", _events()),
        ("Files", _files()),
        ("Rules and drafts", _rules()),
        ("Jobs", _jobs()),
        ("Lists, cases, pages", _pages()),
        ("Threads", _threads()),
        ("Signing in", _signing_in()),
    ):
        parts += [f"\n## {title}\n\n", markdown_table(("limit", "value", "beyond it"), rows)]
    parts.append(
        "\nA text field, an id and an expression have the limits of [the language](language.md). "
        "[Rights](api.md#rights) limit what a key or a user may do.\n"
    )
    return "".join(parts)


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1024 * 1024 * 1024), ("MiB", 1024 * 1024), ("KiB", 1024)):
        if count >= size and not count % size:
            return f"{count // size:,} {unit}"
    return f"{count:,} bytes"


def _s(seconds: float) -> str:
    return f"{seconds:g} s"


def _connections() -> list[Row]:
    return [
        ("requests at once, of all senders", f"{asgi.OF_ALL_MAX:,}", f"503 {RETRY}"),
        ("connections of one address at once, unless it is a trusted proxy", f"{connections.OF_ADDRESS_MAX:,}", CUT),
        ("time for a new connection to send anything", _s(connections.FIRST_S), CUT),
        ("time for the head of a request to arrive, from its first byte", _s(connections.HEAD_S), "408"),
        ("head that does not end", f"{_bytes(http.HEAD_BYTES_MAX)} and one read", "431"),
        (
            "chunk sizes, chunk extensions and trailers of one body",
            f"{_bytes(connections.FRAMING_BYTES_MAX)}, and {connections.FRAMING_RATIO} bytes for each of the body",
            CUT,
        ),
        ("trailers", "none is read", "ignored"),
        ("time for a body to arrive", _s(http.BODY_S_MAX), "408"),
        ("idle time between two requests", _s(server.KEPT_S), CUT),
        ("time in which a client reads nothing of a response (on Linux)", _s(server.STALLED_S), CUT),
        (
            "rest of a refused body that is read, so that the client reads the response",
            f"{_bytes(http.DISCARDED_BYTES_MAX)}, {_s(http.DISCARDED_S)}",
            CUT,
        ),
        ("time for running requests when the service ends", _s(server.END_S), CUT),
    ]


def _by_the_proxy() -> list[Row]:
    return [
        ("time for the headers of a request to arrive", _of_proxy("read_header"), CUT),
        ("idle time between two requests", _of_proxy("idle"), CUT),
        ("headers that do not end", _of_proxy("max_header_size"), "431"),
        ("connections of one address at once, by HAProxy", f"{connections.OF_ADDRESS_MAX:,}", CUT),
        ("chunk extensions, chunks of one byte", "passed on as larger chunks", "the body's limits"),
        ("connections to the service", _of_proxy("max_conns_per_host"), "the request waits"),
    ]


def _of_proxy(name: str) -> str:
    """A setting of the shipped proxy, as its file has it."""
    text = PROXY.read_text(encoding="utf-8")
    value = text.partition(f"{name} ")[2].split()[0]
    return re.sub(r"(\d)(?=[a-zA-Z])", r"\1 ", value) if not value.isdigit() else f"{int(value):,}"


def _requests() -> list[Row]:
    return [
        ("headers: URL, header names and values", _bytes(http.HEAD_BYTES_MAX), "431"),
        ("header lines", f"{http.HEADERS_MAX}", "431"),
        ("address", f"{_bytes(http.URL_BYTES_MAX)}; its path {_bytes(asgi.PATH_LENGTH_MAX)}", "414; 404"),
        ("fields of a query", f"{http.QUERY_FIELDS_MAX}", "400"),
        ("cookies", f"{http.COOKIES_MAX}", "not read"),
        ("`Forwarded` header of a trusted proxy", _bytes(proxies.READ_MAX), "not read"),
        ("addresses in `X-Forwarded-For`", f"the last {proxies.HOPS_MAX}", "not read"),
        ("body", f"{_bytes(http.BODY_BYTES_MAX)}, less on most routes", "413"),
        ("form", f"{_bytes(http.FORM_BYTES_MAX)}; {_bytes(http.STRANGERS_FORM_BYTES_MAX)} before signing in", "413"),
        ("fields of a form", f"{http.FORM_FIELDS_MAX:,}", "400"),
        ("requests of one sender at once", f"{asgi.OF_SENDER_MAX:,}", f"429 {RETRY}"),
        ("entries of one answer", f"{pagination.LIMIT_MAX}", "400; continue with `cursor`"),
    ]


def _events() -> list[Row]:
    limits = service.Limits()
    return [
        ("one event", _bytes(events.ONE_BYTES_MAX), "413"),
        ("events or labels of one request", f"{request_bodies.COUNT_MAX:,}", "422"),
        ("nested lists and objects", f"{raw_values.REQUEST_DEPTH_MAX} levels", "422"),
        ("the same of a line of a file or a source", f"{raw_values.DEPTH_MAX} levels", "quarantined"),
        ("text field", _bytes(readers.TEXT_BYTES_MAX), "422"),
        ("id", f"{readers.ID_LENGTH_MAX} characters", "422"),
        ("money", "10^15 of its smallest units", "422"),
        ("`money in` a currency", f"{UNITS_MAX // 10**ORIGINAL_PLACES:,} whole units of that currency", "422"),
        ("events of one request to score", f"{writer_tasks.SCORED_MAX}", "413"),
        ("events per second of one key", f"{limits.rate:,.0f}, or `serve --rate`", f"429 {RETRY}"),
        ("events waiting to be scored", f"{limits.scores_waiting_max:,}", f"429 {RETRY}"),
        ("events waiting for a decision", f"{limits.waiting_max:,}", f"503 {RETRY}"),
        ("message of a pushed source", _bytes(hooks.BODY_BYTES_MAX), "413"),
        ("downloads of Amazon SNS certificates per minute", f"{sns_certificates.FETCHES_A_MINUTE}", f"503 {RETRY}"),
        (
            "messages with an invalid signature per second from one network",
            f"{service.UNKNOWN_RATE:,.0f}",
            "answered at this pace",
        ),
        (
            "memory for texts of posted lists that may come again, and as much for messages of sources",
            _bytes(lines.LIVE_TEXTS_BYTES_MAX),
            "the texts of a field are dropped",
        ),
        ("waiting time of the oldest event", _s(limits.age_s_max), f"503 {RETRY}"),
        (
            "waiting time of a request while the log is unavailable",
            _s(request_loop.PATIENCE_S),
            "503: send the same ids again",
        ),
    ]


def _jobs() -> list[Row]:
    return [
        ("concurrent jobs of a project", f"{job_desk.AT_ONCE}, one of a kind", "they wait; 409 for a second one"),
        ("time of a run", f"{show_duration(schedules.TIMEOUT_MS)}, or what the job says", "it fails"),
        ("waiting jobs of one schedule", f"{job_desk.QUEUED_MAX}", "the due time is skipped"),
        (
            "lines of a job's log",
            f"{job.LINES_MAX} of {job.LINE_MAX} characters",
            "the oldest lines are dropped; long lines are cut",
        ),
        ("result of a job", _bytes(job.RESULT_BYTES_MAX), "it is not stored; the job says so"),
        ("finished jobs of each kind", f"{job.KEPT:,}", "the oldest are deleted"),
        ("schedules", f"{schedules.SCHEDULES_MAX}", "`shroff check` refuses the file"),
    ]


def _rules() -> list[Row]:
    return [
        ("draft of a rule", _bytes(rule_drafts.DRAFT_BYTES_MAX), "400; 413 for its body"),
        ("file of rules", _bytes(rule_files.TEXT_BYTES_MAX), "400"),
        ("expression", f"{parser.LENGTH_MAX:,} characters, {parser.DEPTH_MAX} levels", "an error of the draft"),
        ("nested YAML", f"{yamlreading.DEPTH_MAX} levels", "an error of the draft"),
        ("errors, warnings and tests in one response", f"{draft_operations.SAID_MAX}", "`more` has their number"),
        ("errors in a problem document", f"{problems.PROBLEMS_MAX}", "`detail` ends with their number"),
        ("time for the tests of one rule", _s(ruletests.SECONDS_MAX), "the test fails: *was stopped*"),
        ("checks of one sender at once", f"1, and {service.CHECKS_OF_SENDER_MAX - 1} waiting for it", f"429 {RETRY}"),
        ("time for a check, waiting included", _s(checking.CHECK_S_MAX), f"503 {RETRY}"),
        ("memory of a process that checks drafts", _bytes(checking.MEMORY_MAX), f"503 {RETRY}"),
        ("backtests waiting", f"{OPEN_MAX}", f"503 {RETRY}"),
        ("backtests before one whose request waits", f"{judged.AHEAD_MAX}", f"503 {RETRY}"),
        ("time for a backtest", _s(judged.SECONDS_MAX), "it ends with an error"),
    ]


def _files() -> list[Row]:
    unread = "the file is refused"
    return [
        ("line of JSON or CSV, message of a source", _bytes(formats.LINE_BYTES_MAX), "quarantined, cut"),
        ("JSON list over several lines", _bytes(encodings.DOCUMENT_BYTES_MAX), "read line by line"),
        ("lines of a CSV record", f"{csv_records.RECORD_LINES_MAX}", "the quotation mark counts as text"),
        ("block of Avro, unpacked", f"{_bytes(avro.BLOCK_BYTES_MAX)}", "quarantined"),
        ("value of Parquet", _bytes(parquet_limits.VALUE_BYTES_MAX), unread),
        ("one page of each column of Parquet, unpacked", _bytes(parquet_limits.PAGES_BYTES_MAX), unread),
        ("rows of Parquet in memory at once", _bytes(parquet_limits.BATCH_BYTES_MAX), "fewer rows are read at once"),
        (
            "all rows of a Parquet file, unpacked",
            f"{_bytes(parquet_limits.FILE_BYTES_MAX)}, or {parquet_limits.FILE_TIMES_MAX:,} times its size",
            unread,
        ),
        ("file of a look-up table", _bytes(contents.BYTES_MAX), "`shroff check` refuses it"),
        ("look-up table, unpacked", _bytes(table_files.UNPACKED_MAX), "`shroff check` refuses it"),
        (
            "file behind a URL",
            f"{_bytes(pulled.FILE_BYTES_MAX)}, {show_duration(int(pulled.FILE_S_MAX * 1_000))}",
            "it fails",
        ),
        ("list of files behind a URL", _bytes(pulled.LIST_BYTES_MAX), "it fails"),
        (
            "file of a model; of an imported one",
            f"{_bytes(registry.FILE_BYTES_MAX)}; {_bytes(imported.BYTES_MAX)}",
            unread,
        ),
        ("piece of a backup, unpacked", _bytes(vault.PIECE_BYTES_MAX), "the backup is damaged"),
    ]


def _pages() -> list[Row]:
    return [
        (
            "lines of a list in one request",
            f"{list_csv.LINES_MAX:,}, {_bytes(list_operations.BODY_BYTES_MAX)}",
            "400; 413",
        ),
        ("attached file", f"{_bytes(files.SIZE_MAX)}, {case_actions.FILES_MAX} of one case", "400; 413"),
        ("name of an attached file", f"{files.NAME_MAX} characters; with the extension of its type", "400"),
        ("note or reason", f"{case_service.TEXT_MAX:,} characters", "400"),
        ("live updates of one session", f"{streaming.OF_SESSION_MAX}", "429"),
        ("live updates of all", f"{streaming.OF_ALL_MAX}", "503"),
    ]


def _threads() -> list[Row]:
    return [
        (
            "threads for reading: all, for one sender",
            f"{service.THREADS}, {service.THREADS_OF_SENDER_MAX}",
            "the request waits",
        ),
        (
            "threads for long bodies and responses: all, for one sender",
            f"{service.READ_THREADS}, 1",
            "the request waits",
        ),
        ("long bodies of one sender, including the current one", f"{service.READS_OF_SENDER_MAX}", f"429 {RETRY}"),
        ("threads only for keys and sessions", f"{service.IDENTITY_THREADS}", "the request waits"),
        ("concurrent look-ups of keys and sessions of one network", "1", "the request waits"),
        (
            "requests of one network without a valid key or session",
            f"{service.UNKNOWN_RATE:g} a second",
            "the answer waits",
        ),
        (
            "threads only for rule checks, each with a process for drafts",
            f"{service.CHECK_THREADS}",
            "the request waits",
        ),
        ("threads only for passwords", f"{service.SIGN_IN_THREADS}", "the request waits"),
        ("checks, or sign-ins, of all senders", f"{concurrency_limits.OF_ALL_MAX}", f"503 {RETRY}"),
    ]


def _signing_in() -> list[Row]:
    return [
        (
            "failed sign-ins of one name; of one address",
            f"{throttle.BY_NAME.free}; {throttle.BY_ADDRESS.free}",
            "429; each further attempt waits twice as long",
        ),
        ("pause after failed attempts", f"{throttle.PAUSE_MS_MAX // 60_000} min at most", "429"),
        ("one address", "of IPv6 its /64", ""),
        ("sign-ins of one address at once", f"{service.SIGN_INS_OF_SENDER_MAX}", "429"),
        (
            "customer links opened, sign-ins with a provider and forms of passkeys of one address, together",
            f"{service.STRANGERS_RATE:g} a second",
            f"429 {RETRY}",
        ),
        ("senders with a remembered rate", f"{SENDERS_MAX:,}", "the longest-inactive one is forgotten"),
    ]
