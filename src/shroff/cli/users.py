"""`shroff users`: people who may sign in."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from shroff.cli.session import ExampleGroup, Session, argument, command, json_option, many, table
from shroff.errors import UsageError

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.people.desk import Desk
    from shroff.people.documents import UserDocument
    from shroff.people.store import User

ROLES = "admin, analyst, author or viewer"
BEHIND = "Put the address of the service before it, such as https://shroff.example.org"


@click.group("users", cls=ExampleGroup, invoke_without_command=True)
@json_option
@click.pass_context
def users(context: click.Context) -> None:
    """Show and change the users who may sign in, and their roles.

    Anyone who can run this command on the machine acts as an admin. Each change is in the audit log ('shroff audit
    list').
    """
    if context.invoked_subcommand is None:
        _overview(context.obj)


users.examples = (
    "shroff users",
    "shroff users add ann --role analyst --display-name 'Ann Lee' --email ann@bank.org",
    "shroff users role ann author",
    "shroff users link",
)


@contextmanager
def at_desk(session: Session) -> Iterator[tuple[Desk, Who]]:
    """People desk of the project, and the user who runs this command."""
    with session.project.people.open() as desk:
        yield desk, session.project.opened.who


@command("list", "shroff users list", "shroff users list --json", group=users)
def list_(session: Session) -> None:
    """List all users with their roles."""
    _overview(session)


def _overview(session: Session) -> None:
    from shroff.people.users import all_users

    with at_desk(session) as (desk, _):
        found = all_users(desk)
    text = f"{many(len(found), 'user')}."
    if found:
        rows = [(one.name, one.display_name, one.role.value, _state(one), _when(one.last_login_ms)) for one in found]
        text += "\n" + table(rows, ("name", "shown as", "role", "state", "signed in"))
    session.answer({"users": [document(one) for one in found]}, text)
    session.next("shroff users add NAME --role ROLE" if found else "shroff users link")


def _state(user: User) -> str:
    from shroff.people.users import signs_in_by

    if user.is_disabled:
        return "disabled"
    return "has no password yet" if signs_in_by(user) == "nothing" else f"by {signs_in_by(user)}"


def _when(moment_ms: int | None) -> str:
    return "never" if moment_ms is None else moment_text(moment_ms)


def moment_text(moment_ms: int) -> str:
    """A moment, as documents have it."""
    from shroff.events.event import time_text

    return time_text(moment_ms)


def document(user: User) -> UserDocument:
    """A user as JSON, without a credential."""
    from shroff.people.documents import of_user

    return of_user(user)


@command(
    "add",
    "shroff users add ann --role analyst --display-name 'Ann Lee' --email ann@bank.org",
    "pass show ann | shroff users add ann --role admin --password-stdin",
    group=users,
)
@click.argument("name")
@click.option("--role", required=True, metavar="ROLE", help=f"The user's role: {ROLES}.")
@click.option("--display-name", default="", help="The display name.  [default: the name]")
@click.option("--email", default="", help="The mail address.")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
def add(session: Session, name: str, role: str, display_name: str, email: str, password_stdin: bool) -> None:
    """Add a user. Without a password, the output has a one-time link to set one, valid for three days.

    Users who sign in by OpenID Connect need neither: they are created at their first sign-in if 'roles' in shroff.yaml
    allows it.
    """
    from shroff.people import links
    from shroff.people import users as people

    password = _from_stdin() if password_stdin else ""
    public = session.project.opened.systems.public_url
    with at_desk(session) as (desk, who):
        known = people.known_role(role)
        made = people.add(desk, who, name, known, display_name=display_name, email=email, password=password)
        link = None if password else links.for_password(desk, who, made.name)
    text, url = f"{made.name} can sign in as {made.role.value}.", None
    if link is not None:
        url, words = _whole(public, link)
        text += f" To set the password, open this link once within three days:\n  {words}"
    session.answer({"user": document(made), "link": link, "url": url}, text)
    session.next("shroff users list", "shroff serve")


@command("role", "shroff users role ann author", group=users)
@click.argument("name")
@click.argument("role")
def role(session: Session, name: str, role: str) -> None:
    """Change a user's role; the user's sessions end."""
    from shroff.people import users as people

    with at_desk(session) as (desk, who):
        now = people.set_role(desk, who, name, people.known_role(role))
    _tell(session, now, f"{now.name} is {now.role.value} now{'' if now.is_disabled else ', and has to sign in again'}.")


@command("disable", "shroff users disable ann", group=users)
@click.argument("name")
def disable(session: Session, name: str) -> None:
    """Disable a user's sign-in; open sessions end at once."""
    from shroff.people import users as people

    with at_desk(session) as (desk, who):
        now = people.disable(desk, who, name)
    _tell(session, now, f"{now.name} can no longer sign in; open sessions are ended.")


@command("enable", "shroff users enable ann", group=users)
@click.argument("name")
def enable(session: Session, name: str) -> None:
    """Enable the sign-in of a disabled user again."""
    from shroff.people import users as people

    with at_desk(session) as (desk, who):
        now = people.enable(desk, who, name)
    _tell(session, now, f"{now.name} can sign in again.")


@command(
    "password", "shroff users password ann", "pass show ann | shroff users password ann --password-stdin", group=users
)
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from the first line of standard input.")
def password(session: Session, name: str, password_stdin: bool) -> None:
    """Set a user's password; the user's sessions end. A terminal asks for it without showing it."""
    from shroff.people import users as people

    new = _from_stdin() if password_stdin else _from_terminal(name)
    with at_desk(session) as (desk, who):
        now = people.set_password(desk, who, name, new)
    then = "" if now.is_disabled else ", and they have to sign in again"
    _tell(session, now, f"the password of {now.name} is set{then}.")


@command("delete", "shroff users delete ann", group=users)
@click.argument("name")
def delete(session: Session, name: str) -> None:
    """Remove a user. The audit log keeps the name and its actions. To keep the user too, use 'disable'."""
    from shroff.people import users as people

    with at_desk(session) as (desk, who):
        gone = people.delete(desk, who, name)
    _tell(session, gone, f"{gone.name} is removed. The audit log keeps their actions under this name.")


@command("link", "shroff users link", "shroff users link ann", group=users)
@click.argument("name", required=False)
def link(session: Session, name: str | None) -> None:
    """Create a one-time link: with a NAME it sets that user's password, without one it creates an admin.

    Use it if the first link or a password was lost. Links for admins are valid for one hour, others for three days.
    """
    from shroff.people import links

    public = session.project.opened.systems.public_url
    with at_desk(session) as (desk, who):
        path = links.for_admin(desk, who) if name is None else links.for_password(desk, who, name)
    what = (
        "creates an admin; it works once, for one hour"
        if name is None
        else f"sets the password of {name}; it works once"
    )
    url, words = _whole(public, path)
    session.answer({"link": path, "url": url, "user": name}, f"This link {what}:\n  {words}.")
    session.next("shroff serve")


def _whole(public: str, path: str) -> tuple[str | None, str]:
    """The whole address of a link, where shroff.yaml says at which one the service is reached; and how it is told."""
    return (public + path, public + path) if public else (None, f"{path}\n{BEHIND}")


def _tell(session: Session, user: User, text: str) -> None:
    session.answer({"user": document(user)}, text[0].upper() + text[1:])
    session.next("shroff users list", f"shroff audit list --subject {argument(f'user {user.name}')}")


def _from_stdin() -> str:
    """The first line of standard input."""
    text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise UsageError("the first line of standard input is empty; it must be the password.")
    return text


def _from_terminal(name: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for a password: add --password-stdin.")
    text: str = click.prompt(f"New password of {name}", hide_input=True, confirmation_prompt=True, err=True)
    return text
