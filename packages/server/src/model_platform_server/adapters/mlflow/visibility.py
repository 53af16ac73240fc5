"""To which zone every row of MLflow's belongs, and the SQL that shows only the rows of some zones.

Each class of MLflow's tables is named here, once: with what anchors its rows to a zone, or as closed. A test demands that
nothing is left out, so an upgrade that adds a table fails the test.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

import mlflow.store.tracking.dbmodels.models as tracking
import sqlalchemy as sa
from mlflow.store.model_registry.dbmodels import models as registry
from mlflow.store.workspace.dbmodels.models import SqlWorkspace
from sqlalchemy.orm import with_loader_criteria
from sqlalchemy.sql import visitors

Zones = frozenset[str]
Criterion = sa.ColumnElement[bool]

_experiments = tracking.SqlExperiment.__table__.alias("zone_experiments")
_runs = tracking.SqlRun.__table__.alias("zone_runs")
_traces = tracking.SqlTraceInfo.__table__.alias("zone_traces")
_models = tracking.SqlLoggedModel.__table__.alias("zone_models")
_inputs = tracking.SqlInput.__table__.alias("zone_inputs")


def _name(column: Any, zones: Zones) -> Criterion:
    # Zone names hold no % and no _, and no stored name begins otherwise than with a zone.
    return sa.or_(sa.false(), *(column.like(f"{zone}.%") for zone in sorted(zones)))


def _experiment(column: Any, zones: Zones) -> Criterion:
    return sa.exists().where(_experiments.c.experiment_id == column, _name(_experiments.c.name, zones))


def _through(table: sa.FromClause, key: str) -> Callable[[Any, Zones], Criterion]:
    """By the id of a row that lies in an experiment itself."""

    def criterion(column: Any, zones: Zones) -> Criterion:
        return sa.exists().where(
            table.c[key] == column,
            table.c.experiment_id == _experiments.c.experiment_id,
            _name(_experiments.c.name, zones),
        )

    return criterion


_run = _through(_runs, "run_uuid")
_trace = _through(_traces, "request_id")
_model = _through(_models, "model_id")


def _input_of(table: sa.FromClause, zones: Zones) -> Criterion:
    """Of an input: one of its two ends is a run, the other a data set or model that goes in or comes out."""
    return sa.or_(_run(table.c.source_id, zones), _run(table.c.destination_id, zones))


def _tag_of_input(column: Any, zones: Zones) -> Criterion:
    return sa.exists().where(_inputs.c.input_uuid == column, _input_of(_inputs, zones))


_Anchors = tuple[tuple[str, Callable[[Any, Zones], Criterion]], ...]
_BY_NAME: _Anchors = (("name", _name),)
_BY_EXPERIMENT: _Anchors = (("experiment_id", _experiment),)
_BY_RUN: _Anchors = (("run_uuid", _run),)
_BY_TRACE: _Anchors = (("request_id", _trace),)

ANCHORS: dict[type, _Anchors] = {
    registry.SqlRegisteredModel: _BY_NAME,
    registry.SqlModelVersion: _BY_NAME,
    registry.SqlRegisteredModelTag: _BY_NAME,
    registry.SqlModelVersionTag: _BY_NAME,
    registry.SqlRegisteredModelAlias: _BY_NAME,
    tracking.SqlExperiment: _BY_NAME,
    tracking.SqlExperimentTag: _BY_EXPERIMENT,
    tracking.SqlRun: _BY_EXPERIMENT,
    tracking.SqlDataset: _BY_EXPERIMENT,
    tracking.SqlLoggedModel: _BY_EXPERIMENT,
    tracking.SqlLoggedModelMetric: (("experiment_id", _experiment), ("model_id", _model)),
    tracking.SqlLoggedModelParam: (("experiment_id", _experiment), ("model_id", _model)),
    tracking.SqlLoggedModelTag: (("experiment_id", _experiment), ("model_id", _model)),
    tracking.SqlTraceInfo: _BY_EXPERIMENT,
    tracking.SqlSpan: (("experiment_id", _experiment), ("trace_id", _trace)),
    tracking.SqlTraceMetricDailyRollup: _BY_EXPERIMENT,
    tracking.SqlSpanCostDailyRollup: _BY_EXPERIMENT,
    tracking.SqlAssessmentDailyRollup: _BY_EXPERIMENT,
    tracking.SqlTraceRollupRebuild: _BY_EXPERIMENT,
    tracking.SqlTag: _BY_RUN,
    tracking.SqlParam: _BY_RUN,
    tracking.SqlMetric: _BY_RUN,
    tracking.SqlLatestMetric: _BY_RUN,
    tracking.SqlTraceTag: _BY_TRACE,
    tracking.SqlTraceMetadata: _BY_TRACE,
    tracking.SqlTraceMetrics: _BY_TRACE,
    tracking.SqlSpanMetrics: (("trace_id", _trace),),
    tracking.SqlAssessments: (("trace_id", _trace),),
    # Only traces link to something here (to runs and prompts); data sets for evaluation are closed.
    tracking.SqlEntityAssociation: (("source_id", _trace),),
    tracking.SqlInputTag: (("input_uuid", _tag_of_input),),
    tracking.SqlInput: (),  # two ends, see criterion()
}
"""The columns that tie a row to a zone; a row is seen if every one of them leads to a zone that may be seen."""

CLOSED: frozenset[type] = frozenset(
    {
        registry.SqlWebhook,
        registry.SqlWebhookEvent,
        SqlWorkspace,
        *(
            getattr(tracking, name)
            for name in (
                "SqlEvaluationDataset",
                "SqlEvaluationDatasetTag",
                "SqlEvaluationDatasetRecord",
                "SqlIssue",
                "SqlScorer",
                "SqlScorerVersion",
                "SqlOnlineScoringConfig",
                "SqlLabelSchema",
                "SqlReviewQueue",
                "SqlReviewQueueItem",
                "SqlReviewQueueLabelSchema",
                "SqlReviewQueueUser",
                "SqlJob",
                "SqlJobLock",
                "SqlSchedulerLease",
                "SqlGatewayBudgetPolicy",
                "SqlGatewayEndpoint",
                "SqlGatewayEndpointBinding",
                "SqlGatewayEndpointModelMapping",
                "SqlGatewayEndpointTag",
                "SqlGatewayGuardrail",
                "SqlGatewayGuardrailConfig",
                "SqlGatewayModelDefinition",
                "SqlGatewaySecret",
                "SqlMCPAccessEndpoint",
                "SqlMCPServer",
                "SqlMCPServerAlias",
                "SqlMCPServerTag",
                "SqlMCPServerVersion",
                "SqlMCPServerVersionTag",
            )
        ),
    }
)
"""Tables of features that are not open to anybody: neither read nor written."""

BY_TABLE: dict[sa.FromClause, type] = {cls.__table__: cls for cls in ANCHORS}  # type: ignore[attr-defined]


def criterion(cls: type, zones: Zones, columns: Any) -> Criterion:
    """Which rows of `cls` belong to the zones; `columns` are the class itself or the columns of its table."""
    if cls is tracking.SqlInput:
        return sa.or_(_run(columns.source_id, zones), _run(columns.destination_id, zones))
    return sa.and_(*(anchor(getattr(columns, name), zones) for name, anchor in ANCHORS[cls]))


@lru_cache(maxsize=4096)
def loader_criterion(cls: type, zones: Zones) -> Any:
    """An option that narrows a class in a statement of the ORM, however it is joined or aliased there.

    What a statement loads besides (lazily, in subqueries) comes as a statement of its own, and is narrowed then.
    """
    narrowed = criterion(cls, zones, cls)
    return with_loader_criteria(cls, narrowed, include_aliases=True, propagate_to_loaders=False)


class Found(NamedTuple):
    """Classes whose tables stand in a statement.

    `plain` are those of which plain columns are selected: the ORM does not know them as the class's, nor narrows them.
    `plain_inside` says that a select inside does so: nobody can narrow that.
    """

    mapped: set[type]
    plain: set[type]
    plain_inside: bool


def classes_in(statement: Any) -> Found:
    """The open classes of a statement, and how they stand there."""
    mapped: set[type] = set()
    plain_inside = False
    for element in visitors.iterate(statement):
        if isinstance(element, sa.Table):
            table: Any = element
        elif isinstance(element, sa.Column):
            table = element.table
        else:
            if element is not statement and isinstance(element, sa.Select):
                plain_inside = plain_inside or bool(_plainly_selected(element))
            continue
        if (cls := BY_TABLE.get(table)) is not None:
            mapped.add(cls)
    return Found(mapped, _plainly_selected(statement), plain_inside)


def _plainly_selected(statement: Any) -> set[type]:
    if not isinstance(statement, sa.Select):
        return set()
    found: set[type] = set()
    for selected in (*statement._raw_columns, *statement._from_obj):  # noqa: SLF001  # the public ways build everything
        for element in visitors.iterate(selected):
            is_plain = "parententity" not in element._annotations  # noqa: SLF001
            table = element.table if isinstance(element, sa.Column) else element
            if is_plain and isinstance(element, sa.Column | sa.Table) and table in BY_TABLE:
                found.add(BY_TABLE[table])
    return found


def stranger_among(rows: Collection[Any], zones: Zones, ask: Callable[[Criterion], bool]) -> Any | None:
    """The first of some new rows that does not belong to the zones.

    Parameters
    ----------
    ask
        Evaluates a criterion in the database, where the rows' parents are.
    """
    asked: set[tuple[object, ...]] = set()
    for row in rows:
        cls = type(row)
        values = (row.source_id, row.destination_id) if cls is tracking.SqlInput else ()
        key = (cls, *values, *(getattr(row, name) for name, _ in ANCHORS[cls]))
        if key in asked:
            continue
        asked.add(key)
        if not ask(criterion(cls, zones, _Values(row))):
            return row
    return None


class _Values:
    """A row's own values in the place of its columns."""

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        column = type(self._row).__table__.c[name]
        return sa.literal(getattr(self._row, name), column.type)
