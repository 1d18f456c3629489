"""Derive commands from declared operations: options, arguments, help, completion, output and exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial, wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
import msgspec

from shroff import config
from shroff.cli import completion
from shroff.cli.progress import ProgressBars, unknown
from shroff.cli.session import ExampleCommand, ExampleGroup, Function, Session, command, json_option, one_line
from shroff.cli.stages import Stages, stages
from shroff.errors import UsageError
from shroff.json_types import JsonObject
from shroff.operations.declaration import (
    GROUPS,
    Operation,
    OperationAnswer,
    OperationRequest,
    Param,
    ProgressSteps,
    RequestField,
    fields_of,
    operations_of,
)

Asked = TypeVar("Asked", bound=OperationRequest[Any])
FORMAT = Param(
    "csv, jsonl, parquet, avro or xml.  [default: by the file's extension, else by its content]",
    metavar="FORMAT",
    complete="formats",
)
HASHED = Param(
    "The values of hashed fields are hashes already, as 'shroff export events' writes them.", flags="--hashed"
)


def command_of(word: str) -> click.Command:
    """Return the command of the operations under a word: a group, or a single operation of that name."""
    declared = [operation for operation in operations_of(word) if operation.has_command]
    if word not in GROUPS:
        (alone,) = declared
        return _command(alone)
    about = GROUPS[word]

    @click.group(word, cls=ExampleGroup, invoke_without_command=any(operation.name == word for operation in declared))
    @json_option
    @click.pass_context
    def group_command(context: click.Context) -> int | None:
        own = next((operation for operation in declared if operation.name == word), None)
        return _run(own, context.obj, {}) if own is not None and context.invoked_subcommand is None else None

    group_command.help = about.words
    group_command.examples = about.examples
    for operation in declared:
        if operation.name != word:
            group_command.add_command(_command(operation))
    # Further commands of the group, which stream or wait, are in cli/WORD.py
    name = f"shroff.cli.{word.replace('-', '_')}"
    for by_hand in getattr(import_module(name), "BY_HAND", ()) if find_spec(name) is not None else ():
        group_command.add_command(by_hand)
    return group_command


def _command(declared: Operation[..., Any]) -> ExampleCommand:
    def call(session: Session, **values: Any) -> int:
        return _run(declared, session, values)

    call.__doc__ = declared.run.__doc__
    return command(declared.name.rpartition(" ")[2])(options_of(declared.request)(call))


def options_of(request: type[OperationRequest[Any]]) -> Callable[[Function], Function]:
    def add(function: Function) -> Function:
        for field in reversed(fields_of(request)):
            if not field.about.is_remote:
                function.__dict__.setdefault("__click_params__", []).append(_parameter(field))  # click's attribute
        return function

    return add


def takes(request: type[Asked]) -> Callable[[Callable[[Session, Asked], int | None]], Callable[..., int | None]]:
    """Return a decorator that adds a request's arguments and options to a command, which gets them as one value."""

    def decorate(function: Callable[[Session, Asked], int | None]) -> Callable[..., int | None]:
        @wraps(function)
        def run(session: Session, **values: Any) -> int | None:
            return function(session, request(**values))

        return options_of(request)(run)

    return decorate


def _run(declared: Operation[..., Any], session: Session, values: JsonObject) -> int:
    """Run an operation, print its answer as text or JSON, and return the exit status."""
    request = declared.read(values)  # first, so that invalid values are reported even without a project
    with ExitStack() as resources:
        project = session.project_or_folder() if values.get(declared.place) else session.project
        answer: OperationAnswer = project.run(request, DrawnSteps(session, resources))
    return tell(session, answer)


def tell(session: Session, answer: OperationAnswer) -> int:
    """Print an answer with its remark and hints, and return the exit status."""
    session.answer(msgspec.to_builtins(answer), "" if session.is_json else answer.text())
    remark = answer.remark()
    if remark:
        session.say(remark)
    hints = answer.hints()
    if hints:
        session.next(*hints)
    return answer.exit_status()


# ---- progress


class DrawnSteps(ProgressSteps):
    """Progress of an operation as bars or stages. `resources`, which is closed after the operation, removes them."""

    def __init__(self, session: Session, resources: ExitStack) -> None:
        self._session = session
        self._resources = resources
        self._bars: ProgressBars | None = None
        self._stages: Stages | None = None

    def counting(self, name: str, total: int = 0) -> Callable[[int], None]:
        """Return a callback that counts a step of `total`; 0 if it is unknown."""
        if not sys.stderr.isatty():
            return super().counting(name, total)
        bars = self._bars
        if bars is None:
            bars = ProgressBars()
            self._bars = bars
            self._resources.callback(bars.stop)
        return partial(bars.advance, (name, (lambda: bars.count / total) if total else unknown))

    def step(self, name: str) -> None:
        if self._stages is None:
            self._stages = self._resources.enter_context(stages())
        self._stages.begin(name)

    def count(self, number: int) -> None:
        if self._stages is not None:
            self._stages.count(number)

    def say(self, text: str) -> None:
        """Print a line of the answer, unless the answer is JSON."""
        if not self._session.is_json:
            self._session.show(text)
            self._session.flush()

    def warn(self, text: str) -> None:
        self._session.say(f"shroff: {text}")


# ---- parameters


def _parameter(field: RequestField) -> click.Parameter:
    about = field.about
    kind, is_many = _kind(field)
    if about.is_secret:
        secret = partial(_secret, field)
        return click.Option([about.flags, field.name], is_flag=True, callback=secret, help=about.help)
    if about.asks:
        return click.Option(
            [about.flags, field.name], is_flag=True, callback=partial(_confirmed, about.asks), help=about.help
        )
    offer = getattr(completion, about.complete) if about.complete else None
    is_argument = field.is_required and not about.flags if about.is_argument is None else about.is_argument
    if is_argument:
        return click.Argument(
            [field.name],
            type=kind,
            required=field.is_required and not (is_many and about.is_argument),
            **({} if field.is_required else {"default": None if is_many else field.default}),
            nargs=-1 if is_many else 1,
            metavar=about.metavar or None,
            shell_complete=offer,
            help=about.help or None,
        )
    read = about.read
    default: JsonObject = {} if field.is_required else {"default": None if read is not None else field.default}
    return click.Option(
        [about.flags or f"--{field.name.replace('_', '-')}", field.name],
        type=kind if read is None else click.STRING,
        is_flag=kind is click.BOOL,
        multiple=is_many if read is None else about.is_repeated,
        required=field.is_required,
        metavar=about.metavar or None,
        **default,
        callback=None if read is None else lambda _context, _option, text: read(text) if text else None,
        help=about.help,
        show_default=bool(field.default) and kind is not click.BOOL,
        shell_complete=offer,
    )


def _secret(field: RequestField, context: click.Context, parameter: click.Parameter, is_given: bool) -> str:
    if context.resilient_parsing or not (is_given or field.is_required):
        return ""
    if is_given:
        text = sys.stdin.readline().rstrip("\r\n")
        if not text:
            raise UsageError(f"the first line of standard input is empty; it must be the {field.name}.")
        return text
    if not sys.stdin.isatty():
        raise UsageError(f"there is no terminal to ask for a {field.name}: add {field.about.flags}.")
    entered: str = click.prompt(f"New {field.name}", hide_input=True, confirmation_prompt=True, err=True)
    return entered


def _confirmed(question: str, context: click.Context, _option: click.Parameter, is_sure: bool) -> bool:
    """Ask the user at the terminal to confirm, unless the flag is set.

    Raises: UsageError without a terminal; click.Abort if the user declines.
    """
    if not is_sure and not context.resilient_parsing:
        text = one_line(question.format(**context.params))
        if not sys.stdin.isatty():
            raise UsageError(f"{text} Add --yes to confirm.")
        click.confirm(f"{text} Continue?", abort=True, err=True)
    return is_sure


def _kind(field: RequestField) -> tuple[click.ParamType[Any], bool]:
    type_ = _bare(field.type)
    is_many = False
    if get_origin(type_) in {list, tuple}:
        type_ = _bare(get_args(type_)[0])
        is_many = True
    if field.about.is_file:
        return _TextFile(), is_many
    if get_origin(type_) is Literal:
        return click.Choice([str(word) for word in get_args(type_)]), is_many
    bounds = _bounds(field.type)
    if type_ in {int, float} and bounds is not None:
        range_: Any = click.IntRange if type_ is int else click.FloatRange
        return range_(bounds.ge, bounds.le), is_many
    kinds: dict[Any, click.ParamType[Any]] = {int: click.INT, float: click.FLOAT, bool: click.BOOL, Path: _PATH}
    return kinds.get(type_, click.STRING), is_many


def _bare(type_: Any) -> Any:
    if get_origin(type_) is Annotated:
        return _bare(get_args(type_)[0])
    if get_origin(type_) in {Union, UnionType}:
        return _bare(next(part for part in get_args(type_) if part is not NoneType))
    return type_


def _bounds(type_: Any) -> msgspec.Meta | None:
    if get_origin(type_) in {Union, UnionType}:
        bounds = (_bounds(part) for part in get_args(type_))
        return next((bound for bound in bounds if bound is not None), None)
    return next((extra for extra in getattr(type_, "__metadata__", ()) if isinstance(extra, msgspec.Meta)), None)


class _TextFile(click.ParamType[Any]):
    """A file on the command line, read as text."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return config.read_text(Path(value))


_PATH = click.Path(path_type=Path)
