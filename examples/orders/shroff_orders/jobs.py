"""Kinds of jobs about the synthetic shop."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from shroff.plugins.operations import JobKind, JobParams, Name, OutPath
from shroff.plugins.web import Right


class OrdersParams(JobParams, frozen=True):
    """Generate orders of a synthetic shop, with fraud, into `out`: one Parquet file per week or month, and labels."""

    by: Literal["week", "month"] = "week"
    batches: Annotated[int, msgspec.Meta(ge=1, le=520)] = 12
    size: Annotated[int, msgspec.Meta(ge=1, le=2_000_000)] = 100_000
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 1
    out: OutPath = "out/orders"


class PipelineParams(OrdersParams, frozen=True):
    """Generate orders, write features and a training set, train, check the gates; with `promote` publish the model.

    With `sources`, pulled sources of shroff.yaml that read the folder, the orders then go into the log, in their order.
    """

    size: Annotated[int, msgspec.Meta(ge=1, le=2_000_000)] = 3_000
    promote: bool = False
    sources: tuple[Name, ...] = ()

    @property
    def rights(self) -> tuple[Right, ...]:
        promoting = [Right.PROMOTE_MODELS] if self.promote else []
        return (Right.TRAIN_MODELS, *promoting, *([Right.SUBMIT_EVENTS] if self.sources else []))


_PIPELINE: Final = "shroff_orders.pipeline"
MAKE_ORDERS: Final = JobKind(
    "make-orders", OrdersParams, f"{_PIPELINE}:make_orders", "Generate orders of a synthetic shop"
)
ORDERS_PIPELINE: Final = JobKind(
    "orders-pipeline", PipelineParams, f"{_PIPELINE}:orders_pipeline", "Pipeline of the orders template"
)
