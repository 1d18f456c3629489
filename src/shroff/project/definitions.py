"""Read, type-check and hash a project's files into one value, its definitions.

A version is the hash of parsed files, so comments and spacing do not change it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from functools import partial
from typing import cast

from msgspec import Struct
from msgspec.json import encode as to_json

from shroff.errors import DefinitionError, Problem
from shroff.events import redaction
from shroff.events.conversion import Conversion
from shroff.events.definitions import Events, Settings
from shroff.events.summary import without_summaries
from shroff.features.computed import Computed
from shroff.features.definitions import Feature, FeatureTypes, stacked, wanted_features
from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.language.checker import check
from shroff.language.expression import Node, ThisField
from shroff.language.names import DeclaredNames, Scope
from shroff.language.row import Reference, Tables
from shroff.language.syntax import ExpressionError
from shroff.language.types import NOTHING
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Scalar
from shroff.language.yaml.text import Sequence as YamlSequence
from shroff.models import in_force
from shroff.models.definitions import ModelInput, ModelSettings
from shroff.models.loader import ModelContext, load_models
from shroff.project.dependency_hash import meaning_of, read_by, redefined
from shroff.project.draft_overlay import DraftFile, laid_over
from shroff.project.file_kinds import DECIDING, YAML_FILES, FileContext, added_files, added_keys
from shroff.project.look_ups import LookUps, look_ups, lookup_warnings
from shroff.project.parse_cache import LISTS, ReadOnce, text_version
from shroff.project.policy import Policy, load_policy
from shroff.project.reference import ListFile
from shroff.project.rule_context import RuleContext, causes, rate_warnings, source_warnings
from shroff.project.schedules import load_schedules
from shroff.project.scoring import (
    LoadModel,
    Scorer,
    Scoring,
    computed_scores,
    load_scoring,
    redefined_words,
    unavailable,
    unused_score,
)
from shroff.project.settings.casework import load_case_settings
from shroff.project.settings.systems import DECIDING_KEYS, load_systems, without_systems
from shroff.project.table_files import is_table
from shroff.rules.definitions import Rule, RuleLoader
from shroff.rules.keys import EXPERIMENT
from shroff.rules.silences import idle_silences
from shroff.runtime.values import FrozenStruct, Value, frozen, replace

Hasher = Callable[[str], str]
HASHED = redaction.HASHED


class Versions(FrozenStruct):
    """Hashes of everything that affects decisions; empty if a project has none of a kind.

    `model` is the hash of all active models; a decision shows the id of the model that scored it.
    """

    definitions: str = ""
    rules: str = ""
    policy: str = ""
    lists: str = ""
    tables: str = ""
    model: str = ""


@frozen
class Definitions:
    """Everything a project defines.

    `files` are the texts that a control event carries: as written, but values of lists are hashed if they are compared
    with hashed fields, and notices that rules name are empty. model.yaml and calls.yaml are left out, since they do not
    affect decisions.
    """

    settings: Settings
    events: Events
    features: Mapping[str, Feature]
    rules: tuple[Rule, ...]
    policies: Mapping[str, Policy]
    models: Mapping[str, ModelSettings]
    reference: Reference
    versions: Versions
    files: TextMapping
    scoring: Mapping[str, Scoring] = field(default_factory=dict)  # active models
    added: JsonMapping = field(default_factory=dict)  # content of files that plug-ins read, by kind
    look_ups: LookUps = field(default_factory=LookUps)
    experiments: tuple[Rule, ...] = ()  # of policy.yaml; the engine evaluates each as a rule that is always true
    # Cached results that are derived from all the above
    worked_out: JsonObject = field(init=False, default_factory=dict, repr=False, compare=False)

    @property
    def conversion(self) -> Conversion:
        """Conversion of amounts in other currencies by this version's table of rates."""
        return self.once("conversion", lambda: Conversion(self.events, self.settings, self.reference.tables))

    def once(self, name: str, make: Callable[[], Value]) -> Value:
        """Return a value derived from these definitions, computed at the first call with its name."""
        if name not in self.worked_out:
            self.worked_out[name] = make()
        return cast("Value", self.worked_out[name])

    @property
    def names(self) -> DeclaredNames:
        return self.events.names(frozenset(self.reference.lists), self.settings.money_places)

    def policy(self, event: str) -> Policy:
        return self.policies.get(event, Policy())

    def friendly_reasons(self, event: str) -> frozenset[str]:
        """Return the label reasons with which a fraud counts as genuine."""
        return self.models[event].friendly_reasons if event in self.models else frozenset()

    @property
    def evaluated(self) -> tuple[Rule, ...]:
        """Rules and experiments: the engine evaluates both and records both as hits."""
        return (*self.rules, *self.experiments)

    def missed_fraud(self, event: str) -> Node | None:
        """Return the cost of a missed fraud: the policy's, else the event's amount.

        With `explore`, which affects decisions, the amount does not depend on the summary.
        """
        policy = self.policy(event)
        type_ = self.events.types[event]
        if policy.missed_fraud is not None:
            return policy.missed_fraud
        amount = (replace(type_, summary=()) if policy.explore else type_).amount_field
        return None if amount is None else ThisField(amount.type, amount.name)

    def scoring_of(self, event: str) -> Scoring:
        """Return the active models of an event type, which may have none."""
        return self.scoring.get(event, Scoring(event))

    @property
    def is_calibrated(self) -> bool:
        """Whether the scores of all deciding models are shares of frauds among similar events."""
        from shroff.models.evaluation.calibration import is_calibrated

        models = (scorer.model for scoring in self.scoring.values() for scorer in scoring.deciding)
        return all(is_calibrated(model.manifest) for model in models if model is not None)

    def unloaded(self) -> list[Scorer]:
        return [scorer for scoring in self.scoring.values() for scorer in scoring.all if scorer.failure]

    def reads_score(self, event: str = "") -> bool:
        """Return whether a rule reads a score, with `event` only rules of that event type."""
        return read_by([rule.when for rule in self.rules if event in ("", rule.on)], self.features.get).reads_score

    def hangs_on_score(self, event: str) -> bool:
        """Return whether a score can change an outcome of an event type, through the policy or a rule."""
        return self.policy(event).has_score or self.reads_score(event)

    def _answers_score(self, event: str) -> bool:
        kinds = added_files(map("{}.yaml".format, self.added)).values()
        nodes = [node for kind in kinds for node in kind.nodes(self.added[kind.kind], event)]
        return read_by(nodes, self.features.get).reads_score

    def unused_scores(self) -> dict[str, Problem]:
        """Return a problem for each champion, by id, whose score no policy, rule or call of calls.yaml uses."""
        scored = {scoring.event: scoring.champion.id for scoring in self.scoring.values() if scoring.champion}
        unused = (event for event in scored if not (self.hangs_on_score(event) or self._answers_score(event)))
        return {scored[event]: unused_score(scored[event], event) for event in unused}

    def remarks(self) -> list[str]:
        scorers = [scorer for scoring in self.scoring.values() for scorer in scoring.all if scorer.redefined]
        return [f"{redefined_words(scorer)}; 'shroff check' shows what to do." for scorer in scorers]

    def meanings(self, event: str, inputs: Iterable[ModelInput]) -> TextDict:
        """Return a hash of the meaning of each input of a model, by name."""
        return {input_.name: meaning_of(input_.node, event, self.events, self.features.get) for input_ in inputs}

    def redefined(self, event: str, manifest: JsonMapping) -> tuple[str, ...]:
        """Return the names of a model's inputs whose definition has changed since training.

        Inputs that no longer fit the project are left out; loading the model reports them as errors.
        """
        types = {name: feature.type for name, feature in self.features.items()}
        scope = Scope(self.names, what="a model", this=(event,), feature=types.get)
        nodes: dict[str, Node] = {}
        for name in (input_["name"] for input_ in manifest.get("inputs", ())):
            with suppress(ExpressionError):
                nodes[name] = check(name, scope)
        return redefined(manifest, nodes, event, self.events, self.features.get)

    def require_models(self) -> None:
        """Raises: StateError if a deciding model cannot be loaded, since nothing is decided without it."""
        for scoring in self.scoring.values():
            for scorer in scoring.deciding:
                if scorer.failure:
                    raise unavailable(scorer)

    def feature_names(self, event: str) -> list[str]:
        """Return the sorted names of the features in decisions of an event type: those of entities in its keys."""
        entities = self.events.entities
        return sorted(name for name, feature in self.features.items() if event in entities[feature.entity].keys)


class Loaded(Struct):
    """Result of loading a project: its definitions, or the problems; and warnings.

    `files` are the project's files from which it was loaded, None for other texts.
    """

    definitions: Definitions | None
    problems: list[Problem] = []
    warnings: list[Problem] = []
    files: TextMapping | None = None

    def or_raise(self) -> Definitions:
        """Return the definitions. Raises: DefinitionError with all problems."""
        if self.definitions is None:
            raise DefinitionError(self.problems)
        return self.definitions

    def beside(
        self, problems: Iterable[Problem], warnings: Iterable[Problem] = (), files: TextMapping | None = None
    ) -> Loaded:
        found = [*problems, *self.problems]
        definitions = None if found else self.definitions
        return Loaded(definitions, sorted(found, key=_place), [*warnings, *self.warnings], files)


def load_definitions(
    files: TextMapping,
    hasher: Hasher | None = None,
    load_model: LoadModel | None = None,
    draft: Sequence[DraftFile] = (),
    read: ReadOnce | None = None,
) -> Loaded:
    """Load the files of a project, given by path inside its folder. Report all errors, not only the first.

    Args:
        hasher: Hashes values of lists; None leaves them in clear.
        load_model: Loads an active model; without it models have no scores, and their events cannot be decided.
        draft: Files that overlay the project's (see `laid_over`); the result must not become active.
        read: Cache of parsed files. A cache is for one `hasher`.
    """
    read = ReadOnce() if read is None else read
    if "shroff.yaml" not in files:
        message = "there is no shroff.yaml in this folder, so it is not a project."
        hint = "Run 'shroff init DIR --template payments' to make a project."
        return Loaded(None, [Problem("shroff.yaml", 0, 0, "", message, hint)])
    found: list[Problem] = []
    lists = {name: read.list_file(name, files[name], found) for name in sorted(files) if is_list(name)}
    list_names = frozenset(list_.name for list_ in lists.values())
    other_files = {name: text for name, text in files.items() if name not in lists}
    make = partial(_declared, other_files, list_names, read, draft)
    declared = make() if draft else read.once("declared", (other_files, list_names), make)
    problems = [*found, *declared.problems]
    warnings = [*declared.warnings]
    if isinstance(declared.top, YamlMapping):  # only to report errors
        load_systems(declared.top, problems, warnings)
    names = {rule.id for rule in (*declared.rules, *declared.experiments)}
    load_case_settings(declared.top, problems, declared.events, declared.names, names)
    typed = declared.events, declared.names, declared.types
    scoring = load_scoring(declared.named, load_model, *typed, problems, warnings)
    if problems:
        return Loaded(None, sorted(causes(problems), key=_place), sorted(warnings, key=_place))
    inputs = [node for models in scoring.values() for scorer in models.all for node in scorer.inputs]
    read_by_models = look_ups(inputs, declared.events, declared.features)
    problems = (declared.look_ups | read_by_models).problems()
    if problems:
        return Loaded(None, problems, sorted(warnings, key=_place))
    hashed = declared.look_ups.hashed | read_by_models.hashed
    lists = {name: _hash_values(list_, hashed, hasher, read) for name, list_ in lists.items()}
    texts = {name: list_.text for name, list_ in lists.items()}
    definitions = Definitions(
        declared.settings,
        declared.events,
        declared.features,
        declared.rules,
        declared.policies,
        declared.models,
        Reference({list_.name: list_.entries for list_ in lists.values()}, declared.tables),
        replace(declared.versions, lists=read.version(LISTS, texts)),
        {**declared.files, **texts},
        scoring,
        declared.added,
        LookUps(hashed, declared.look_ups.kept | read_by_models.kept),
        experiments=declared.experiments,
    )
    warnings += definitions.unused_scores().values()
    return Loaded(definitions, [], sorted(warnings, key=_place))


class _Declared(FrozenStruct):
    """Everything in the files except the rows of lists, which are cached separately; with errors and warnings."""

    top: yamltext.Node | None
    settings: Settings
    events: Events
    names: DeclaredNames
    features: Mapping[str, Feature]
    types: FeatureTypes
    tables: Tables
    rules: tuple[Rule, ...]
    experiments: tuple[Rule, ...]
    policies: Mapping[str, Policy]
    models: Mapping[str, ModelSettings]
    named: Mapping[str, in_force.InForce]
    added: JsonMapping
    look_ups: LookUps  # except those of active models
    versions: Versions
    files: TextMapping
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


def _declared(files: TextMapping, list_names: frozenset[str], read: ReadOnce, draft: Sequence[DraftFile]) -> _Declared:
    problems: list[Problem] = []
    warnings: list[Problem] = []
    rule_files = sorted(name for name in files if name.startswith("rules/"))
    kinds = added_files(files)
    yaml_files = (name for name in (*YAML_FILES, *kinds, *rule_files) if name in files)
    trees = {name: read.tree(name, files[name], problems) for name in yaml_files}
    if draft:
        trees = laid_over(trees, draft, problems)
        rule_files = sorted(name for name in trees if name.startswith("rules/"))
    notices = _notices(files)
    tables = {name: files[name] for name in sorted(files) if is_table(name)}
    top, types_tree, features_tree = (trees.get(f"{name}.yaml") for name in ("shroff", "events", "features"))
    given = top, types_tree, features_tree, list_names, tuple(tables.items())
    typed = read.of_same("typed", given, partial(RuleContext.read, top, types_tree, features_tree, list_names, tables))
    settings = typed.settings
    events = typed.events
    names = typed.names
    features = typed.features
    types = typed.types
    problems += typed.problems
    loader = RuleLoader(events, names, types, problems, warnings, notices, typed.rule_files)
    loaded = {name: loader.load(trees[name]) for name in rule_files}
    by_id = {rule.id: rule for each in loaded.values() for rule in each}
    warnings += idle_silences(list_names, set(by_id))
    policies = load_policy(trees.get("policy.yaml"), events, names, by_id, problems)
    experiments = tuple(rule for rule in by_id.values() if rule.effect == EXPERIMENT)
    rules = tuple(rule for rule in by_id.values() if rule not in experiments)
    model_context = ModelContext(events, types, names, {event: policy.given for event, policy in policies.items()})
    models = load_models(trees.get("model.yaml"), model_context, problems, warnings)
    named = in_force.read_in_force(files.get(in_force.FILE), problems)
    context = FileContext(events, names, {name: types.type_of(name) or NOTHING for name in types.names()})
    added = {kind.kind: kind.load(trees[name], context, problems) for name, kind in kinds.items()}
    for added_key in added_keys(top):  # only to report errors
        added_key.load_of(top, context, problems)
    load_schedules(trees.get("schedules.yaml"), problems)  # only to report errors
    _warn_of_names(events, warnings)
    warnings += [*source_warnings(features.values(), ()), *rate_warnings(events, rules)]
    warnings += lookup_warnings(events.tables, features.values(), rules)
    for name, each in loaded.items():
        warnings += read.of("sources", name, each, partial(source_warnings, (), each))
    nodes = [feature.node for feature in features.values()]
    nodes += [input_.node for model in models.values() for input_ in (*model.inputs, *model.slices)]
    versions = Versions(
        _version([_deciding(top), without_summaries(trees.get("events.yaml")), trees.get("features.yaml")]),
        _rules_version({name: trees[name] for name in rule_files}, read),
        _version([trees.get("policy.yaml")]),
        tables=text_version(tables),
        model=in_force.version_of(named),
    )
    if any(policy.arm_b for policy in policies.values()):
        versions = replace(versions, rules=_hash(f"{versions.rules} {versions.policy}".encode()))
    carried = {
        **{name: _carried(name, files[name], trees) for name in files if is_deciding(name)},
        **{f"notices/{rule.notify}.yaml": "" for rule in rules if rule.notify in notices},
    }
    used = LookUps()
    if not problems:
        used = look_ups(nodes, events, features)
        for name, each in loaded.items():
            nodes = [node for rule in each for node in _nodes(rule)]
            used |= read.of("look-ups", name, each, partial(look_ups, nodes, events, features))
        problems += used.problems()
    of_events = top, settings, events, names, features, types, typed.tables
    of_rules = rules, experiments, policies, models, named, added, used
    return _Declared(*of_events, *of_rules, versions, carried, tuple(problems), tuple(warnings))


def is_list(name: str) -> bool:
    return name[:6] == "lists/" and name.endswith(".csv")  # fast, as it is called for thousands of files


def _notices(files: Iterable[str]) -> list[str]:
    start = "notices/"
    end = ".yaml"
    return sorted(name[len(start) : -len(end)] for name in files if name.startswith(start) and name.endswith(end))


def is_deciding(name: str) -> bool:
    is_yaml = name in DECIDING or name.startswith("rules/")
    return is_yaml or is_table(name) or name == in_force.FILE or is_list(name)


def _place(problem: Problem) -> tuple[str, int, int]:
    return problem.file, problem.line, problem.column


def _deciding(top: yamltext.Node | None) -> yamltext.Node | None:
    if not isinstance(top, YamlMapping):
        return top
    return replace(top, entries=tuple(entry for entry in top.entries if entry[0].text in DECIDING_KEYS))


def _carried(name: str, text: str, trees: Mapping[str, yamltext.Node | None]) -> str:
    tree = trees.get(name)
    return without_systems(text, tree) if name == "shroff.yaml" and isinstance(tree, YamlMapping) else text


def _warn_of_names(events: Events, warnings: list[Problem]) -> None:
    for name in events.not_naming:
        message = f"'{name}' cannot name an event in a label file, since labels or several event types have that field."
        warnings.append(Problem("events.yaml", 0, 0, name, message))


def _hash_values(found: ListFile, hashed: frozenset[str], hasher: Hasher | None, read: ReadOnce) -> ListFile:
    if found.name not in hashed or hasher is None:
        return found
    return read.mapped(found, lambda value: value if HASHED.fullmatch(value) else hasher(value))


def _version(trees: Iterable[yamltext.Node | None]) -> str:
    plain = [plain_tree(tree) for tree in trees if tree is not None]
    return _hash(to_json(plain)) if plain else ""


def _rules_version(trees: Mapping[str, yamltext.Node | None], read: ReadOnce) -> str:
    """Hash the rule files without their tests."""
    plain = [read.of("plain", name, tree, partial(_plain_rules, tree)) for name, tree in trees.items()]
    return _hash(b"[" + b",".join(filter(None, plain)) + b"]") if any(plain) else ""


def _plain_rules(tree: yamltext.Node | None) -> bytes:
    if not isinstance(tree, YamlSequence):
        return b""
    return to_json([plain_tree(rule, without={"tests"}) for rule in tree.items])


def plain_tree(node: yamltext.Node, without: Collection[str] = ()) -> object:
    """Return a file as texts, lists, and mappings as lists of pairs; keys of `without` are left out of this mapping."""
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, YamlMapping):
        return [[key.text, plain_tree(value)] for key, value in node.entries if key.text not in without]
    return [plain_tree(item) for item in node.items]


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def computed_of(definitions: Definitions, also: str | None = None) -> Sequence[Computed]:
    """Return all computations of a project in order: features at decided events or where used, scores, then rules.

    With `also`, features are computed at this event type too, even if it is not decided.
    """
    return definitions.once(f"computed {also or ''}", lambda: _computed_of(definitions, also))


def _computed_of(definitions: Definitions, also: str | None) -> Sequence[Computed]:
    features = definitions.features
    decided = frozenset(definitions.events.decided) | ({also} if also else set())
    wanted: dict[str, set[str]] = {name: set(decided & feature.events) for name, feature in features.items()}
    scores = [score for each in definitions.scoring.values() for score in computed_scores(each, definitions.events)]
    pending = [(name, rule.on) for rule in definitions.rules for node in _nodes(rule) for name in stacked(node)]
    pending += [(name, event) for score in scores for event in score.events for name in stacked(score.node)]
    nodes = [node for rule in definitions.rules for node in _nodes(rule)]
    pending += wanted_features(features, [*nodes, *(score.node for score in scores)])
    while pending:
        name, event = pending.pop()
        if name in features and event in features[name].events and event not in wanted[name]:
            wanted[name].add(event)
            pending += [(read, event) for read in stacked(features[name].node)]
    events_by_feature = {name: frozenset(events) for name, events in wanted.items() if events}
    computed = [
        Computed(name, features[name].node, features[name].entity, events) for name, events in events_by_feature.items()
    ]
    rules = [part for rule in definitions.evaluated for part in (rule.computed, *rule.reason_computed())]
    return [*computed, *scores, *rules]


def _nodes(rule: Rule) -> list[Node]:
    return [rule.when, *(part for part in rule.reason if not isinstance(part, str))]
