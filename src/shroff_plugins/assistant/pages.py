"""The page *Assistant*, where assistant.yaml names a model: a sentence becomes a draft, which the editor shows.

A case is summed up there, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff.errors import ShroffError
from shroff.plugins.web import Request, Right, Route, Screen, page, see_other
from shroff_plugins.assistant.assistant_operations import SENTENCE_MAX, DraftRule, SumUpCase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from shroff.plugins.project import Definitions
    from shroff.plugins.web import Service

PATH = "/assistant"
DIGITS_MAX = 9  # of a case's number


def page_routes(definitions: Definitions | None) -> Sequence[Route]:
    """The page, where a model is set when the service starts.

    Without one the group *Policy* has no such page, and its address answers with status 404.
    """
    if definitions is None or not definitions.added.get("assistant"):
        return ()
    return (
        Route("GET", PATH, Right.EDIT_RULES, show, screen=Screen("Assistant", "Policy", 7)),
        Route("POST", PATH, Right.EDIT_RULES, draft),
        Route("POST", f"{PATH}/case", Right.WORK_CASES, sum_up),
    )


async def show(service: Service, request: Request, **told: str) -> Response:
    """A form for the sentence, and one for the number of a case; with what was asked, and the summary or mistake."""
    shown = dict.fromkeys(("sentence", "number", "mistake", "no_summary", "summary"), "") | told
    template = "shroff_plugins.assistant:assistant.html"
    return await page(service, request, template, **shown, longest=SENTENCE_MAX, path=PATH)


async def draft(service: Service, request: Request) -> Response:
    """Draft a rule, and go on to its editor.

    The sentence stays in the form where no draft was made, with the reason above it.
    """
    sentence = (await request.form())["sentence"]
    try:
        made = await service.run(request, DraftRule(sentence))
    except ShroffError as error:
        return await show(service, request, sentence=sentence, mistake=str(error))
    return see_other(f"/rules/{made.rule}/draft")


async def sum_up(service: Service, request: Request) -> Response:
    """Sum up a case below the form, or say why that failed."""
    number = (await request.form())["number"]
    if not number.isascii() or not number.isdecimal() or len(number) > DIGITS_MAX:
        return await show(service, request, number=number, no_summary="A case has a number, as 12.")
    try:
        found = await service.run(request, SumUpCase(int(number)))
    except ShroffError as error:
        return await show(service, request, number=number, no_summary=str(error))
    return await show(service, request, number=number, summary=found.summary)
