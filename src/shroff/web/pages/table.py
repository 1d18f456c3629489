"""Every page, with the right that it takes."""

from __future__ import annotations

from typing import Final

from shroff.people import links, oidc
from shroff.people.access import Right
from shroff.web import static
from shroff.web.pages import (
    backtests,
    case,
    confirm,
    decision,
    decisions,
    editor,
    entity,
    mails,
    own,
    queue,
    rules,
    signing,
)
from shroff.web.routes import Route

PAGES: Final = (
    Route("GET", "/static/{version}/{name}", None, static.file),
    Route("GET", "/confirm/{token}", None, confirm.show, is_page=True),
    Route("POST", "/confirm/{token}", None, confirm.answer, is_page=True),
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
    Route("GET", "/queue", Right.READ_CASES, queue.show, is_page=True),
    Route("GET", "/queue/peek/{id}", Right.READ_CASES, queue.peek, is_page=True),
    Route("POST", "/queue/claim-next", Right.WORK_CASES, queue.claim_next, is_page=True),
    Route("POST", "/queue/bulk", Right.WORK_CASES, queue.bulk, is_page=True),
    Route("POST", "/queue/undo", Right.WORK_CASES, queue.undo, is_page=True),
    Route("POST", "/queue/views", Right.READ_CASES, queue.keep_view, is_page=True),
    Route("POST", "/queue/views/drop", Right.READ_CASES, queue.drop_view, is_page=True),
    Route("GET", "/cases/{id}", Right.READ_CASES, case.show, is_page=True),
    *(
        Route("POST", f"/cases/{{id}}/{verb}", Right.WORK_CASES, handle, is_page=True)
        for verb, handle in (
            ("claim", case.claim),
            ("release", case.release),
            ("assign", case.assign),
            ("decide", case.decide),
            ("snooze", case.snooze),
            ("escalate", case.escalate),
            ("reopen", case.reopen),
            ("note", case.note),
        )
    ),
    *mails.ROUTES,
    Route("GET", "/rules", Right.READ_DEFINITIONS, rules.show, is_page=True),
    Route("POST", "/rules", Right.EDIT_RULES, rules.begin, is_page=True),
    Route("GET", "/rules/{rule}", Right.READ_DEFINITIONS, rules.one, is_page=True),
    Route("GET", "/rules/{rule}/hits", Right.READ_DECISIONS, rules.hits, is_page=True),
    Route("POST", "/rules/{rule}/back", Right.EDIT_RULES, rules.back, is_page=True),
    Route("GET", "/rules/{rule}/draft", Right.READ_DEFINITIONS, editor.show, is_page=True),
    Route("POST", "/rules/{rule}/draft", Right.EDIT_RULES, editor.keep, is_page=True),
    Route("POST", "/rules/{rule}/draft/drop", Right.EDIT_RULES, editor.discard, is_page=True),
    Route("POST", "/rules/{rule}/draft/shadow", Right.EDIT_RULES, editor.to_shadow, is_page=True),
    Route("POST", "/rules/{rule}/draft/approve", Right.APPROVE_RULES, editor.to_approved, is_page=True),
    Route("POST", "/rules/{rule}/draft/activate", Right.EDIT_RULES, editor.to_active, is_page=True),
    Route("GET", "/backtests", Right.READ_DEFINITIONS, backtests.listed, is_page=True),
    Route("POST", "/backtests", Right.RUN_BACKTESTS, backtests.begin, is_page=True),
    Route("GET", "/backtests/{id}", Right.READ_DEFINITIONS, backtests.show, is_page=True),
)
