"""Operations on users: who may sign in, with which role, by which link, and the sessions that are open."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

import msgspec

from shroff.events.event import TimeText, time_text, time_text_or_none
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, ServiceUrl, group, operation
from shroff.people import factors, links, sessions, users
from shroff.people.access import Who
from shroff.people.store import Desk
from shroff.runtime.texts import TextTable, argument

if TYPE_CHECKING:
    from shroff.people.sessions import OpenSession
    from shroff.people.store import User

BODY_BYTES_MAX = 64 * 1024
RIGHT = "manage:users"

group(
    "users",
    """Show and change the users who may sign in, and their roles.

    Anyone who can run this command on the machine acts as an admin. Each change is in the audit log ('shroff audit
    list').

    Examples:
        shroff users
        shroff users add ann --role analyst --display-name 'Ann Lee' --email ann@bank.org
        shroff users role ann author
        shroff users link
    """,
)


class UserDocument(msgspec.Struct):
    """A user, without a credential. `signs_in_by` is `password`, `oidc` or `nothing`."""

    id: str
    name: str
    display_name: str
    email: str
    role: str
    disabled: bool
    signs_in_by: str
    second_factor: bool
    made_at: TimeText
    last_login_at: TimeText | None

    @classmethod
    def of(cls, user: User) -> UserDocument:
        made_at = time_text(user.made_at_ms)
        last = time_text_or_none(user.last_login_ms)
        return cls(id=user.id, **users.shown(user), made_at=made_at, last_login_at=last)

    @property
    def sign_in(self) -> str:
        """How the user signs in, in words."""
        if self.disabled:
            return "disabled"
        return (
            "has no password yet"
            if self.signs_in_by == "nothing"
            else f"by {self.signs_in_by}{' and code' * self.second_factor}"
        )


class UserAnswer(OperationAnswer):
    """One user."""

    user: UserDocument
    words: ClassVar[str] = "{name} is {role} now{again}."

    @classmethod
    def of(cls, user: User) -> Self:
        return cls(user=UserDocument.of(user))

    def text(self) -> str:
        again = "" if self.user.disabled else ", and has to sign in again"
        text = self.words.format(name=self.user.name, role=self.user.role, again=again)
        return text[0].upper() + text[1:]

    def hints(self) -> Sequence[str]:
        return "shroff users list", f"shroff audit list --subject {argument(f'user {self.user.name}')}"


class OfUser(OperationRequest[UserAnswer]):
    """A request about one user.

    Args:
        name: The user.
    """

    name: str


class ShowUsers(OperationRequest["Users"]):
    pass


class Users(OperationAnswer):
    """Users with their roles."""

    users: list[UserDocument]

    TABLE: ClassVar = TextTable(
        {
            "name": "name",
            "shown as": "display_name",
            "role": "role",
            "state": "sign_in",
            "signed in": ("last_login_at", "never"),
        },
        "users",
        "user",
    )

    def hints(self) -> Sequence[str]:
        return ["shroff users add NAME --role ROLE" if self.users else "shroff users link"]


@operation("users list", right=RIGHT, http="GET /users")
def list_users(desk: Desk, request: ShowUsers) -> Users:
    """List all users with their roles.

    Examples:
        shroff users list
        shroff users list --json
    """
    return Users(users=[UserDocument.of(user) for user in users.all_users(desk)])


# ---- adding


class UserLink(OperationAnswer):
    """A one-time link: its path and its full URL, if the address of the service is known; without `user` for an admin.

    It sets the user's password, or creates an admin.
    """

    link: str
    url: str | None
    user: str | None
    NEXT: ClassVar = ("shroff serve",)

    def text(self) -> str:
        purpose = f"sets the password of {self.user}; it works once"
        purpose = purpose if self.user else "creates an admin; it works once, for one hour"
        return f"This link {purpose}:\n{_link_text(self.link, self.url)}"


def _link_text(link: str, url: str | None) -> str:
    return url or f"{link}\nPut the address of the service before it, such as https://shroff.example.org"


class AddUser(OperationRequest["NewUserAnswer"]):
    """
    Args:
        name: The user's name.
        role (ROLE): The user's role: admin, analyst, author, viewer or member.
        display_name: The display name.  [default: the name]
        email: The mail address.
        password: Read the password from the first line of standard input.
    """

    name: str
    role: Annotated[str, Param(flags="--role")]
    display_name: str = ""
    email: str = ""
    password: Annotated[str, Param(flags="--password-stdin", is_local=True, is_secret=True)] = ""


class NewUserAnswer(UserAnswer):
    """The user, and a one-time link to set the password, valid for three days; null if a password was given."""

    link: str | None
    url: str | None
    NEXT: ClassVar = ("shroff users list", "shroff serve")

    def text(self) -> str:
        text = f"{self.user.name} can sign in as {self.user.role}."
        if self.link is None:
            return text
        return f"{text} To set the password, open this link once within three days:\n{_link_text(self.link, self.url)}"


@operation(
    "users add", right=RIGHT, of_two="users", http="POST /users", schema="NewUser", body_bytes_max=BODY_BYTES_MAX
)
def add_user(desk: Desk, who: Who, service: ServiceUrl, request: AddUser) -> NewUserAnswer:
    """Add a user. Without a password, the output has a one-time link to set one, valid for three days.

    Users who sign in by OpenID Connect need neither: they are created at their first sign-in if 'roles' in shroff.yaml
    allows it.

    Examples:
        shroff users add ann --role analyst --display-name 'Ann Lee' --email ann@bank.org
        pass show ann | shroff users add ann --role admin --password-stdin
    """
    role = users.known_role(request.role)
    more = {"display_name": request.display_name, "email": request.email}
    user = users.add(desk, who, request.name, role, password=request.password, **more)
    link = None if request.password else links.for_password(desk, who, user.name)
    url = service + link if service and link else None
    return NewUserAnswer(user=UserDocument.of(user), link=link, url=url)


class LinkUser(OperationRequest[UserLink]):
    """
    Args:
        name: The user.
    """

    name: Annotated[str | None, Param(is_argument=True)] = None


@operation("users link", right=RIGHT, of_two="users", http="POST /users/{name}/link")
def link_user(desk: Desk, who: Who, service: ServiceUrl, request: LinkUser) -> UserLink:
    """Create a one-time link: with a NAME it sets that user's password, without one it creates an admin.

    Use it if the first link or a password was lost. Links for admins are valid for one hour, others for three days.

    Examples:
        shroff users link
        shroff users link ann
    """
    name = request.name
    link = links.for_admin(desk, who) if name is None else links.for_password(desk, who, name)
    return UserLink(link=link, url=service + link if service else None, user=name)


# ---- changing


class SetRole(OfUser):
    """
    Args:
        role: The role: admin, analyst, author, viewer or member.
    """

    role: str


@operation("users role", right=RIGHT, of_two="users")
def set_role(desk: Desk, who: Who, request: SetRole) -> UserAnswer:
    """Change a user's role; the user's sessions end.

    Examples:
        shroff users role ann author
    """
    return UserAnswer.of(users.set_role(desk, who, request.name, users.known_role(request.role)))


class DisableUser(OfUser):
    pass


class DisabledUser(UserAnswer):
    """A user who can no longer sign in."""

    words: ClassVar[str] = "{name} can no longer sign in; open sessions and the API keys that they made are ended."


@operation("users disable", right=RIGHT)
def disable_user(desk: Desk, who: Who, request: DisableUser) -> DisabledUser:
    """Disable a user's sign-in; open sessions and the API keys that the user made end at once.

    Examples:
        shroff users disable ann
    """
    return DisabledUser.of(users.disable(desk, who, request.name))


class EnableUser(OfUser):
    pass


class EnabledUser(UserAnswer):
    """A user who can sign in again."""

    words: ClassVar[str] = "{name} can sign in again."


@operation("users enable", right=RIGHT, of_two="users")
def enable_user(desk: Desk, who: Who, request: EnableUser) -> EnabledUser:
    """Enable the sign-in of a disabled user again.

    Examples:
        shroff users enable ann
    """
    return EnabledUser.of(users.enable(desk, who, request.name))


class SetPassword(OfUser):
    """
    Args:
        password: Read the password from the first line of standard input.
    """

    password: Annotated[str, Param(flags="--password-stdin", is_secret=True)]


class PasswordUser(UserAnswer):
    """A user with a new password."""

    words: ClassVar[str] = "{name} has a new password{again}."


@operation("users password", right=RIGHT, of_two="users")
def set_password(desk: Desk, who: Who, request: SetPassword) -> PasswordUser:
    """Set a user's password; the user's sessions end. A terminal asks for it without showing it.

    Examples:
        shroff users password ann
        pass show ann | shroff users password ann --password-stdin
    """
    return PasswordUser.of(users.set_password(desk, who, request.name, request.password))


class ChangeUser(OfUser):
    role: str | None = None
    disabled: bool | None = None
    display_name: str | None = None
    email: str | None = None

    @property
    def raises(self) -> bool:
        """Whether it may give rights."""
        return self.role is not None or self.disabled is False


@operation(
    "users change",
    right=RIGHT,
    of_two="users raises",
    http="PATCH /users/{name}",
    schema="UserChange",
    body_bytes_max=BODY_BYTES_MAX,
    has_command=False,
)
def change_user(desk: Desk, who: Who, request: ChangeUser) -> UserAnswer:
    """Change a user. A changed role or a disabled sign-in ends the user's sessions.

    Each change is a transaction of its own, those first that may be refused.
    """
    name = request.name
    role = None if request.role is None else users.known_role(request.role)
    users.check_texts(request.display_name or "", request.email or "")
    with desk.store.look() as queries:
        user = users.in_look(queries, users.known_name(name))
    if role is not None and role != user.role:
        user = users.set_role(desk, who, name, role)
    if request.disabled is not None and request.disabled != user.is_disabled:
        user = (users.disable if request.disabled else users.enable)(desk, who, name)
    if request.display_name is not None or request.email is not None:
        shown_as = user.display_name if request.display_name is None else request.display_name
        email = user.email if request.email is None else request.email
        user = users.rename(desk, who, name, display_name=shown_as, email=email)
    return UserAnswer.of(user)


class DeleteUser(OfUser):
    pass


class RemovedUser(UserAnswer):
    """The removed user."""

    words: ClassVar[str] = "{name} is removed. The audit log keeps their actions under this name."


@operation("users delete", right=RIGHT, http="DELETE /users/{name}")
def delete_user(desk: Desk, who: Who, request: DeleteUser) -> RemovedUser:
    """Remove a user and the API keys that the user made. The audit log keeps the name and its actions.

    To keep the user too, use 'disable'.

    Examples:
        shroff users delete ann
    """
    return RemovedUser.of(users.delete(desk, who, request.name))


class ResetFactor(OfUser):
    """
    Args:
        code: A code of your own second factor, if you are signed in and have one.
    """

    code: Annotated[str, Param(is_remote=True)] = ""


class FactorlessUser(UserAnswer):
    """A user without a second factor."""

    words: ClassVar[str] = "{name} has no second factor now{again}."


@operation("users reset-factor", right=RIGHT, of_two="users", http="DELETE /users/{name}/factor")
def reset_factor(desk: Desk, who: Who, request: ResetFactor) -> FactorlessUser:
    """Remove the second factor of a user who lost the device; the user's sessions end.

    Check the identity of the caller first: from then on the password alone signs the user in. A role that needs a
    second factor sets a new one up at the next sign-in. In the service, an admin with a second factor sends a code.

    Examples:
        shroff users reset-factor ann
    """
    return FactorlessUser.of(factors.reset(desk, who, request.name, request.code))


# ---- sessions


class SignOutUser(OfUser):
    pass


class SignedOutUser(UserAnswer):
    """A user without an open session."""

    words: ClassVar[str] = "{name} is signed out everywhere{again}."


@operation("users sign-out", right=RIGHT, http="DELETE /users/{name}/sessions")
def sign_out_user(desk: Desk, who: Who, request: SignOutUser) -> SignedOutUser:
    """End all sessions of a user, who may sign in again.

    Examples:
        shroff users sign-out ann
    """
    return SignedOutUser.of(sessions.end_all(desk, who, request.name))


class SessionDocument(msgspec.Struct):
    """An open session, without its token. `device` is what the browser says of itself."""

    id: str
    user: str
    address: str
    device: str
    signed_in_at: TimeText
    used_at: TimeText
    ends_at: TimeText

    @classmethod
    def of(cls, opened: OpenSession) -> SessionDocument:
        session = opened.session
        times = (session.made_at_ms, session.seen_at_ms, opened.ends_at_ms)
        return cls(opened.id, opened.user.name, session.address, session.device, *map(time_text, times))


class ShowSessions(OperationRequest["Sessions"]):
    pass


class Sessions(OperationAnswer):
    """The sessions, most recently used first."""

    sessions: list[SessionDocument]


@operation("users sessions", right=RIGHT, http="GET /sessions", has_command=False)
def list_sessions(desk: Desk, request: ShowSessions) -> Sessions:
    """List open sessions."""
    return Sessions(sessions=[SessionDocument.of(session) for session in sessions.open_sessions(desk)])


class EndSession(OperationRequest["SessionAnswer"]):
    id: str


class SessionAnswer(OperationAnswer):
    """One session."""

    session: SessionDocument


@operation("users end-session", right=RIGHT, http="DELETE /sessions/{id}", has_command=False)
def end_session(desk: Desk, who: Who, request: EndSession) -> SessionAnswer:
    """End a session."""
    return SessionAnswer(session=SessionDocument.of(sessions.end_named(desk, who, request.id)))
