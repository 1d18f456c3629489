"""The reference page about errors: kinds and statuses from the program's source, meaning and cure from here."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from docs.made_files import MADE, markdown_table
from shroff.cli.failures import KINDS, MISTAKE
from shroff.cli.main import EXIT_STATUS
from shroff.errors import RefusalError
from shroff.operations import manifest

SRC: Final = Path(__file__).resolve().parents[1] / "src" / "shroff"
NAMED: Final = {"UNPROCESSABLE": 422, "CONFLICT": 409}
FORWARDED: Final = {"error.code"}  # of a ProblemError that stands elsewhere
PUSHED: Final = {"not-a-message": 400, "not-signed": 403}  # the status is that of a PushRefusedError

# Meaning and cure of each kind.
Texts = Mapping[str, tuple[str, str]]

COMMANDS: Final[Texts] = {
    "definition-errors": ("A file of the project has an error.", "Correct the first error, then run `shroff check`."),
    "not-there-yet": ("The language allows this, but this version cannot compute it.", "Write it in another form."),
    "wrong-use": ("A command, option or argument is wrong.", "Follow the message, or run the command with `--help`."),
    "not-allowed": ("Your role lacks a right.", "Ask an admin for the right that the message names."),
    "not-signed-in": ("The name, password or key is wrong.", "Sign in again, or create a new key."),
    "invalid-input": ("An event or a line has a missing or wrong field.", "Correct the field that the message names."),
    "log-busy": (
        "Another process writes this log.",
        "Stop that process, wait for its end, or use the service instead.",
    ),
    "try-again": ("A server that the command needs gives no answer.", "Check its address, then repeat the command."),
    "storage": ("A file or disk cannot be read or written.", "Check free space and the rights of the user."),
    "not-reproduced": (
        "A computed decision differs from the recorded one.",
        "Run `shroff doctor`, and report the bug.",
    ),
    "overtaken": ("A standby became the active writer.", "Nothing is lost. Let the other process continue."),
    "wrong-state": ("Stored state and computed state differ.", "Stop, run `shroff doctor`, and follow its remedies."),
    "stopped": ("You pressed Ctrl-C.", "Repeat the command. Committed events are kept."),
    "internal-error": ("A bug in shroff.", "Report the bug with the file that `shroff doctor --bundle FILE` writes."),
}

EVENTS: Final[Texts] = {
    "invalid-event": (
        "A field is missing or wrong, or the event is too late. It is in [quarantine](quarantine.md).",
        "Correct the field in `errors`, and send the event again.",
    ),
    "id-conflict": (
        "The log has this id with other content. The event is in quarantine.",
        "Send a new id, or the same content as before.",
    ),
    "no-event-type": (
        "No event type accepts the line, or there is no type of this name.",
        "Name the type in the address or in the line; correct `when` in events.yaml.",
    ),
    "bad-list": ("The list of events is not valid JSON.", "Send a JSON array or JSON lines in UTF-8."),
    "too-many": ("Too many events in one request, or too many requests at once.", "Send smaller requests one by one."),
    "too-fast": ("This key sends more events per second than allowed.", "Wait the seconds of `Retry-After`."),
    "not-a-message": ("The body is no message of this webhook source.", "Check the kind of the source in shroff.yaml."),
    "not-signed": ("The signature of the webhook is missing or wrong.", "Check the secret or topic of the source."),
    "no-source": ("There is no webhook source of this name.", "Compare the address with `sources` in shroff.yaml."),
    "no-decision": (
        "There is no decision of this event.",
        "Check type and id. Only types with `decide: true` have one.",
    ),
}

REQUESTS: Final[Texts] = {
    "bad-request": ("The request cannot be carried out as asked.", "Follow `detail`."),
    "bad-body": ("The body is not valid JSON, or lacks a field.", "Compare it with the schema of the route."),
    "bad-form": ("A form has a missing or wrong field.", "Reload the page, and send the form again."),
    "bad-header": ("A header has a wrong value.", "Correct the header that `detail` names."),
    "bad-query": ("A query parameter is unknown or has a wrong value.", "Correct the parameter that `detail` names."),
    "no-answer": (
        "No language model answered usefully.",
        "`detail` says what to change in `assistant.yaml` or to ask.",
    ),
    "bad-question": ("This count or funnel cannot be computed.", "Correct the field, type or period in `detail`."),
    "not-a-form": ("The content type is no form.", "Send `application/x-www-form-urlencoded`."),
    "wrong-media-type": ("The content type is not supported here.", "Send `application/json` or a type in `detail`."),
    "wrong-encoding": ("The body has a `Content-Encoding`.", "Send the body uncompressed."),
    "wrong-method": ("The address does not support this method.", "Use a method of the header `Allow`."),
    "not-found": ("The address has no route.", "Compare it with the [HTTP API](api.md)."),
    "too-long": ("The body exceeds its limit, or a backtest its time.", "Send less, or choose a shorter period."),
    "too-much-framing": (
        "Chunk sizes, chunk extensions and trailers of the body exceed their limit.",
        "Send larger chunks, or a Content-Length.",
    ),
    "too-slow": ("The body arrived too slowly, or a check took too long.", "Send the request again."),
    "address-too-long": ("The address is too long.", "Send the parameters in fewer or shorter values."),
    "head-too-long": ("The headers are too long.", "Remove cookies and headers that are not needed."),
    "who-asks": ("The request has no valid session or key.", "Sign in, or send `Authorization: Bearer KEY`."),
    "not-allowed": ("The user or key lacks a right.", "Ask an admin for the right that `detail` names."),
    "not-a-person": ("A key asked for a page.", "Use the same route below `/api/v1`, or sign in."),
    "no-csrf": ("A form came from another site, or from an old page.", "Reload the page, and send the form again."),
    "no-precondition": ("The request does not say which version it changes.", "Send the ETag as `If-Match`."),
    "changed-meanwhile": ("Somebody else changed it since you read it.", "Read it again, then repeat the change."),
    "second-person": ("This change needs the approval of a second person.", "Follow the address in `detail`."),
    "waits-for-second": (
        "This change was requested; it needs a second person.",
        "Ask another person with this right to approve it at `/approvals` within 7 days.",
    ),
    "not-waiting": (
        "No such change waits: it was approved or withdrawn, or is approved on its own page.",
        "Read the list of approvals again.",
    ),
    "outside-networks": ("`web.networks` does not have this address.", "Call from one of these networks."),
    "overload": ("Too many connections or requests.", "Wait the seconds of `Retry-After`, then repeat."),
    "too-many-streams": ("Too many pages with live updates are open.", "Close some of them."),
    "not-ready": ("The service starts, stops, or is a standby.", "Repeat later, or ask the active writer."),
    "not-now": ("The log or another server is not available now.", "Wait the seconds of `Retry-After`, then repeat."),
    "not-there-yet": ("This version does not support this.", "Write it in another form."),
    "broken": ("The service failed.", "Search its log for the error number in `instance`, and report the bug."),
}

OBJECTS: Final[Texts] = {
    "no-case": ("There is no case of this number.", "Search for the case in the queue."),
    "no-event": ("The case has no such event, or no such type is decided.", "Check type and id of the event."),
    "no-file": ("The case has no such file.", "Reload the case."),
    "no-view": ("There is no saved view of this name.", "Choose a view of the list."),
    "no-flag": ("There is no such flag.", "List the flags of the key first."),
    "no-entity": ("events.yaml declares no such entity.", "Use a name under `entities`."),
    "case-changed": ("Another user changed the case first.", "Read the case again; `by` and `at` say who and when."),
    "too-late": ("The time for undo is over.", "Reopen the case instead."),
    "bad-definition": ("The change would make the project invalid.", "Correct the errors with file, line and column."),
    "no-rule": ("There is no rule of this id.", "Use an id of `GET /api/v1/rules`."),
    "no-rules": ("`rules/` has no such file.", "Use a name of `GET /api/v1/rules`."),
    "no-experiment": (
        "There is no experiment of this name, no rule with a `rollout`, or too few of its events are mature.",
        "Check the name, or wait until labels are there.",
    ),
    "no-draft": ("Nobody has a draft of this rule.", "Save a draft first."),
    "no-version": ("The rule has no such version.", "Use a version of the history of the rule."),
    "no-reason": ("The change needs a reason.", "Send `reason`."),
    "is-off": ("The rule is removed already.", "Roll back to a version to activate it again."),
    "no-list": ("The project has no list of this name.", "Use a name of `GET /api/v1/lists`."),
    "no-table": ("The project has no look-up table of this name.", "Use a name of `GET /api/v1/tables`."),
    "not-asked": ("The change that waited for approval is gone.", "Read the list again."),
    "no-backtest": ("There is no such backtest, or its draft is gone.", "Start a new backtest."),
    "busy": ("Another backtest runs, or too many wait.", "Wait for its end, then repeat."),
    "no-model": ("The registry has no such model.", "Use an id of `shroff models list`."),
    "no-job": ("There is no such job or schedule.", "Use an id of `shroff jobs`, or a name of schedules.yaml."),
    "bad-job": ("There is no job of this kind, or it is not allowed.", "Use a kind that `detail` names."),
    "bad-params": ("A parameter of the job is wrong.", "Correct the parameter that `detail` names."),
    "job-busy": ("The same job runs already.", "Wait for the job at `url`."),
    "no-such-mart": ("The project has no such mart.", "Use a name of `marts/`."),
    "no-mail": ("The mailbox has no such mail.", "List the mails. Old ones are deleted after the retention period."),
    "no-notice": ("The project has no such notice.", "Use a name of `notices/`."),
    "bad-recipient": (
        "calls.yaml does not allow this recipient.",
        "Add the address to `recipients` of the call, or use a listed one.",
    ),
    "mail-refused": ("The mail server refused the mail.", "Read its answer in `detail`."),
    "not-sent": (
        "The key belongs to another mail, or it is unknown whether the mail was sent.",
        "Check with the recipient, then use a new key.",
    ),
}

Statuses = dict[str, set[int]]


def raised() -> Statuses:
    """Each kind of problem that the service answers, with its statuses, as the source has them."""
    found: defaultdict[str, set[int]] = defaultdict(set)
    plugins = sorted((SRC.parent / "shroff_plugins").rglob("*.py"))
    for path in [*sorted((SRC / "web").rglob("*.py")), SRC / "worker" / "answers.py", *plugins]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for kinds, status in _problem(node):
                for kind in _texts(kinds):
                    found[kind] |= {PUSHED[kind]} if kind in PUSHED else {_number(status)}
    manifest.load_all()
    refusals = [RefusalError]
    for refusal in refusals:
        refusals += refusal.__subclasses__()
        if refusal.__module__.startswith("shroff"):  # and not of a test
            found[refusal.code].add(refusal.status)
    return dict(found)


def _problem(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The expressions of kind and status, if this is a problem: `ProblemError(…)`, `problem(…)` or its document."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in {"ProblemError", "problem"}:
        yield node.args[1], node.args[0]
    elif isinstance(node, ast.Dict):
        of = {
            key.value: value for key, value in zip(node.keys, node.values, strict=True) if isinstance(key, ast.Constant)
        }
        if {"type", "title", "status", "detail"} <= set(of) and isinstance(of["type"], ast.Constant):
            yield of["type"], of["status"]


def _texts(node: ast.expr) -> list[str]:
    """The texts that an expression can be; none of one that forwards a problem. Raises: TypeError for anything else."""
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return [*_texts(node.body), *_texts(node.orelse)]
    if ast.unparse(node) in FORWARDED:
        return []
    raise TypeError(f"the kind of a problem is {ast.unparse(node)}: write its text there")


def _number(node: ast.expr) -> int:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, int) else NAMED[ast.unparse(node)]


def errors_page() -> str:
    """The whole page."""
    kinds = [(f"`{type_}`", title, str(code), *COMMANDS[type_]) for _, type_, title, code in KINDS]
    kinds.append(("`internal-error`", "Internal error", str(MISTAKE), *COMMANDS["internal-error"]))
    statuses = raised()
    return (
        f"{MADE}# Errors and exit statuses\n\n"
        "Each command ends with an exit status that scripts can check:\n\n"
        f"{markdown_table(('exit status', 'means'), EXIT_STATUS)}\n"
        "An error is a problem document (RFC 9457). The service sends it as `application/problem+json`. Commands\n"
        "print it with `--json` on standard output, instead of the result. If the command has already written lines,\n"
        "the document goes to standard error. Each document has `type`, `title` and `detail`; the service adds\n"
        "`status`. `type` never changes, so programs can rely on it.\n\n"
        "For errors in the project's files, `errors` lists `file`, `line`, `column`, `path`, `message` and `hint`.\n"
        "For errors in the input, it lists `path` and `detail`.\n\n"
        "## Errors of commands\n\n"
        f"{markdown_table(('`type`', '`title`', 'exit status', 'meaning', 'what to do'), [*dict.fromkeys(kinds)])}\n"
        "A command that fails as a route fails with status 403, 404, 409 or 412 has the `type` of that route, such as\n"
        "`no-list`, and exit status 2. In Python, these errors are exceptions of `shroff.errors`.\n\n"
        "## Refused events and labels\n\n"
        "A refused event is not an error of the command. Instead of its decision, `decide` prints a problem document\n"
        "with `status` and `line`, and continues with the next event. In Python it is a `Refusal`. The service\n"
        "answers with the same document.\n\n"
        f"{_table(EVENTS, statuses)}\n"
        "## Errors of the service\n\n"
        f"{_table(REQUESTS, statuses)}\n"
        "## Errors about cases, rules, lists, models and jobs\n\n"
        f"{_table(OBJECTS, statuses)}"
    )


def _table(texts: Texts, statuses: Statuses) -> str:
    rows = [(f"`{kind}`", ", ".join(map(str, sorted(statuses[kind]))), *texts[kind]) for kind in texts]
    return markdown_table(("`type`", "`status`", "meaning", "what to do"), rows)
