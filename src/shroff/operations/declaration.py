"""The declaration of an operation: a function with a typed request and a typed answer.

    @operation("lists show", right="read:definitions", http="GET /lists/{list}")
    def show_list(lists: ListFiles, request: ShowList) -> ListEntries: ...

A declaration makes the command, the route, the Python call, the client's call, the audit row and the reference. The
modules that do so (`cli.operations`, `web.api.operations`, `client`, `services.running`) know no single operation.
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
from shroff.runtime.texts import TextTable, help_of, section
from shroff.runtime.values import FrozenStruct, replace

Given = ParamSpec("Given")
Outcome = TypeVar("Outcome", bound="OperationAnswer")
Outcome_co = TypeVar("Outcome_co", bound="OperationAnswer", covariant=True)
Value = TypeVar("Value")
NOT_READ = 3  # exit status: a file changed while it was read; run the command again
QUARANTINED = 4  # exit status: some input is in quarantine, the rest was processed
ITEM = re.compile(r"^ {4}(\w+)(?: \((.+?)\))?: (.+(?:\n {5,}.+)*)", re.MULTILINE)  # name (METAVAR): help


class Param(FrozenStruct):
    """The meaning of a request's field, and its form on a command line and over HTTP.

    A field without a default is an argument of the command, any other an option. Its help and metavar are in the
    docstring of the request, under `Args:`, as in `until (TIME): Up to this time.`

    Args:
        help: The help, if several requests share it.
        flags: The option, if it is not the field's name: `--expires`.
        metavar: The placeholder of the value in help.
        complete: A function of `cli.completion` that returns values for the shell to offer.
        is_argument: Makes it an argument, or an option, whatever its default.
        is_local: Only for commands and Python calls; over HTTP the caller's identity determines it.
        is_file: On a command line it is the name of a file with the value.
        read: Parses an option's text, or the texts of a repeated option. Raises: UsageError.
        is_repeated: Whether an option with `read` may be given several times.
        is_secret: With the flag, a command reads it from standard input; if required, it asks for it at the terminal.
        is_etag: The version to be changed; over HTTP the header If-Match: tags with commas between them, or * for any.
        is_optional: That header may be left out.
        may_be_new: The header If-None-Match: * may replace it, to create something; the value is then empty.
        asks: The question of a command at the terminal, with fields in braces; the flag confirms without asking.
        in_query: Over HTTP it is in the query even if the method has a body.
        is_remote: Not on command lines.
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
AsEvent = partial(Param, flags="--as", metavar="EVENT", complete="event_types")  # call it with the help


def split_words(text: str) -> tuple[str, ...]:
    """Return the words of an option such as `--types A,B`."""
    return tuple(word for word in text.split(",") if word)


class OperationRequest(msgspec.Struct, Generic[Outcome_co], forbid_unknown_fields=True, kw_only=True):
    """Parameters of one operation. A subclass of `OperationRequest[SomeAnswer]` has an answer of that type.

    Its docstring explains each field under `Args:`, as `name: help` or `name (METAVAR): help`; before that it says only
    what the operation does not. Its `__post_init__` raises UsageError for parameters that exclude each other.
    """


class OperationAnswer(msgspec.Struct, kw_only=True):
    """Result of an operation. Its fields are the JSON of the command and of the route. `NEXT` has commands to run next.

    `STATUS` is the name of an attribute that determines the exit status: a collection of failures, or a bool that is
    true for success. A `Beside` attribute keeps a value for `text` that the JSON leaves out. `TABLE` shows its rows.
    """

    NEXT: ClassVar[Sequence[str]] = ()
    TABLE: ClassVar[TextTable | None] = None
    STATUS: ClassVar[str] = ""

    def __repr__(self) -> str:
        return self.text()

    def text(self) -> str:
        """Format the answer for people, as a command prints it and a notebook shows it."""
        if self.TABLE is not None:
            return self.TABLE.of(self)
        return "\n".join(f"{name}: {value}" for name, value in msgspec.structs.asdict(self).items())

    def remark(self) -> str:
        """Return a message that a command prints on standard error, so that it is not part of the output; or ""."""
        return ""

    def hints(self) -> Sequence[str]:
        return self.NEXT

    def exit_status(self) -> int:
        """Return the exit status of the command: 1 if the attribute that `STATUS` names is false, or has failures."""
        result = getattr(self, self.STATUS, True)
        return int(not result) if isinstance(result, bool) else int(bool(result))

    def etag(self) -> str:
        """Return the version of the shown object for the HTTP header ETag; "" for no header."""
        return ""

    def brief(self) -> JsonMapping:
        """Return the part of the answer that a job stores as its result."""
        return cast("JsonMapping", msgspec.to_builtins(self))


class Beside(Generic[Value]):
    """An attribute of an answer that its JSON leaves out. The class must have `dict=True`.

    Reading it raises AttributeError if it was never set and has no default.
    """

    def __init__(self, *default: Value) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, answer: object | None, owner: type) -> Value:
        attributes = {} if answer is None else vars(answer)
        if self._name in attributes:
            value: Value = attributes[self._name]
            return value
        if answer is None or not self._default:
            raise AttributeError(f"{owner.__name__} has no {self._name} yet")
        return self._default[0]

    def __set__(self, answer: object, value: Value) -> None:
        vars(answer)[self._name] = value


class ReportAnswer(OperationAnswer, Generic[Value], dict=True):
    """An answer with the JSON of a report, and the report itself for texts, pages and Python."""

    report = Beside[Value]()

    def about(self, report: Value) -> Self:
        self.report = report
        return self

    def text(self) -> str:
        return repr(self.report)


class ProgressSteps:
    """Progress of a long operation, by steps. This class ignores it; subclasses draw it or store it for a job.

    An operation calls `counting` for each step and then its result, or `step` and then `count`.
    """

    def counting(self, name: str, total: int = 0) -> Callable[[int], None]:
        """Begin a step of `total` items (0: unknown), and return a callback that counts items of it."""
        return lambda _count: None

    def step(self, name: str) -> None:
        """Begin a step of unknown size."""

    def count(self, number: int) -> None:
        """Count this many further items of the step."""

    def say(self, text: str) -> None:
        """Show a part of the answer's text before the operation ends."""

    def warn(self, text: str) -> None:
        """Show a message that is not part of the answer."""


Record = Callable[..., None]  # record(subject, before=None, after=None): writes the audit row, durable on return
Clock = Callable[[], int]  # the time now, in milliseconds since 1970
ServiceUrl = NewType("ServiceUrl", str)  # the service's address for the caller, without a final slash; "" if unknown
AskedBy = NewType("AskedBy", str)  # the person whose request the caller approves; "" if one person is enough
Warn = Callable[[str], None]  # shows a warning to the user of a command


class RequestField(FrozenStruct):
    """One field of a request: its `name` in Python, `wire` in JSON, and `type` without its `Param`."""

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
    """A declared operation. Calling it calls its function.

    The docstring of the function is its help; the lines under `Examples:` are commands.

    Args:
        name: The words of its command: `lists add`. The first word is its group, and its row of the manifest.
        right: The right that its route requires, a value of `people.access.Right`.
        http: Method and path below /api/v1; names in braces are fields of the request. Empty: no route.
        has_command: Whether there is a command.
        audit: The action, as `object.verb`, that is recorded before the function runs. The row has the request; a
            function with a `Record` parameter writes the row itself, with the values before and after.
        refusals: The errors that callers distinguish, each with its HTTP status.
        status: HTTP status of a successful response. With 202, the header Location is the answer's `url`.
        schema: The name of its body in OpenAPI; by default that of the request.
        body_bytes_max: The largest body; 0 for the limit of all routes.
        is_long: Whether it can run as a job; its function takes `ProgressSteps`.
        kind: The kind of that job; by default the name with `-` for spaces.
        unanswered: The title of the response `422 bad-question` to a UsageError, if that is a mistake in the body.
        job_fields: The fields that a job takes; by default all that are not local.
        rights_of: Further rights that a job requires, by the field that is set.
        conflict: The meaning of status 409, which an answer with an exit status above 0 then has.
        place: The field with a location outside of a project. A call that sets it needs no project.
        is_check: Whether it checks drafts or runs their tests. A service runs one at a time for each caller.
        of_two: Its kind in `second_person` of shroff.yaml; after a space, the field by which changes are counted.
        is_shared: Whether it computes a long result that all callers may see. A service runs one at a time, and waiting
            callers use no thread.
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
        """The help: the docstring without the examples."""
        return help_of(self.run.__doc__)[0]

    @property
    def examples(self) -> Sequence[str]:
        return help_of(self.run.__doc__)[1]

    @property
    def summary(self) -> str:
        return self.words.partition("\n")[0]

    @cached_property
    def needs(self) -> Mapping[str, Any]:
        """The type of each parameter of the function except the request, by its name."""
        return {
            name: self._named(parameter.annotation)
            for name, parameter in signature(self.run).parameters.items()
            if name != "request"
        }

    @cached_property
    def request(self) -> type[OperationRequest[Any]]:
        annotation = signature(self.run).parameters["request"].annotation
        return cast("type[OperationRequest[Any]]", self._named(annotation))

    @cached_property
    def answer(self) -> type[OperationAnswer]:
        """The type of its answer. Of several, the first; only commands get the others."""
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
        return fields_of(self.request)

    @property
    def method(self) -> str:
        return self.http.partition(" ")[0]

    @property
    def path(self) -> str:
        return self.http.partition(" ")[2]

    def fields_in(self, section: str) -> Sequence[RequestField]:
        """Return the fields that an HTTP request has in its `path`, `query`, `header` or `body`."""
        return [field for field in self.fields if not field.about.is_local and self._section_of(field) == section]

    def _section_of(self, field: RequestField) -> str:
        if f"{{{field.wire}}}" in self.path:
            return "path"
        if field.about.is_etag:
            return "header"
        return "query" if field.about.in_query or self.method in {"GET", "DELETE"} else "body"

    @cached_property
    def body(self) -> type[msgspec.Struct] | None:
        body = self._struct(self.schema or self.request.__name__, self.fields_in("body"))
        return _BODIES.setdefault(self.schema, body) if self.schema else body

    @cached_property
    def query(self) -> type[msgspec.Struct] | None:
        return self._struct(f"{self.request.__name__}Query", self.fields_in("query"))

    def _struct(self, name: str, fields: Sequence[RequestField]) -> type[msgspec.Struct] | None:
        words = {"__doc__": section(self.request.__doc__, "Args")[0] or self.summary}
        return struct_of(name, fields, words, kw_only=True) if fields else None

    def read(self, values: JsonMapping) -> OperationRequest[Any]:
        """Make a request from values by their Python names; a value may be its text. Raises: InvalidRequestError."""
        wire = {field.name: field.wire for field in self.fields}
        for unknown in values.keys() - wire.keys():
            raise InvalidRequestError(f"{self.name} has no field {unknown!r}. It has {', '.join(wire) or 'none'}.")
        sent = {wire[name]: value for name, value in values.items() if value is not None}
        try:
            request: OperationRequest[Any] = msgspec.convert(sent, self.request, strict=False)
        except msgspec.ValidationError as error:
            # msgspec names fields as `wire` or $.wire; people called them by their Python names.
            python = {f"{mark}{sent}": f"{mark}{name}" for name, sent in wire.items() for mark in ("`", "$.")}
            message = re.sub(r"[`$]\.?\w+", lambda match: python.get(match[0], match[0]), str(error))
            raise InvalidRequestError(f"{self.name}: {message}.") from None
        return request


def struct_of(name: str, fields: Sequence[RequestField], namespace: JsonObject, **more: Any) -> type[msgspec.Struct]:
    """Define a type with some fields of a request under their JSON names; `more` goes to `msgspec.defstruct`."""
    members: list[Any] = []
    for request_field in fields:
        description = msgspec.Meta(description=request_field.about.help)
        member = (request_field.name, Annotated[request_field.type, description])
        members.append(member if request_field.is_required else (*member, request_field.default))
    rename = {request_field.name: request_field.wire for request_field in fields}
    return msgspec.defstruct(name, members, rename=rename, forbid_unknown_fields=True, namespace=namespace, **more)


def fields_of(request: type[OperationRequest[Any]]) -> Sequence[RequestField]:
    """Return the fields of a request in order, with metavar and help from its docstring and those of its bases."""
    hints = get_type_hints(request, include_extras=True)
    described = {
        name: metavar_and_help
        for base in reversed(request.__mro__)
        for name, *metavar_and_help in ITEM.findall(section(base.__doc__, "Args")[1])
    }
    return [
        RequestField(
            field.name,
            field.encode_name,
            field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory(),
            *_type_and_param(hints[field.name], *described.get(field.name, ())),
        )
        for field in msgspec.structs.fields(request)
    ]


class InvalidRequestError(RefusalError):
    """The request cannot be parsed or validated."""

    status = 422
    code = "bad-body"
    title = "The request cannot be read"


def _type_and_param(hint: Any, metavar: str = "", help_text: str = "") -> tuple[Any, Param]:
    """Split an annotation into the type and its `Param`. Other annotations, such as bounds, stay with the type."""
    type_, *extras = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    about = next((extra for extra in extras if isinstance(extra, Param)), Param())
    for extra in extras:
        type_ = type_ if extra is about else Annotated[type_, extra]
    help_line = re.sub(r"\n +", " ", help_text)
    return type_, replace(about, help=about.help or help_line, metavar=about.metavar or metavar)


class OperationGroup(FrozenStruct):
    """The help and examples of a command's first word, which its operations share."""

    name: str
    words: str
    examples: Sequence[str] = ()


OPERATIONS: Final[dict[str, Operation[..., Any]]] = {}  # by name; only those of imported modules
GROUPS: Final[dict[str, OperationGroup]] = {}
_BODIES: Final[dict[str, type[msgspec.Struct] | None]] = {}  # bodies that several operations share, by `schema`
_BY_REQUEST: Final[dict[type, Operation[..., Any]]] = {}


def group(name: str, text: str) -> None:
    """Declare the help of a command's first word; the text may end with `Examples:`."""
    GROUPS[name] = OperationGroup(name, *help_of(text))


def operation(name: str, *, right: str, **more: Any) -> Callable[[Callable[Given, Outcome]], Operation[Given, Outcome]]:
    """Declare the decorated function as an operation; `more` are further arguments of `Operation`.

    Its parameter `request` is the request; `services.running` finds the others by their types.

    Raises: ValueError if another module declares an operation with this name.
    """

    def declare(run: Callable[Given, Outcome]) -> Operation[Given, Outcome]:
        declared = Operation(name, run, right, **more)
        existing = OPERATIONS.get(name)
        if existing is not None and existing.run.__module__ != run.__module__:
            raise ValueError(f"operation {name!r} is declared by {existing.run.__module__} and by {run.__module__}")
        OPERATIONS[name] = declared
        _BY_REQUEST[declared.request] = declared
        return declared

    return declare


def operation_of(request: OperationRequest[Outcome]) -> Operation[..., Outcome]:
    """Return the operation of a request, after importing all modules with operations if necessary."""
    if type(request) not in _BY_REQUEST:
        manifest.load_all()
    return _BY_REQUEST[type(request)]


def operations_of(word: str) -> Iterator[Operation[..., Any]]:
    """Yield the imported operations whose command begins with a word."""
    return (operation for name, operation in OPERATIONS.items() if name.split()[0] == word)


def request_of(name: str, values: JsonMapping) -> OperationRequest[Any]:
    """Make the request of an operation with this name, such as `lists show`. Raises: InvalidRequestError."""
    word = name.partition(" ")[0]
    if manifest.is_known(word):
        manifest.load(word)
    if name not in OPERATIONS:
        manifest.load_all()
        raise InvalidRequestError(f"There is no operation {name!r}. {nearest(name, OPERATIONS)}".rstrip())
    return OPERATIONS[name].read(values)
