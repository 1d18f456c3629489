"""Operations on API keys of programs: list, create, rotate and revoke them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from shroff.events.event import TimeText, time_text, time_text_or_none
from shroff.json_types import JsonObject
from shroff.language.values import named_duration, parse_time
from shroff.operations.declaration import AskedBy, OperationAnswer, OperationRequest, Param, group, operation
from shroff.people import keys
from shroff.people.access import Role, Who
from shroff.people.store import Desk
from shroff.runtime.texts import TextTable, argument

if TYPE_CHECKING:
    from shroff.people.store import ApiKey

RIGHT = "manage:keys"

group(
    "keys",
    """Show, create, rotate and revoke API keys of programs.

    A program sends its key with each call: 'Authorization: Bearer KEY'. The key is shown once, when it is created;
    only its hash is stored. Each change is in the audit log ('shroff audit list --action key').

    Examples:
        shroff keys
        shroff keys create till --role service
        shroff keys create dashboard --role viewer --scope read:decisions --expires 90d
        shroff keys rotate till --overlap 1h
        shroff keys revoke till
    """,
)


class KeyDocument(OperationAnswer):
    """An API key, without its secret text."""

    id: str
    name: str
    role: str
    scopes: list[str]
    made_at: TimeText
    made_by: str
    expires_at: TimeText | None
    revoked_at: TimeText | None
    used_at: TimeText | None

    def text(self) -> str:
        return f"The key {self.name} ({self.id}) is revoked. Requests with it are refused."

    def hints(self) -> Sequence[str]:
        return "shroff keys list", f"shroff audit list --subject {argument(f'key {self.id}')}"

    @property
    def state(self) -> str:
        """Until when it is valid, in words."""
        if self.revoked_at or not self.expires_at:
            return "revoked" if self.revoked_at else "never expires"
        is_over = parse_time(self.expires_at) <= time.time_ns() // 1_000_000
        return f"{'expired' if is_over else 'expires'} {self.expires_at}"


def _fields(key: ApiKey) -> JsonObject:
    return keys.described(key) | {
        "made_at": time_text(key.made_at_ms),
        "made_by": key.made_by,
        "expires_at": time_text_or_none(key.ends_at_ms),
        "revoked_at": time_text_or_none(key.revoked_at_ms),
        "used_at": time_text_or_none(key.used_at_ms),
    }


class ShowKeys(OperationRequest["Keys"]):
    pass


class Keys(OperationAnswer):
    """Keys without their text, revoked ones included."""

    keys: list[KeyDocument]
    NEXT: ClassVar = ("shroff keys create NAME --role service",)

    TABLE: ClassVar = TextTable(
        {
            "id": "id",
            "name": "name",
            "role": "role",
            "may": lambda key: " ".join(key.scopes) or "all of its role",
            "state": "state",
            "used": ("used_at", "never"),
        },
        "keys",
        "key",
    )


@operation("keys list", right=RIGHT, http="GET /keys")
def list_keys(desk: Desk, request: ShowKeys) -> Keys:
    """List all API keys, revoked ones included, without their secret text.

    Examples:
        shroff keys list
        shroff keys list --json
    """
    return Keys(keys=[KeyDocument(**_fields(key)) for key in keys.all_keys(desk)])


class NewKeyAnswer(KeyDocument):
    """The key with its secret text, which is shown only once."""

    key: str

    def text(self) -> str:
        return self.key

    def remark(self) -> str:
        return f"This is the key of {self.name}, role {self.role}. It is not shown again."

    def hints(self) -> Sequence[str]:
        return "shroff keys list", f"shroff keys revoke {self.id}"


class CreateKey(OperationRequest[NewKeyAnswer]):
    """
    Args:
        name: The name: what the key is for.
        role (ROLE): The role: admin, analyst, author, viewer or service.
        expires (DURATION): Expire after this time, as in 90d.  [default: never]
        scopes (RIGHT): Only this right of the role; may be repeated.
    """

    name: str
    role: Annotated[str, Param(flags="--role")]
    expires: str = ""
    scopes: Annotated[tuple[str, ...], Param(flags="--scope")] = ()

    @property
    def raises(self) -> bool:
        """Whether it may do what an admin may."""
        return self.role == Role.ADMIN


@operation(
    "keys create", right=RIGHT, of_two="users raises", http="POST /keys", schema="NewKey", body_bytes_max=64 * 1024
)
def create_key(desk: Desk, who: Who, asked_by: AskedBy, request: CreateKey) -> NewKeyAnswer:
    """Create an API key and show it, this one time. It has at most the rights of its creator.

    Examples:
        shroff keys create till --role service
        shroff keys create dashboard --role viewer --scope read:decisions --expires 90d
    """
    scopes = [keys.known_scope(scope) for scope in request.scopes]
    lasts_ms = _lasts_ms(request.expires)
    role = keys.known_role(request.role)
    key, text = keys.create(desk, who, request.name, role, scopes=scopes, lasts_ms=lasts_ms, made_by=asked_by)
    return NewKeyAnswer(**_fields(key), key=text)


def _lasts_ms(expires: str) -> int | None:
    return named_duration("expires", expires, is_positive=True) if expires else None


class RotatedKey(NewKeyAnswer):
    """The successor of a key with its secret text, and the old key with the time at which it ends."""

    old: KeyDocument

    def remark(self) -> str:
        return f"{super().remark()} The old key ({self.old.id}) is valid until {self.old.expires_at}."

    def hints(self) -> Sequence[str]:
        return "shroff keys list", f"shroff keys revoke {self.old.id}"


class RotateKey(OperationRequest[RotatedKey]):
    """A key to replace.

    Args:
        key: The key: its id, its name or its text.
        overlap (DURATION): How long the old key stays valid.  [default: 24h]
        expires (DURATION): Expire after this time.  [default: as the old key]
    """

    key: str
    overlap: str = "24h"
    expires: str = ""


@operation("keys rotate", right=RIGHT)
def rotate_key(desk: Desk, who: Who, request: RotateKey) -> RotatedKey:
    """Create the successor of an API key and show it, this one time. Both are valid during the overlap.

    The new key has the name, role and scopes of the old one. Give it to the program before the overlap ends.

    Examples:
        shroff keys rotate till
        shroff keys rotate till --overlap 1h --expires 90d
    """
    overlap_ms = named_duration("overlap", request.overlap, is_positive=True)
    new, text, old = keys.rotate(desk, who, request.key, overlap_ms=overlap_ms, lasts_ms=_lasts_ms(request.expires))
    return RotatedKey(**_fields(new), key=text, old=KeyDocument(**_fields(old)))


class RevokedKey(KeyDocument):
    """The revoked key, and the names of keys that were made with it and are not revoked."""

    made: list[str]

    def text(self) -> str:
        also = f" Keys that were made with it stay valid without --with-made: {', '.join(self.made)}."
        return super().text() + also * bool(self.made)


class RevokeKey(OperationRequest[RevokedKey], rename={"key": "id"}):
    """
    Args:
        key: The key: its id, its name or its text.
        with_made: Also revoke the keys that were made with it, and those made with these.
    """

    key: str
    with_made: bool = False


@operation("keys revoke", right=RIGHT, http="DELETE /keys/{id}")
def revoke_key(desk: Desk, who: Who, request: RevokeKey) -> RevokedKey:
    """Revoke an API key by its id, its name or its text. Running services may accept it for one more second.

    Keys that were made with it stay valid, and are named; --with-made revokes them too.

    Examples:
        shroff keys revoke till
        shroff keys revoke k7m2q9x4ab1c --with-made
    """
    key = keys.revoke(desk, who, request.key, with_made=request.with_made)
    made_keys = [
        other.name for other in keys.all_keys(desk) if other.made_by == f"key {key.id}" and not other.revoked_at_ms
    ]
    return RevokedKey(**_fields(key), made=made_keys)
