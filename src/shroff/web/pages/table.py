"""Every page, with the right that it takes."""

from __future__ import annotations

from typing import Final

from shroff.people import links, oidc
from shroff.people.access import Right
from shroff.web.http import static
from shroff.web.http.routes import Route
from shroff.web.pages import confirm, decision, decisions, entity, health, live, mails, models, own, settings, signing
from shroff.web.pages.cases import case, labels, queue
from shroff.web.pages.rules import backtests, changes, editor, lists, thresholds
from shroff.web.pages.rules import table as rules

PAGES: Final = (
    Route("GET", "/static/{version}/{name}", None, static.file),
    Route("GET", "/confirm/{token}", None, confirm.show, is_page=True),
    Route("POST", "/confirm/{token}", None, confirm.answer, is_page=True),
    Route("GET", "/login", None, signing.show, is_page=True),
    Route("POST", "/login", None, signing.sign_in, is_page=True),
    Route("POST", "/login/out", None, signing.sign_out, is_page=True),
    Route("GET", f"{links.PATH}{{token}}", None, signing.show_link, is_page=True),
    Route("POST", f"{links.PATH}{{token}}", None, signing.use_link, is_page=True),
    Route("GET", f"{links.ONCE}{{token}}", None, signing.show_once, is_page=True),
    Route("POST", f"{links.ONCE}{{token}}", None, signing.use_once, is_page=True),
    Route("GET", f"{oidc.PATH}/begin", None, signing.begin_visit, is_page=True),
    Route("GET", oidc.PATH, None, signing.end_visit, is_page=True),
    Route("GET", "/", Right.READ_DECISIONS, own.first, is_page=True),
    Route("GET", own.ME, Right.READ_DECISIONS, own.me, is_page=True),
    Route("POST", own.ME, Right.READ_DECISIONS, own.change_password, is_page=True),
    Route("GET", "/find", Right.READ_DECISIONS, decisions.find, is_page=True),
    Route("GET", "/live", Right.READ_DECISIONS, live.show, is_page=True),
    Route("GET", "/live/stream", Right.READ_DECISIONS, live.stream, is_page=True),
    Route("GET", "/lists", Right.READ_DEFINITIONS, lists.show, is_page=True),
    Route("POST", "/lists/{list}/approve", Right.EDIT_LISTS, lists.approve, is_page=True),
    Route("POST", "/lists", Right.EDIT_LISTS, lists.make_list, is_page=True),
    Route("GET", "/lists/{list}", Right.READ_DEFINITIONS, lists.show_one, is_page=True),
    Route("POST", "/lists/{list}", Right.EDIT_LISTS, lists.add, is_page=True),
    Route("POST", "/lists/{list}/out", Right.EDIT_LISTS, lists.take_out, is_page=True),
    Route("GET", "/lists/{list}/csv", Right.READ_DEFINITIONS, lists.download, is_page=True),
    Route("POST", "/lists/{list}/csv", Right.EDIT_LISTS, lists.upload, is_page=True),
    Route("GET", "/models", Right.READ_DEFINITIONS, models.show, is_page=True),
    Route("GET", "/models/{id}", Right.READ_DEFINITIONS, models.show_one, is_page=True),
    Route("POST", "/models/{id}", Right.PROMOTE_MODELS, models.change, is_page=True),
    Route("GET", thresholds.PATH, Right.READ_DEFINITIONS, thresholds.show, is_page=True),
    Route("POST", thresholds.PATH, Right.SET_THRESHOLDS, thresholds.apply, is_page=True),
    Route("GET", labels.PATH, Right.READ_DECISIONS, labels.show, is_page=True),
    Route("GET", health.PATH, Right.READ_METRICS, health.show, is_page=True),
    Route("POST", health.PATH, Right.READ_METRICS, health.again, is_page=True),
    Route("POST", f"{health.PATH}/quarantine", Right.MEND_INPUT, health.mend, is_page=True),
    Route("GET", "/settings", Right.READ_AUDIT, settings.first, is_page=True),
    Route("GET", settings.AUDIT, Right.READ_AUDIT, settings.audit, is_page=True),
    Route("POST", settings.AUDIT, Right.READ_AUDIT, settings.verify, is_page=True),
    Route("GET", settings.USERS, Right.MANAGE_USERS, settings.show_users, is_page=True),
    Route("POST", settings.USERS, Right.MANAGE_USERS, settings.add_user, is_page=True),
    Route("POST", f"{settings.USERS}/{{name}}", Right.MANAGE_USERS, settings.change_user, is_page=True),
    Route("POST", "/settings/sessions/{id}", Right.MANAGE_USERS, settings.end_session, is_page=True),
    Route("GET", settings.KEYS, Right.MANAGE_KEYS, settings.show_keys, is_page=True),
    Route("POST", settings.KEYS, Right.MANAGE_KEYS, settings.make_key, is_page=True),
    Route("POST", f"{settings.KEYS}/{{id}}", Right.MANAGE_KEYS, settings.revoke_key, is_page=True),
    Route("GET", "/decisions", Right.READ_DECISIONS, decisions.show, is_page=True),
    Route("GET", "/decisions/{event}/{id}", Right.READ_DECISIONS, decision.show, is_page=True),
    Route("GET", "/entities/{entity}/{key}", Right.READ_DECISIONS, entity.show, is_page=True),
    Route("GET", "/queue", Right.READ_CASES, queue.show, is_page=True),
    Route("GET", "/queue/stream", Right.READ_CASES, queue.stream, is_page=True),
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
            ("silence", case.silence),
            ("end-silence", case.end_silence),
            ("approve-silence", case.approve_silence),
        )
    ),
    *mails.ROUTES,
    Route("GET", "/changes", Right.READ_DEFINITIONS, changes.show, is_page=True),
    Route("POST", "/changes", Right.EDIT_RULES, changes.apply, is_page=True),
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
