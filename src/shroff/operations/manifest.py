"""The manifest: the first word of each command, the module that has it, and one line of help.

A module is imported when one of its commands, routes or calls is used, so that `shroff --help` stays quick. Modules of
shroff.cli hold commands of their own; all others declare operations, and cli/WORD.py may have `BY_HAND` beside them:
commands of the group that stream or wait. Other packages add rows by entry points of the
group shroff.operations, whose values map words to a module, its line of help and, where the word does not stand at the
end, the word before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Final

from shroff.runtime.entry_points import OPERATIONS, installed

COMMANDS: Final[Mapping[str, tuple[str, str]]] = {  # word: (module below shroff, what it does)
    "demo": ("cli.demo", "score payments of a synthetic bank live, with reasons"),
    "init": ("cli.init", "create a new project that runs"),
    "check": ("app.check_operations", "check all project files and run the rules' tests"),
    "ingest": ("cli.ingest", "append events from files to the log and decide them"),
    "decide": ("cli.decide", "read events and write decisions as JSON lines"),
    "score": ("cli.score", "show what would be decided of events, and write nothing"),
    "run": ("cli.run", "run a worker: decide events from Kafka, Redis Streams or files as they arrive"),
    "apply": ("app.live.deployment", "make the project's files the active version, also in a running service"),
    "serve": ("cli.serve", "run the HTTP service: events in, decisions out"),
    "source": ("app.live.position_operations", "show the read position of the live source, or reset a part of it"),
    "sources": (
        "app.live.source_operations",
        "named sources: list, sync, confirm subscriptions, verify saved messages",
    ),
    "produce": ("cli.produce", "send the events of a file to the live source, at any pace"),
    "features": ("cli.features", "compute features of events into a Parquet file"),
    "label": ("app.cases.label_operations", "record labels of events"),
    "disputes": ("app.cases.dispute_operations", "stages of disputes, their due dates and evidence packs"),
    "train": ("app.models.training_operations", "train a model on the labels so far, and evaluate it"),
    "training-set": ("app.models.training_set_operations", "write the training data as Parquet"),
    "explain": ("cli.explain", "explain a decision: reasons, features, rules"),
    "replay": ("app.history_operations", "compute one decision again from the log and compare"),
    "verify": ("app.history_operations", "compute the whole log again and compare"),
    "quarantine": ("app.live.quarantine_operations", "show refused input, retry or drop it"),
    "outbox": ("app.live.outbox_operations", "outgoing deliveries of sinks: show, deliver, retry, drop"),
    "notices": ("app.notice_operations", "notifications: list, preview, test mails, failed letters"),
    "lists": ("app.rules.list_operations", "show and change the lists that rules read"),
    "links": ("app.rules.link_operations", "show by which values a key is linked to other keys"),
    "rings": ("app.rules.link_operations", "find rings of linked keys, as a table that rules read"),
    "rates": ("app.rules.rate_operations", "import rates of other currencies"),
    "tables": ("app.rules.table_operations", "look-up tables: declare, search, versions"),
    "rules": ("app.rules.rule_operations", "show rules with their hits, precision and versions"),
    "drafts": ("app.rules.draft_operations", "show drafts of rules"),
    "suggest": ("app.rules.suggest_operations", "rules that labels suggest, and rules that can go"),
    "thresholds": ("app.models.threshold_operations", "choose thresholds of the score by cost and review capacity"),
    "models": ("app.models.model_operations", "list, promote and roll back models"),
    "drift": ("app.models.drift_operations", "compare a model's recent inputs with a reference"),
    "results": ("app.cases.result_operations", "report what fraud cost and what decisions did"),
    "experiment": ("app.cases.experiment_operations", "read out an experiment: a rule for a share of keys, in money"),
    "backtest": ("app.rules.backtests", "compare draft rules or models with past decisions"),
    "attack": ("app.rules.attack_operations", "drill attacks on a copy of the log: when they are seen, and the loss"),
    "generate": ("cli.generate", "synthetic data, with fraud: orders of a shop as Parquet"),
    "jobs": ("app.jobs.job_operations", "background jobs, by hand or on a schedule"),
    "export": ("cli.export", "export decisions, events, flags or labels in log order"),
    "lake": ("app.lake_operations", "events, decisions and features as Parquet in a folder or bucket"),
    "prune": ("app.maintenance.maintenance_operations", "move old events from the store to the lake"),
    "backup": ("app.backups.backup_operations", "back up the project, list, verify and remove backups"),
    "restore": ("app.backups.restore_operations", "restore a project from its backups into a new folder"),
    "migrate": ("app.backups.restore_operations", "back up, then bring the tables up to this version"),
    "person": ("app.privacy_erasure", "export what is stored about one person"),
    "erase": ("cli.erase", "erase personal fields of one entity's events"),
    "snapshot": ("app.maintenance.maintenance_operations", "save the state, for a quicker start"),
    "watermark": ("app.maintenance.watermark_operations", "what late events are judged against; set it back"),
    "cases": ("app.cases.view_operations", "the analysts' queue: list, show and answer cases"),
    "silences": ("app.rules.silence_operations", "silence a rule for a key until a time"),
    "users": ("people.user_operations", "people who may sign in, and their roles"),
    "keys": ("people.key_operations", "API keys of programs"),
    "audit": ("people.audit_operations", "show and verify the audit log"),
    "status": ("cli.status", "events, cases, deliveries and the machine on one screen"),
    "doctor": ("app.maintenance.maintenance_operations", "find problems and show their remedies"),
    "capacity": ("app.maintenance.capacity", "estimate the machine that a rate of events needs"),
    "notebook": ("cli.notebook", "write a notebook about the project"),
    "schema": ("cli.schema", "Avro schemas of messages; JSON Schema of project files for editors"),
    "completion": ("cli.completion", "shell completion of commands, event types and files"),
}


@cache
def _added() -> Mapping[str, tuple[str, ...]]:
    """The words of plug-ins, with their modules. Raises: UsageError naming a package that is broken."""
    return {word: row for rows in installed(OPERATIONS).values() for word, row in rows.items()}


@cache
def commands() -> Mapping[str, tuple[str, str]]:
    """Each word with its module and help; those of plug-ins follow shroff's own, which cannot be taken."""
    rows = [(word, (f"shroff.{module}", words)) for word, (module, words) in COMMANDS.items()]
    for word, (module, words, *before) in _added().items():
        if word not in COMMANDS:
            names = [name for name, _ in rows]
            at = names.index(before[0]) + 1 if before and before[0] in names else len(rows)
            rows.insert(at, (word, (module, words)))
    return dict(rows)


def is_known(word: str) -> bool:
    """Whether there is a command; other packages are searched only for a word that shroff has not."""
    return word in COMMANDS or word in _added()


def load(word: str) -> object:
    """The module of a word."""
    return import_module(f"shroff.{COMMANDS[word][0]}" if word in COMMANDS else _added()[word][0])


def load_all() -> None:
    """Import every module that declares operations. Raises: as `load`."""
    for word, (module, _) in commands().items():
        if not module.startswith("shroff.cli."):
            load(word)
