"""`shroff keys`: keys of programs that call the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shroff.cli.session import ExampleGroup, Session, argument, command, json_option, many, table
from shroff.cli.users import at_desk, moment_text
from shroff.language.values import named_duration

if TYPE_CHECKING:
    from shroff.people.documents import KeyDocument
    from shroff.people.store import ApiKey


@click.group("keys", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def keys(context: click.Context) -> None:
    """Show, create, rotate and revoke API keys of programs.

    A program sends its key with each call: 'Authorization: Bearer KEY'. The key is shown once, when it is created;
    only its hash is stored. Each change is in the audit log ('shroff audit list --action key').
    """
    if context.invoked_subcommand is None:
        _overview(context.obj)


keys.examples = (
    "shroff keys",
    "shroff keys create till --role service",
    "shroff keys create dashboard --role viewer --scope read:decisions --expires 90d",
    "shroff keys rotate till --overlap 1h",
    "shroff keys revoke till",
)


@command("list", "shroff keys list", "shroff keys list --json", group=keys)
def list_(session: Session) -> None:
    """List all API keys, revoked ones included, without their secret text."""
    _overview(session)


def _overview(session: Session) -> None:
    from shroff.people.keys import all_keys

    with at_desk(session) as (desk, _):
        found, now_ms = all_keys(desk), desk.now_ms()
    text = f"{many(len(found), 'key')}."
    if found:
        rows = [
            (
                one.id,
                one.name,
                one.role.value,
                " ".join(one.scopes) or "all of its role",
                _state(one, now_ms),
                _used(one),
            )
            for one in found
        ]
        text += "\n" + table(rows, ("id", "name", "role", "may", "state", "used"))
    session.answer({"keys": [document(one) for one in found]}, text)
    session.next("shroff keys create NAME --role service")


def _state(key: ApiKey, now_ms: int) -> str:
    if key.revoked_at_ms is not None:
        return "revoked"
    if key.ends_at_ms is None:
        return "never expires"
    return f"{'expired' if key.ends_at_ms <= now_ms else 'expires'} {moment_text(key.ends_at_ms)}"


def _used(key: ApiKey) -> str:
    return "never" if key.used_at_ms is None else moment_text(key.used_at_ms)


def document(key: ApiKey) -> KeyDocument:
    """A key as JSON, without a credential."""
    from shroff.people.documents import of_key

    return of_key(key)


@command(
    "create",
    "shroff keys create till --role service",
    "shroff keys create dashboard --role viewer --scope read:decisions --expires 90d",
    group=keys,
)
@click.argument("name")
@click.option("--role", required=True, metavar="ROLE", help="The role: admin, analyst, author, viewer or service.")
@click.option("--expires", metavar="DURATION", default="", help="Expire after this time, as in 90d.  [default: never]")
@click.option("--scope", "scopes", metavar="RIGHT", multiple=True, help="Only this right of the role; may be repeated.")
def create(session: Session, name: str, role: str, expires: str, scopes: tuple[str, ...]) -> None:
    """Create an API key and show it, this one time."""
    from shroff.people import keys as people

    with at_desk(session) as (desk, who):
        wanted = [people.known_scope(scope) for scope in scopes]
        lasts_ms = named_duration("--expires", expires, is_positive=True) if expires else None
        key, text = people.create(desk, who, name, people.known_role(role), scopes=wanted, lasts_ms=lasts_ms)
    told = {**document(key), "key": text}
    session.answer(told, f"{text}\nThis is the key of {key.name}, role {key.role.value}. It is not shown again.")
    session.next("shroff keys list", f"shroff keys revoke {key.id}")


@command("rotate", "shroff keys rotate till", "shroff keys rotate till --overlap 1h --expires 90d", group=keys)
@click.argument("key")
@click.option(
    "--overlap", metavar="DURATION", default="24h", show_default=True, help="How long the old key stays valid."
)
@click.option("--expires", metavar="DURATION", default="", help="Expire after this time.  [default: as the old key]")
def rotate(session: Session, key: str, overlap: str, expires: str) -> None:
    """Create the successor of an API key and show it, this one time. Both are valid during the overlap.

    The new key has the name, role and scopes of the old one. Give it to the program before the overlap ends.
    """
    from shroff.people import keys as people

    with at_desk(session) as (desk, who):
        overlap_ms = named_duration("--overlap", overlap, is_positive=True)
        lasts_ms = named_duration("--expires", expires, is_positive=True) if expires else None
        new, text, old = people.rotate(desk, who, key, overlap_ms=overlap_ms, lasts_ms=lasts_ms)
    session.answer(
        {**document(new), "key": text, "old": document(old)},
        f"{text}\nThis is the new key of {new.name}, role {new.role.value}. It is not shown again. The old key "
        f"({old.id}) is valid until {moment_text(old.ends_at_ms or 0)}.",
    )
    session.next("shroff keys list", f"shroff keys revoke {old.id}")


@command("revoke", "shroff keys revoke till", "shroff keys revoke k7m2q9x4ab1c", group=keys)
@click.argument("key")
def revoke(session: Session, key: str) -> None:
    """Revoke an API key by its id, its name or its text. Running services may accept it for one more second."""
    from shroff.people import keys as people

    with at_desk(session) as (desk, who):
        gone = people.revoke(desk, who, key)
    session.answer(document(gone), f"The key {gone.name} ({gone.id}) is revoked. Requests with it are refused.")
    session.next("shroff keys list", f"shroff audit list --subject {argument(f'key {gone.id}')}")
