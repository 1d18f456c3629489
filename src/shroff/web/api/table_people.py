"""Routes for who manages users and keys, and for who reads the record."""

from __future__ import annotations

from typing import Final

from shroff.people.access import Right
from shroff.web.api import people
from shroff.web.http.routes import API, Route, Told
from shroff.web.http.schemas import NULLABLE_TEXT, TEXT, list_of, record

_MADE: Final = {
    400: "",
    408: "The body came too slowly.",
    413: "The body is too long.",
    422: "The body cannot be read.",
    500: "",
    503: "",
}
_DONE: Final = {400: "There is none, or it may not be.", 500: "", 503: ""}
_PAGED: Final = {"limit": "How many, 1 to 500; 50 where it is left out.", "cursor": "The `next` of the answer before."}
_LISTED: Final = {500: "", 503: ""}

PEOPLE_ROUTES: Final = (
    Route(
        "GET",
        f"{API}/users",
        Right.MANAGE_USERS,
        people.all_users,
        Told("The people who may sign in.", "Each with the role.", problems=_LISTED),
    ),
    Route(
        "POST",
        f"{API}/users",
        Right.MANAGE_USERS,
        people.add_user,
        Told(
            "Let somebody sign in.",
            "The user, and a link by which they set their password, once and within three days.",
            record("name role", name=TEXT, role=TEXT, display_name=TEXT, email=TEXT),
            _MADE,
        ),
    ),
    Route(
        "PATCH",
        f"{API}/users/{{name}}",
        Right.MANAGE_USERS,
        people.change_user,
        Told(
            "Change a user. With another role, or disabled, what is open of theirs ends.",
            "The user.",
            record("", role=NULLABLE_TEXT, disabled={"type": ["boolean", "null"]}, display_name=TEXT, email=TEXT),
            _MADE,
        ),
    ),
    Route(
        "DELETE",
        f"{API}/users/{{name}}",
        Right.MANAGE_USERS,
        people.delete_user,
        Told("Remove a user; the record keeps the name.", "Who it was.", problems=_DONE),
    ),
    Route(
        "POST",
        f"{API}/users/{{name}}/link",
        Right.MANAGE_USERS,
        people.link_user,
        Told(
            "A link by which a user sets the password, once and within three days.",
            "Its path, and the whole address.",
            problems=_DONE,
        ),
    ),
    Route(
        "GET",
        f"{API}/sessions",
        Right.MANAGE_USERS,
        people.all_sessions,
        Told("Who is signed in.", "The session that was used last first.", problems=_LISTED),
    ),
    Route(
        "DELETE",
        f"{API}/sessions/{{id}}",
        Right.MANAGE_USERS,
        people.end_session,
        Told("End a session.", "Whose it was.", problems=_DONE),
    ),
    Route(
        "GET",
        f"{API}/keys",
        Right.MANAGE_KEYS,
        people.all_keys,
        Told("The keys of programs.", "Without their texts.", problems=_LISTED),
    ),
    Route(
        "POST",
        f"{API}/keys",
        Right.MANAGE_KEYS,
        people.make_key,
        Told(
            "Make a key, which can do no more than who makes it.",
            "It, with its text: that is told this one time.",
            record("name role", name=TEXT, role=TEXT, scopes=list_of(TEXT), expires=TEXT),
            _MADE,
        ),
    ),
    Route(
        "DELETE",
        f"{API}/keys/{{id}}",
        Right.MANAGE_KEYS,
        people.revoke_key,
        Told("End a key.", "It.", problems=_DONE),
    ),
    Route(
        "GET",
        f"{API}/audit",
        Right.READ_AUDIT,
        people.audit,
        Told(
            "Who did what, from what to what; the newest first.",
            "A part of the record.",
            problems={400: "", 500: "", 503: ""},
            query={
                "who": "A name, or an id such as user-3.",
                "action": "Such as user.role, or all that begin so: user.",
                "subject": "Such as user ann.",
                "from": "Not before this time.",
                "to": "Before this time.",
                **_PAGED,
            },
        ),
    ),
    Route(
        "POST",
        f"{API}/audit/verify",
        Right.READ_AUDIT,
        people.verify_audit,
        Told("Whether the record is whole.", "What was found.", problems=_LISTED),
    ),
)
