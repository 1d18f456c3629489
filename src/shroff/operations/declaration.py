"""The declaration of an operation: a function with a typed request and a typed answer.

    @operation("lists show", right="read:definitions", http="GET /lists/{list}")
    def show_list(lists: ListFiles, request: ShowList) -> ListEntries: ...

From this come the command, the route, the Python call, the client's call, the audit row and the reference. The faces
(`cli.operations`, `web.api.operations`, `client`, `services.running`) know this module, and no operation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from inspect import signature
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    Final,
    Generic,
    NewType,
    ParamSpec,
    Self,
    TypeVar,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

import msgspec

from shroff.errors import RefusalError, UsageError, nearest
from shroff.json_types import JsonMapping, JsonObject, TextMapping
from shroff.operations import manifest
from shroff.runtime.texts import help_of, section
from shroff.runtime.values import FrozenStruct, replace

Given = ParamSpec("Given")
Outcome = TypeVar("Outcome", bound="OperationAnswer")
Outcome_co = TypeVar("Outcome_co", bound="OperationAnswer", covariant=True)
Value = TypeVar("Value")
NOT_READ = 3  # exit status: a file changed while it was read; run the command again
QUARANTINED = 4  # exit status: some input is in quarantine, the rest is done
ITEM = re.compile(r"^ {4}(\w+)(?: \((.+?)\))?: (.+(?:\n {5,}.+)*)", re.MULTILINE)  # name (METAVAR): help


class Param(FrozenStruct):
    """The meaning of a field of a request, and how a command line has it. A field without default is an argument.

    Help and metavar stand in the docstring of the request, under `Args:`, as in `until (TIME): Up to this time.`

    Args:
        help: The help, where several requests share it.
        flags: The option, where it is not the field's name: `--expires`.
        metavar: What stands for its value in help.
        complete: What a shell offers: a function of `cli.completion`.
        is_argument: Whether it is an argument and not an option, where its default does not say so.
        is_local: For commands and Python calls alone: over HTTP the caller's identity says it.
        is_file: A command line names a file, whose text is the value.
        read: Gives the value of an option's text, or of the texts of a repeated one. Raises: UsageError.
        is_repeated: Whether an option with `read` may be given several times.
        is_secret: A command reads it from standard input, with the flag; a required one is asked for at the terminal.
        is_etag: The version that is to be changed: over HTTP the header If-Match, its tags with commas between them, or
            * for whichever there is.
        is_optional: That header may be left out.
        may_be_new: In its place there may be If-None-Match: * for what is new; the value is empty then.
        asks: A command asks at the terminal whether this, with its parameters, is meant; the flag says so.
        in_query: Over HTTP it is in the query, also of a method that has a body.
        is_remote: Not for command lines.
    """

    help: str = ""
    flags: str = ""
    metavar: str = ""
    complete: str = ""
    is_argument: bool | None = None
    is_local: bool = False
    is_file: bool = False
    is_etag: bool = False
    read: Callable[[Any], Any] | None = None
    is_repeated: bool = False
    is_secret: bool = False
    in_query: bool = False
    is_remote: bool = False
    is_optional: bool = False
    may_be_new: bool = False
    asks: str = ""


Argument = Annotated[str, Param(is_argument=True)]
LocalText = Annotated[str, Param(is_local=True)]
LocalPath = Annotated[Path | None, Param(is_local=True)]
LocalSwitch = Annotated[bool, Param(is_local=True)]
DryRun = Annotated[bool, Param(flags="--dry-run")]
AsEvent = partial(Param, flags="--as", metavar="EVENT", complete="event_types")  # of the words for it


def split_words(text: str) -> tuple[str, ...]:
    """The words of an option such as `--types A,B`."""
    return tuple(word for word in text.split(",") if word)


class OperationRequest(msgspec.Struct, Generic[Outcome_co], forbid_unknown_fields=True, kw_only=True):
    """Parameters of one operation; `OperationRequest[OperationAnswer]` names the type of its answer.

    Its docstring says under `Args:` what each field means: `name: help`, or `name (METAVAR): help`.
    Parameters that do not go together are refused by `__post_init__`, with UsageError.
    """


class OperationAnswer(msgspec.Struct, kw_only=True):
    """Result of an operation. Its fields are the JSON of command and route alike. `NEXT` has commands to run next.

    `STATUS` names what the exit status follows: what holds all that failed, or is true where all is well.

    What an answer keeps beside its JSON, for its text, is an attribute without annotation in a class with `dict=True`.
    """

    NEXT: ClassVar[Sequence[str]] = ()
    STATUS: ClassVar[str] = ""

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """The answer for people, as a command prints it and a notebook shows it."""
        return "\n".join(f"{name}: {value}" for name, value in msgspec.structs.asdict(self).items())

    def remark(self) -> str:
        """What a command says on standard error beside the text, which others may read; empty for nothing."""
        return ""

    def hints(self) -> Sequence[str]:
        """Commands to run next."""
        return self.NEXT

    def exit_status(self) -> int:
        """Exit status of the command: 1 where the answer is no."""
        said = getattr(self, self.STATUS, True)
        return int(not said if isinstance(said, bool) else bool(said))

    def etag(self) -> str:
        """The version of what it shows, over HTTP in the header ETag; empty for none."""
        return ""

    def brief(self) -> JsonMapping:
        """What a job keeps of it as its result."""
        return cast("JsonMapping", msgspec.to_builtins(self))


class Beside(Generic[Value]):
    """An attribute of an answer that its JSON leaves out; its class has `dict=True`."""

    def __init__(self, *default: Value) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, answer: object | None, owner: type) -> Value:
        kept = {} if answer is None else vars(answer)
        if self._name in kept:
            value: Value = kept[self._name]
            return value
        if answer is None or not self._default:
            raise AttributeError(f"{owner.__name__} has no {self._name} yet")
        return self._default[0]

    def __set__(self, answer: object, value: Value) -> None:
        vars(answer)[self._name] = value


class ReportAnswer(OperationAnswer, Generic[Value], dict=True):
    """The JSON of a report, with the report itself for texts, pages and Python."""

    report = Beside[Value]()

    def about(self, report: Value) -> Self:
        """Keep the report, and return the answer."""
        self.report = report
        return self

    def text(self) -> str:
        return repr(self.report)


class ProgressSteps:
    """Progress of a long operation, step by step. This one shows nothing; commands draw it, jobs keep it.

    Either `counting` gives a callback for each step, or `step` begins one and `count` counts it.
    """

    def counting(self, name: str, total: int = 0) -> Callable[[int], None]:
        """A callback that counts a step of this size; 0 where it is unknown."""
        return lambda _count: None

    def step(self, name: str) -> None:
        """Begin a step."""

    def count(self, number: int) -> None:
        """Count so much more of the step."""

    def say(self, text: str) -> None:
        """Write a part of the answer for people as soon as it is known."""

    def warn(self, text: str) -> None:
        """Write a message beside the answer."""


Record = Callable[..., None]  # record(subject, before=None, after=None): writes the audit row, durable on return
Clock = Callable[[], int]  # the time now, in milliseconds since 1970
ServiceUrl = NewType("ServiceUrl", str)  # its address for the caller, without a slash at the end; empty if not known
AskedBy = NewType("AskedBy", str)  # whose request a second person approves by this; empty if one person is enough
Warn = Callable[[str], None]  # tells the user of a command what does not stop it


class RequestField(FrozenStruct):
    """One field of a request, as the faces need it: `name` in Python, `wire` in JSON, `type` without annotations."""

    name: str
    wire: str
    default: Any
    type: Any
    about: Param

    @property
    def is_required(self) -> bool:
        return self.default is msgspec.NODEFAULT


@dataclass(frozen=True)
class Operation(Generic[Given, Outcome]):
    """An act, by its declaration. It can be called as the function that it declares.

    The docstring of the function is what help says of it; the lines under `Examples:` are commands.

    Args:
        name: The words of its command: `lists add`. Its first word names the group, and the row of the manifest.
        right: The right that a route asks for, as `people.access.Right` has it.
        http: Method and path below /api/v1; names in braces are fields of the request. Empty: no route.
        has_command: Whether there is a command.
        audit: The action recorded before the act, as `object.verb`. A function that takes `Record` records by it what
            was there before; for others the row has the request.
        refusals: The errors that callers tell apart, each with its status over HTTP.
        status: Of its response over HTTP where it went well; with 202, Location is the answer's `url`.
        schema: The name of its body in OpenAPI, where it is not that of the request.
        body_bytes_max: The largest body; 0 for the limit of all routes.
        is_long: Whether it can run as a job; it takes `ProgressSteps`.
        kind: The kind of that job, where it is not the name with `-`.
        unanswered: The title of `422 bad-question`, where a question that has no answer is a mistake of its body.
        job_fields: The fields that a job takes; by default all that are not local.
        rights_of: Rights that a job takes beside, by the field that is set.
        conflict: What an answer with an exit status means over HTTP, where it has status 409.
        place: The field that names what it works on where there is no project; where it is given, none is needed.
        is_check: Whether it types drafts or runs their tests: a service does one at a time for each caller.
        of_two: Its kind in `second_person` of shroff.yaml, and behind a space the field by which it counts.
        is_shared: Whether it computes for long what all callers may see: a service does one at a time, and who waits
            takes no thread.
    """

    name: str
    run: Callable[Given, Outcome]
    right: str
    http: str = ""
    has_command: bool = True
    audit: str = ""
    refusals: Sequence[type[RefusalError]] = ()
    status: int = 200
    schema: str = ""
    body_bytes_max: int = 0
    is_long: bool = False
    kind: str = ""
    unanswered: str = ""
    job_fields: Sequence[str] = ()
    rights_of: TextMapping = field(default_factory=dict)
    conflict: str = ""
    place: str = ""
    is_check: bool = False
    is_shared: bool = False
    of_two: str = ""

    def __call__(self, *args: Given.args, **named: Given.kwargs) -> Outcome:
        return self.run(*args, **named)

    @property
    def words(self) -> str:
        """What it does: its docstring, without the examples."""
        return help_of(self.run.__doc__)[0]

    @property
    def examples(self) -> Sequence[str]:
        """Commands that run it, one a line of its docstring."""
        return help_of(self.run.__doc__)[1]

    @property
    def summary(self) -> str:
        """The first sentence of that."""
        return self.words.partition("\n")[0]

    @cached_property
    def needs(self) -> Mapping[str, Any]:
        """The types of the parameters that the function takes beside the request."""
        return {
            name: self._named(parameter.annotation)
            for name, parameter in signature(self.run).parameters.items()
            if name != "request"
        }

    @cached_property
    def request(self) -> type[OperationRequest[Any]]:
        """The type of its request."""
        annotation = signature(self.run).parameters["request"].annotation
        return cast("type[OperationRequest[Any]]", self._named(annotation))

    @cached_property
    def answer(self) -> type[OperationAnswer]:
        """The type of its answer; the first of several, of which others are for commands alone."""
        return cast("type[OperationAnswer]", self._named(self.answer_name))

    @property
    def answer_name(self) -> str:
        first, _, _ = signature(self.run).return_annotation.partition(" | ")
        return str(first)

    def _named(self, annotation: Any) -> Any:
        if not isinstance(annotation, str):
            return annotation
        if annotation in self.run.__globals__:
            return self.run.__globals__[annotation]
        words = f"the operation '{self.name}' needs {annotation}, which {self.run.__module__} does not import"
        raise UsageError(f"{words} at run time. Import it outside 'if TYPE_CHECKING'.")

    @cached_property
    def fields(self) -> Sequence[RequestField]:
        """The fields of its request, in their order."""
        return fields_of(self.request)

    @property
    def method(self) -> str:
        return self.http.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.http.partition(" ")[2]

    def fields_in(self, place: str) -> Sequence[RequestField]:
        """The fields that a request over HTTP has in its `path`, `query`, `header` or `body`."""
        return [field for field in self.fields if not field.about.is_local and self._place(field) == place]

    def _place(self, field: RequestField) -> str:
        if f"{{{field.wire}}}" in self.path:
            return "path"
        if field.about.is_etag:
            return "header"
        return "query" if field.about.in_query or self.method in {"GET", "DELETE"} else "body"

    @cached_property
    def body(self) -> type[msgspec.Struct] | None:
        """The type of what is posted; None where nothing is."""
        made = self._struct(self.schema or self.request.__name__, self.fields_in("body"))
        return _BODIES.setdefault(self.schema, made) if self.schema else made

    @cached_property
    def query(self) -> type[msgspec.Struct] | None:
        """The type of the query; None where there is none."""
        return self._struct(f"{self.request.__name__}Query", self.fields_in("query"))

    def _struct(self, name: str, fields: Sequence[RequestField]) -> type[msgspec.Struct] | None:
        words = {"__doc__": section(self.request.__doc__, "Args")[0]}
        return struct_of(name, fields, words, kw_only=True) if fields else None

    def read(self, values: JsonMapping) -> OperationRequest[Any]:
        """A request of values by their Python names, texts where they come from a line. Raises: RefusalError."""
        wire = {field.name: field.wire for field in self.fields}
        for unknown in values.keys() - wire.keys():
            raise InvalidRequestError(f"{self.name} has no field {unknown!r}. It has {', '.join(wire) or 'none'}.")
        given = {wire[name]: value for name, value in values.items() if value is not None}
        try:
            read: OperationRequest[Any] = msgspec.convert(given, self.request, strict=False)
        except msgspec.ValidationError as error:
            python = {f"{mark}{sent}": f"{mark}{name}" for name, sent in wire.items() for mark in ("`", "$.")}
            words = re.sub(r"[`$]\.?\w+", lambda found: python.get(found[0], found[0]), str(error))
            raise InvalidRequestError(f"{self.name}: {words}.") from None
        return read


def struct_of(name: str, fields: Sequence[RequestField], namespace: JsonObject, **more: Any) -> type[msgspec.Struct]:
    """A type with some fields of a request, as it is sent; `more` as `msgspec.defstruct` takes it."""
    members: list[Any] = [
        (
            request_field.name,
            Annotated[request_field.type, msgspec.Meta(description=request_field.about.help)],
            request_field.default,
        )[: 2 + (not request_field.is_required)]
        for request_field in fields
    ]
    rename = {request_field.name: request_field.wire for request_field in fields}
    return msgspec.defstruct(name, members, rename=rename, forbid_unknown_fields=True, namespace=namespace, **more)


def fields_of(request: type[OperationRequest[Any]]) -> Sequence[RequestField]:
    """The fields of a request, in their order, with what its docstring and those of its bases say."""
    hints = get_type_hints(request, include_extras=True)
    said = {
        name: words
        for base in reversed(request.__mro__)
        for name, *words in ITEM.findall(section(base.__doc__, "Args")[1])
    }
    # The default of a field; NODEFAULT where it has none
    return [
        RequestField(
            field.name,
            field.encode_name,
            field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory(),
            *_parts(hints[field.name], *said.get(field.name, ())),
        )
        for field in msgspec.structs.fields(request)
    ]


class InvalidRequestError(RefusalError):
    """The request cannot be parsed or validated."""

    status = 422
    code = "bad-body"
    title = "The request cannot be read"


def _parts(hint: Any, metavar: str = "", words: str = "") -> tuple[Any, Param]:
    """Type and meaning of a field; other annotations than `Param`, as bounds, stay with the type."""
    type_, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    about = next((extra for extra in extras if isinstance(extra, Param)), Param())
    for other in extras:
        type_ = type_ if other is about else Annotated[type_, other]
    return type_, replace(about, help=about.help or re.sub(r"\n +", " ", words), metavar=about.metavar or metavar)


class OperationGroup(FrozenStruct):
    """The operations under one word: the help of its command, with examples."""

    name: str
    words: str
    examples: Sequence[str] = ()


OPERATIONS: Final[dict[str, Operation[..., Any]]] = {}  # by name; of the modules that were imported
GROUPS: Final[dict[str, OperationGroup]] = {}
_BODIES: Final[dict[str, type[msgspec.Struct] | None]] = {}  # that several operations share, by their name
_BY_REQUEST: Final[dict[type, Operation[..., Any]]] = {}


def group(name: str, text: str) -> None:
    """Declare what the operations under a word have in common; `Examples:` may end the text."""
    GROUPS[name] = OperationGroup(name, *help_of(text))


def operation(name: str, *, right: str, **more: Any) -> Callable[[Callable[Given, Outcome]], Operation[Given, Outcome]]:
    """Declare the function below as an operation, with what `Operation` takes.

    Its parameter `request` is the request; all others are found by their types (see `services.running`).

    Raises: ValueError where there is one of this name.
    """

    def declare(run: Callable[Given, Outcome]) -> Operation[Given, Outcome]:
        declared = Operation(name, run, right, **more)
        known = OPERATIONS.get(name)
        if known is not None and known.run.__module__ != run.__module__:
            raise ValueError(f"operation {name!r} is declared by {known.run.__module__} and by {run.__module__}")
        OPERATIONS[name] = _BY_REQUEST[declared.request] = declared
        return declared

    return declare


def operation_of(request: OperationRequest[Outcome]) -> Operation[..., Outcome]:
    """The operation of a request, also of one whose operation lies in a module that nobody imported yet."""
    if type(request) not in _BY_REQUEST:
        manifest.load_all()
    return _BY_REQUEST[type(request)]


def operations_of(word: str) -> Iterator[Operation[..., Any]]:
    """The operations whose names begin with a word."""
    return (operation for name, operation in OPERATIONS.items() if name.split()[0] == word)


def request_of(name: str, values: JsonMapping) -> OperationRequest[Any]:
    """The request of an operation that is named as its command is: `lists show`. Raises: RefusalError."""
    if manifest.is_known(word := name.partition(" ")[0]):
        manifest.load(word)
    if name not in OPERATIONS:
        manifest.load_all()
        raise InvalidRequestError(f"There is no operation {name!r}. {nearest(name, OPERATIONS)}".rstrip())
    return OPERATIONS[name].read(values)
