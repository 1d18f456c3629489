"""Pages of analytics: counts, funnels and marts."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shroff.plugins.project import Definitions
    from shroff.plugins.web import Route


def page_routes(definitions: Definitions | None) -> Sequence[Route]:
    from shroff_plugins.analytics.pages import counts, funnels, marts

    return (*counts.ROUTES, *funnels.ROUTES, *marts.ROUTES)
