"""`shroff silences`: rules that are silent for a card, an account, or whatever their key is, until a time."""

from __future__ import annotations

from dataclasses import asdict

import click

from shroff.cli.session import ExampleGroup, Session, command, json_option, many, table


@click.group("silences", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def silences(context: click.Context) -> None:
    """Show and change silences: rules that do not apply to a key until a time.

    Silences are stored in lists/silence.RULE.csv. Each change is a control event in the log, so 'replay', 'verify' and
    'backtest' respect it. Past decisions do not change.
    """
    if context.invoked_subcommand is None:
        _overview(context.obj)


silences.examples = (
    "shroff silences",
    "shroff silences add many_payments c-17 --until 2026-12-01T00:00:00Z --note 'a wedding'",
    "shroff silences end many_payments c-17",
)


def _overview(session: Session) -> None:
    found = session.project.silences.all()
    text = f"{many(len(found), 'silence')}."
    if found:
        rows = [(one.rule, f"{one.entity} {one.key}", one.until, one.by, one.note) for one in found]
        text += "\n" + table(rows, ("rule", "for", "until", "by", "why"))
    session.answer({"silences": [asdict(one) for one in found]}, text)
    session.next("shroff silences add RULE KEY --until TIME")


@command(
    "add", "shroff silences add many_payments c-17 --until 2026-12-01T00:00:00Z --note 'a wedding'", group=silences
)
@click.argument("rule")
@click.argument("key")
@click.option("--until", metavar="TIME", required=True, help="The end: the rule is silent for events before this time.")
@click.option("--note", default="", help="The reason, as free text.")
@click.option("--by", default="", help="Who silences it.")
def add(session: Session, rule: str, key: str, until: str, note: str, by: str) -> None:
    """Silence a rule for one key. If the key's field is hashed, the value is written as its hash."""
    project = session.project
    change = project.silences.add(rule, key, until, note=note, by=by or project.opened.who.name, waits=session.waits)
    when = "from the next event on" if change.in_force else f"once this is active: {change.why_not.rstrip('.')}"
    session.answer(asdict(change), f"Rule {rule} is silent for {change.value} until {until}, {when}.")
    session.next("shroff silences", "shroff verify")


@command("end", "shroff silences end many_payments c-17", group=silences)
@click.argument("rule")
@click.argument("key")
def end(session: Session, rule: str, key: str) -> None:
    """End the silence of a rule for a key."""
    change = session.project.silences.end(rule, key, session.waits)
    session.answer(asdict(change), f"Rule {rule} applies to {change.value} again.")
    session.next("shroff silences")
