"""The pages of the reference about project files and the Python interface, made from the program's tables."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import shroff
from shroff import config
from shroff.language.keys import Either, Key, Late, Many, MappingShape, Shape
from shroff.notices.keys import NOTICE_FILE
from shroff.notices.texts.text_check import NAMES_OF
from shroff.operations import manifest
from shroff.operations.declaration import OPERATIONS
from shroff.project.file_kinds import ProjectFile
from shroff.project.schema import project_files
from shroff.services.context import ProjectContext

MADE: Final = "<!-- Made from the program by `make docs`; what is changed here is lost. -->\n"
PAGES: Final = {
    kind: f"{kind}-yaml"
    for kind in ("shroff", "events", "features", "policy", "model", "calls", "funnels", "assistant", "schedules")
} | {"notice": "notices"}
EXAMPLES: Final = {
    "shroff": "shroff: 1\nname: mybank\nmoney: EUR\nlateness: 1d\n",
    "events": "payment:\n  id: payment_id\n  time: paid_at\n  decide: true\n  fields:\n    payment_id: text\n"
    "    paid_at: time\n    card: text hashed\n    amount: money\n    country: text?\n"
    "entities:\n  card: { payment: card }\n",
    "features": "card:\n  payments_1h: count(payment) over 1h\n  mean_30d: mean(payment.amount) over 30d\n",
    "rules": "- id: large_amount\n  on: payment\n  by: card\n  when: this.amount > 1000\n"
    "  reason: A payment of {this.amount}\n  effect: review\n",
    "policy": "payment:\n  without_model: rules\n  costs:\n    missed_fraud: payment.amount\n    false_decline: 15\n",
    "laws": "blocked_cards:\n  sentence: A blocked card is declined.\n  on: payment\n"
    "  when: this.card in lists.blocked_cards\n  never: [approve, challenge, review]\n  required: true\n",
    "notice": "on: flag\nevent: payment\nto: { field: email }\nask: true\nlasts: 1d\n",
    "model": "payment:\n  inputs:\n    - payment.amount\n    - hour(payment.paid_at)\n"
    "    - weekday(payment.paid_at) >= 5\n    - card.*\n  label_delay: 7d\n  learner: xgboost\n"
    "  split: { train: 28d, delay: 7d, test: 7d, folds: 4 }\n  capacity: { by: card, k: 100 }\n  gates:\n"
    "    average_precision: { at_least: 0.5, above_champion_by: noise }\n    calibration_error: { at_most: 0.02 }\n"
    "    latency_p99: { at_most: 1ms }\n    leak_test: required\n",
    "calls": "/predict/:\n  event: payment\n  lists: { features: [amount, card] }\n  answer:\n"
    "    prediction: 1 when score >= 0.5 or decision.outcome != 'approve' else 0\n    score: score\n"
    "    features: [card.*]\n",
    "funnels": "growing:\n  user: card\n  steps:\n    - payment\n"
    "    - { name: large, event: payment, where: this.amount > 100 }\n  within: 7d\n",
    "assistant": "url: http://localhost:11434/v1\nmodel: qwen3:14b\n",
    "schedules": "nightly_marts:\n  kind: marts\n  cron: '0 5 * * *'\n  zone: Europe/Berlin\n"
    "  params: { full: true }\n  catch_up: last\n  timeout: 1h\n  retries: 2\n  overlap: skip\n",
}
MORE: Final = {
    "shroff": "It is the only file that must exist.\n",
    "events": "[The language](language.md#types) has the types of fields. For label files and mappings see "
    "[map a CSV](../howto/map-a-csv.md).\n",
    "features": "Entities are declared in `events.yaml`. A feature's full name is `entity.name`. "
    "Its value is an [aggregate](aggregates.md) or another expression of [the language](language.md).\n",
    "rules": "A file in `rules/` is a list of rules. For a guide see "
    "[write a rule with its test](../howto/write-a-rule.md).\n",
    "policy": "Without this file, the outcome is the strongest effect among the rules that hit.\n",
    "notice": "The name of a notice is its file name; rules refer to it with `notify`. For a guide see "
    "[notify people, and ask customers](../howto/tell-people.md).\n",
    "laws": "For a guide see [prove a policy](../howto/prove-a-policy.md). The files do not affect decisions.\n",
    "model": "Only event types that are decided have a model. All keys are optional: `payment: {}` is a valid model. "
    "A change in this file takes effect with the next training. Decisions use only models that were trained and "
    "promoted.\n",
    "calls": "For a guide see [answer the calls of an earlier service](../howto/answer-earlier-calls.md). "
    "The service reads this file when it starts. It does not affect decisions.\n",
    "funnels": "For a guide see [count drop-off in funnels](../howto/count-funnels.md). "
    "The file is read again for each query. It does not affect decisions.\n",
    "assistant": "For a guide see "
    "[let a language model draft rules](../howto/connect-an-assistant.md#let-a-language-model-draft-rules). "
    "Commands read it at each question, and a service shows its page if the file was there at the start. "
    "It does not affect decisions.\n",
    "schedules": "For a guide see [run jobs](../howto/run-jobs.md). The process that runs jobs reads the file again "
    "when it changes. It does not affect decisions. It needs the extra `jobs`.\n",
}


def page_of(file: ProjectFile) -> str:
    """The name of the page about one kind of file."""
    return f"{PAGES.get(file.kind, file.kind)}.md"


def file_pages() -> dict[str, str]:
    """The page of each kind of project file, by its name."""
    return {page_of(file): file_page(file) for file in (*project_files(), NOTICE_FILE)}


def file_page(file: ProjectFile) -> str:
    tables = {id(keys): (title, keys) for title, keys in reversed([*tables_of(file.shape, "")])}  # each once
    sections = "".join(section(title, keys) for title, keys in reversed(tables.values()))
    more = text_names() if file.kind == "notice" else ""
    return (
        f"{MADE}# {file.place}\n\n{file.meaning} {MORE[file.kind]}\n"
        f"```yaml\n{EXAMPLES[file.kind]}```\n\n{sections}"
        "Other keys are refused; the error suggests the nearest valid key. "
        f"[Editors](schema.md) can complete and check these keys.\n{more}"
    )


TEXTS: Final = {
    "question": "a mail with `ask: true`",
    "receipt": "a mail to the address that the event names, such as `to: { field: email }`, without `ask`",
    "notice": "a mail to staff: `to` is an address, several, or a role",
    "report": "`on: report`",
    "figures": "`on: report` with `figures` or `funnels`",
}


def text_names() -> str:
    """What each kind of mail text may name."""
    head = (
        "\n## Names in mail texts\n\nYour own text, such as `notices/customer.txt.j2`, can use the names of its "
        "kind in the tables below, and the names in the notice's `show`. `shroff check` refuses any other name, "
        "and renders each text once with sample values.\n"
    )
    parts = [head]
    for kind, names in NAMES_OF.items():
        rows = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in names.items())
        parts.append(f"\n### `{kind}`: {TEXTS[kind]}\n\n| name | meaning |\n| --- | --- |\n{rows}")
    return "".join(parts)


def tables_of(shape: Shape, title: str) -> Iterator[tuple[str, MappingShape]]:
    """Every mapping with keys, in the order of the file, under the way to it."""
    match shape:
        case MappingShape():
            if shape.keys:
                yield title, shape
            if shape.named is not None:
                yield from tables_of(shape.named, f"{title}.NAME" if title else "NAME")
            for key in shape.keys:
                if key.shape is not None:
                    yield from tables_of(key.shape, f"{title}.{key.name}" if title else key.name)
        case Many(_, item):
            yield from tables_of(item, title)
        case Either(shapes):
            for choice in shapes:
                yield from tables_of(choice, title)
        case Late(make):
            yield from tables_of(make(), title)


def section(title: str, keys: MappingShape) -> str:
    rows = [key_row(key) for key in keys.keys]
    heading = f"## `{title}`: {keys.what}\n\n" if title else ""
    own = (
        f"Each other key is a name of your choice, with {keys.named.what} as its value.\n\n"
        if keys.named is not None
        else ""
    )
    return f"{heading}{markdown_table(('key', 'type', 'default', 'meaning'), rows)}\n{own}"


def key_row(key: Key) -> Sequence[str]:
    takes = "not available yet" if key.shape is None else key.shape.what
    left_out = "required" if key.is_required else f"`{key.default}`" if key.default.isalnum() else key.default
    example = f" Example: `{key.examples[0]}`" if key.examples else ""
    return f"`{key.name}`", takes, left_out, f"{key.meaning}{example}"


# ---- Python


def python_page() -> str:
    calls = [call_part(name, getattr(shroff.Project, name)) for name in public_calls()]
    parts = [part_section(name) for name in part_names()]
    values = [value_part(name) for name in ("Decision", "Reason", "Undecided", "Refusal")]
    return (
        f"{MADE}# Python\n\n"
        "`shroff.open(folder)` opens the project in a folder or its parents. The commands use the same methods. For "
        "examples see [in a notebook](../howto/in-a-notebook.md).\n\n"
        "A time, as in `as_of`, is a text such as `2026-06-30T12:00:00Z`, a `datetime` (UTC if it has no time zone), "
        "or a day, which means its start in UTC. Tables are pyarrow tables. Errors are exceptions of "
        "`shroff.errors`.\n\n"
        f"## Calls of a project\n\n{''.join(calls)}## Parts of a project\n\n"
        "A project has a part for each subject. Access to a part opens no files.\n\n"
        f"{''.join(parts)}## Values\n\n{''.join(values)}"
    )


def part_section(name: str) -> str:
    """One part of a project: what it is for, and its calls."""
    part = getattr(shroff.Project(ProjectContext(config.ProjectPaths(Path("nowhere")))), name)
    calls = inspect.getmembers(type(part), inspect.isfunction)
    found = [call_part(f"{name}.{call}", member, "####") for call, member in calls if not call.startswith("_")]
    return f"### {name}\n\n{prose(type(part))}\n{''.join(found)}"


def part_names() -> list[str]:
    """The parts of a project, by name."""
    made = {name for name, value in inspect.getmembers(shroff.Project) if isinstance(value, cached_property)}
    return sorted(made - PARTS_INSIDE)


# Calls that commands alone need: how they read, write, wait and show what goes on.
INSIDE: Final = frozenset({"acting_as"})
PARTS_INSIDE: Final = frozenset({"inboxes", "outside", "requests", "routes"})


def public_calls() -> list[str]:
    """The calls of a project that programs build on, by name."""
    calls = [name for name, _ in inspect.getmembers(shroff.Project, callable) if not name.startswith("_")]
    return [name for name in calls if name not in INSIDE]


def call_part(name: str, member: Callable[..., object], head: str = "###") -> str:
    signature, options = inspect.signature(member), options_of(member)
    parameters = {
        key: parameter for key, parameter in signature.parameters.items() if options is None or key != options[0]
    }
    if options is not None:
        parameters |= inspect.signature(options[1]).parameters
    # A function that is the default would show its address.
    named = [parameter for key, parameter in parameters.items() if key not in HIDDEN]
    shown = [
        parameter.replace(annotation=parameter.empty)
        for parameter in named
        if not inspect.isfunction(parameter.default)
    ]
    text = f"{name}{signature.replace(parameters=shown, return_annotation=signature.empty)}"
    return f"{head} {name}\n\n`project.{text}`\n\n{prose(member, options)}\n"


def options_of(member: Callable[..., object]) -> tuple[str, type] | None:
    """The name of `**options: Unpack[...]`, and the dataclass with the same fields, which has defaults and meaning."""
    last = [*inspect.signature(member).parameters.values()][-1]
    if last.kind is not last.VAR_KEYWORD or not str(last.annotation).startswith("Unpack["):
        return None
    known = vars(sys.modules[member.__module__])
    keys = known[str(last.annotation)[7:-1]].__annotations__.keys() if str(last.annotation)[7:-1] in known else ()
    found = (kind for kind in known.values() if inspect.isclass(kind) and is_dataclass(kind))
    return next(((last.name, kind) for kind in found if {item.name for item in fields(kind)} == {*keys}), None)


HIDDEN: Final = {
    "self",
    "progress",
    "restoring",
    "sorting",
    "meter",
    "on_batch",
    "waits",
    "way",
    "say",
}  # what the commands alone need


def value_part(name: str) -> str:
    fields = ", ".join(f"`{field}`" for field in inspect.signature(getattr(shroff, name)).parameters)
    return f"### {name}\n\n{prose(getattr(shroff, name))}\nFields: {fields}.\n\n"


def prose(member: object, options: tuple[str, type] | None = None) -> str:
    """A docstring as markdown: `Args:` and its like as lists, what hidden arguments mean left out.

    The item of `**options` is replaced by those of the dataclass that says what they are.
    """
    text = with_options(inspect.getdoc(member) or "", member)
    if options is not None:
        items = (inspect.getdoc(options[1]) or "").partition("Args:\n")[2].rstrip() + "\n"
        text = re.sub(
            rf"^    {options[0]}: .*\n(?:     .*\n)*", lambda _: items, f"{text}\n", flags=re.MULTILINE
        ).rstrip()
    lines: list[str] = []
    is_hidden = False
    for line in text.splitlines():
        item = re.match(r"    (\w+): ", line)
        is_hidden = item[1] in HIDDEN if item else is_hidden and line.startswith("     ")
        if not is_hidden:
            lines.append(re.sub(r"^    (\w+): ", r"- `\1`: ", line).strip())
    return re.sub(r"\n+Args:\n*", "\n\n", "\n".join(lines)) + "\n"


OF_COMMAND: Final = re.compile(r"^Args: as `shroff ([\w -]+)` has them(?:, and|\.)$", re.MULTILINE)


def with_options(text: str, member: object) -> str:
    """A docstring with the help of each argument that it leaves to the command of the same name."""
    command = OF_COMMAND.search(text)
    if command is None or not callable(member):
        return text
    manifest.load_all()
    names = inspect.signature(member).parameters.keys() - set(re.findall(r"^    (\w+): ", text, flags=re.MULTILINE))
    shared = [field for field in OPERATIONS[command[1]].fields if field.name in names]
    assert shared, f"{command[0]}: the call has no argument of this command"
    items = "".join(f"    {field.name}: {field.about.help}\n" for field in shared)
    return f"{text[: command.start()]}Args:\n{items.rstrip()}{text[command.end() :]}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


REFERENCE: Final = Path(__file__).resolve().parent / "reference"


def made_file_pages() -> dict[Path, str]:
    """Each page that is made here, with its text."""
    pages = file_pages() | {"python.md": python_page()}
    return {REFERENCE / name: text for name, text in pages.items()}
