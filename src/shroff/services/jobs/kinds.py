"""Kinds of jobs: the parameters, rights and function of each.

To add one: a `JobParams` with its parameters, a function `run(project, params, run)` that makes the same calls as the
command of that name and reports its progress to `run` (`JobRun` of `work`), and a row in `KINDS`; in a package of your
own an entry point of the group `shroff.jobs` that names the `JobKind`. The function is named by a text, so that listing
kinds imports nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import Problem, UsageError, nearest
from shroff.jobs.job import JobError, ParamsError
from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.nodes import Mapping as YamlMapping
from shroff.operations import manifest
from shroff.operations.declaration import OPERATIONS, Operation, struct_of
from shroff.people.access import Right
from shroff.project.schedules import FILE, load_schedules
from shroff.runtime.entry_points import JOBS, installed
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.language.yaml.nodes import Node
    from shroff.project.definitions import Loaded
    from shroff.project.schedules import Schedule
    from shroff.services.jobs.work import JobRun
    from shroff.services.project import Project

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
# A job may come from another machine, so its paths are restricted: their type implies both checks.
OUT = "out"  # folder of a project in which jobs write
PATH_MAX = 300
OutPath = Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_MAX, extra={"below": OUT})]
InPath = Annotated[str, msgspec.Meta(min_length=1, max_length=PATH_MAX, extra={"below": ""})]


class JobParams(FrozenStruct, forbid_unknown_fields=True):
    """Parameters of a kind of job; an unknown key is rejected."""

    @property
    def rights(self) -> tuple[Right, ...]:
        """Rights required beside that of the kind for these parameters."""
        return ()


class FeaturesParams(JobParams, frozen=True):
    """Compute the features of one event type into `out`, a Parquet file below `out/`."""

    event: Name
    out: OutPath = "out/features.parquet"


class ReportParams(JobParams, frozen=True):
    """Make the report of a notice with `on: report` for a day, by default yesterday, unless it exists."""

    notice: Name
    day: Name | None = None

    @property
    def rights(self) -> tuple[Right, ...]:
        return (Right.SEND_NOTICES,)


class DraftBacktestParams(JobParams, frozen=True, omit_defaults=True, rename={"start": "from", "end": "to"}):
    """Back-test the stored `draft`. `etag` is the version of the draft of `rule`."""

    name: str
    draft: str = ""
    rule: str | None = None
    etag: str | None = None
    model: str | None = None
    start: str | None = None
    end: str | None = None
    as_of: str | None = None


Run = Callable[["Project", Any, "JobRun"], JsonMapping]


class JobKind(FrozenStruct):
    """One kind of job.

    Args:
        params: The type of its parameters; its docstring describes the job.
        function: Module and name of the function.
        title: Name on the page of jobs.
        right: Right to start and cancel it, beside those for its parameters.
        open_max: How many may wait or run at once; only one runs.
    """

    name: str
    params: type[JobParams]
    function: str
    title: str = ""
    right: Right = Right.RUN_JOBS
    open_max: int = 1

    @property
    def meaning(self) -> str:
        return " ".join((self.params.__doc__ or "").split())

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(field.encode_name for field in msgspec.structs.fields(self.params))

    def schema(self) -> JsonObject:
        components = msgspec.json.schema_components([self.params])[1]
        found: JsonObject = components[self.params.__name__]
        return found

    def load(self) -> Run:
        module, _, name = self.function.partition(":")
        found: Run = getattr(import_module(module), name)
        return found

    def read(self, given: JsonMapping, *, is_text: bool = False) -> JobParams:
        """Parse parameters. Raises: ParamsError with the path of the error.

        Args:
            is_text: Numbers and booleans are texts, as in YAML.
        """
        for name in given:
            if name not in self.parameters:
                hint = nearest(name, self.parameters) or f"It takes {', '.join(self.parameters) or 'none'}."
                raise ParamsError(f"params.{name[:100]}", f"{self.name} has no such parameter. {hint}")
        try:
            found = msgspec.convert(given, self.params, strict=not is_text)
        except msgspec.ValidationError as error:
            words, _, path = str(error).partition(" - at `")
            place = "params" + path.removesuffix("`").removeprefix("$")
            raise ParamsError(place, f"{words[:1].lower()}{words[1:]}.") from None
        for name, mistake in path_mistakes(found):
            raise ParamsError(f"params.{name}", mistake)
        return found


_WORK = "shroff.services.jobs.work"
ASSISTANT_DRAFT = "assistant-draft"
DRAFT_BACKTEST = "draft-backtest"
_TITLES: Final = {  # of long operations
    ASSISTANT_DRAFT: "Draft a rule",
    "attack": "Drill attacks",
    "backtest": "Backtest of the rules",
    "drift": "Measure drift",
    "lake": "Write the lake",
    "rings-build": "Find rings of linked keys",
    "suggest": "Suggest rules",
    "sync": "Synchronize",
    "train": "Train a model",
}
OPEN_MAX = 8  # of a kind in WAITED_FOR
WAITED_FOR: Final = frozenset({ASSISTANT_DRAFT, DRAFT_BACKTEST})  # at a screen
KINDS: Final[Mapping[str, JobKind]] = {
    job_kind.name: job_kind
    for job_kind in (
        JobKind("features", FeaturesParams, f"{_WORK}:features", "Features to a file"),
        JobKind("report", ReportParams, f"{_WORK}:report", "Send a report"),
    )
}
_DRAFT_BACKTEST: Final = JobKind(
    DRAFT_BACKTEST,
    DraftBacktestParams,
    "shroff.services.backtest.draft_backtests:run_draft",
    "Backtest of a draft",
    right=Right.RUN_BACKTESTS,
    open_max=OPEN_MAX,
)


def all_kinds() -> Mapping[str, JobKind]:
    """Return the kinds that users and schedules may begin: all but a draft's back-test, whose request has the texts."""
    return {**KINDS, **installed(JOBS), **_of_operations(), **KINDS}  # our own first, and never replaced


class OperationKind(JobKind, frozen=True):
    """Kind of a long operation: `lists compare` is `lists-compare`."""

    declared: Any = None

    def load(self) -> Run:
        return partial(super().load(), self.declared)


def _rights(declared: Operation[..., Any], params: JobParams) -> tuple[Right, ...]:
    more = (right for field, right in declared.rights_of.items() if getattr(params, field))
    return tuple(map(Right, (declared.right, *more)))


def _of_operations() -> Mapping[str, JobKind]:
    manifest.load_all()
    kinds = {}
    for declared in OPERATIONS.values():
        if declared.is_long:
            namespace = {"__doc__": declared.summary, "rights": property(partial(_rights, declared))}
            taken = declared.job_fields or [field.name for field in declared.fields if not field.about.is_local]
            fields = [field for field in declared.fields if field.name in taken]
            params = struct_of(declared.request.__name__, fields, namespace, bases=(JobParams,), frozen=True)
            name = declared.kind or declared.name.replace(" ", "-")
            title = _TITLES.get(name, declared.name.capitalize())
            kind_params = cast("type[JobParams]", params)
            open_max = OPEN_MAX if name in WAITED_FOR else 1
            kinds[name] = OperationKind(
                name, kind_params, f"{_WORK}:operation", title, open_max=open_max, declared=declared
            )
    return kinds


def kind_named(name: str) -> JobKind:
    return _DRAFT_BACKTEST if name == DRAFT_BACKTEST else kind_to_begin(name)


def kind_to_begin(name: str) -> JobKind:
    """Return a kind of `all_kinds`. Raises: JobError if there is none of this name."""
    if (own := KINDS.get(name)) is not None:
        return own
    if name not in (known := all_kinds()):
        hint = nearest(name, known) or f"There is {', '.join(known)}."
        raise JobError(f"there is no kind of job {name!r}. {hint}")
    return known[name]


def schedule_problems(tree: Node | None, schedules: Mapping[str, Schedule]) -> list[Problem]:
    """Return the errors in kinds and parameters of schedules."""
    problems = []
    for key, _ in tree.entries if isinstance(tree, YamlMapping) else ():
        if (schedule := schedules.get(key.text)) is not None:
            try:
                kind_to_begin(schedule.kind).read(from_json(schedule.params), is_text=True)
            except UsageError as error:
                problems.append(key.problem(str(error)))
    return problems


def with_schedules(files: TextMapping, loaded: Loaded) -> Loaded:
    """Add errors about the jobs of schedules to a loaded project."""
    if loaded.definitions is None or FILE not in files:
        return loaded
    tree = yamltext.read(files[FILE], FILE, [])
    problems = schedule_problems(tree, load_schedules(tree, []))
    return loaded.beside(problems) if problems else loaded


# ---- paths among parameters


@cache
def paths_of(params: type[msgspec.Struct]) -> TextDict:
    """Map path parameters to the project folder that must contain them."""
    found = {}
    for field in msgspec.structs.fields(params):
        type_ = msgspec.inspect.type_info(field.type)
        for part in type_.types if isinstance(type_, msgspec.inspect.UnionType) else (type_,):
            if isinstance(part, msgspec.inspect.Metadata) and "below" in (part.extra or {}):
                found[field.name] = str((part.extra or {})["below"])
    return found


def path_mistakes(params: msgspec.Struct) -> Iterator[tuple[str, str]]:
    """Yield path parameters outside their folder, judged by the text alone, with a correction."""
    for name, below in paths_of(type(params)).items():
        if (text := getattr(params, name)) is None:
            continue
        parts = text.split("/")
        is_plain = text.isprintable() and "://" not in text and not any(part[:1] in {"", "."} for part in parts)
        if not is_plain:
            shown = f"{below or 'drafts'}/{parts[-1].lstrip('.') or 'x'}"
            yield name, f"{text!r} is not a path below the project's folder. Write one such as {shown}."
        elif below and (parts[0] != below or len(parts) == 1):
            yield name, f"a job writes below {below}/ only, and this is {text!r}. Write {below}/{text}."
