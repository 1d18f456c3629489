"""Every page, with the right that it takes."""

from __future__ import annotations

from typing import Final

from shroff.people import links, oidc
from shroff.people.access import Right
from shroff.web import static
from shroff.web.pages import decision, decisions, entity, own, signing
from shroff.web.routes import Route

PAGES: Final = (
    Route("GET", "/static/{version}/{name}", None, static.file),
    Route("GET", "/login", None, signing.show, is_page=True),
    Route("POST", "/login", None, signing.sign_in, is_page=True),
    Route("POST", "/login/out", None, signing.sign_out, is_page=True),
    Route("GET", f"{links.PATH}{{token}}", None, signing.show_link, is_page=True),
    Route("POST", f"{links.PATH}{{token}}", None, signing.use_link, is_page=True),
    Route("GET", f"{oidc.PATH}/begin", None, signing.begin_visit, is_page=True),
    Route("GET", oidc.PATH, None, signing.end_visit, is_page=True),
    Route("GET", "/", Right.READ_DECISIONS, own.first, is_page=True),
    Route("GET", "/me", Right.READ_DECISIONS, own.me, is_page=True),
    Route("GET", "/find", Right.READ_DECISIONS, decisions.find, is_page=True),
    Route("GET", "/decisions", Right.READ_DECISIONS, decisions.show, is_page=True),
    Route("GET", "/decisions/{event}/{id}", Right.READ_DECISIONS, decision.show, is_page=True),
    Route("GET", "/entities/{entity}/{key}", Right.READ_DECISIONS, entity.show, is_page=True),
)
