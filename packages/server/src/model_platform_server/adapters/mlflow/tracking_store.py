"""The governed tracking store: experiments belong to zones, and everything in them follows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import sqlalchemy as sa
import sqlparse
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels import models as rows
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS
from mlflow.utils.search_utils import SearchExperimentsUtils
from sqlparse.sql import Comparison

from model_platform_core.access import SYSTEM, Actor, Scope
from model_platform_core.errors import ForbiddenError, InvalidNameError, NotFoundError
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.mlflow import filters, gate, methods, naming, visibility
from model_platform_server.adapters.mlflow.context import acting_as
from model_platform_server.adapters.mlflow.environment import LOCATION
from model_platform_server.adapters.mlflow.methods import Arguments, Governed
from model_platform_server.adapters.mlflow.sessions import Access, accessing, acting, governed_engine, session_maker

METHODS = methods.rules(
    reads="""
        get_experiment get_experiment_by_name search_experiments filter_active_experiment_ids get_run search_runs
        get_metric_history get_metric_history_bulk get_metric_history_bulk_interval
        get_metric_history_bulk_interval_from_steps get_max_step_for_metric get_logged_model search_logged_models
        get_trace get_trace_info batch_get_traces batch_get_trace_infos search_traces find_completed_sessions
        query_trace_metrics calculate_trace_filter_correlation get_assessment search_entities_by_source
        search_entities_by_destination
    """,
    publishes="""
        create_experiment rename_experiment delete_experiment restore_experiment set_experiment_tag
        delete_experiment_tag create_run update_run_info delete_run restore_run log_metric log_param log_batch
        log_inputs log_outputs record_logged_model set_tag delete_tag create_logged_model finalize_logged_model
        delete_logged_model log_logged_model_params set_logged_model_tags delete_logged_model_tag start_trace log_spans
        set_trace_tag delete_trace_tag delete_traces deprecated_start_trace_v2 deprecated_end_trace_v2
        create_assessment update_assessment delete_assessment link_traces_to_run unlink_traces_from_run
        link_prompts_to_trace
    """,
    manages="",
    closed="""
        add_dataset_to_experiments remove_dataset_from_experiments create_dataset get_dataset delete_dataset
        search_datasets delete_dataset_tag set_dataset_tags upsert_dataset_records delete_dataset_records
        get_dataset_experiment_ids create_issue get_issue update_issue search_issues register_scorer list_scorers
        list_scorers_across_experiments get_scorer delete_scorer list_scorer_versions get_online_scoring_configs
        upsert_online_scoring_config get_active_online_scorers resolve_endpoint_in_scorer create_label_schema
        get_label_schema get_label_schema_by_name list_label_schemas update_label_schema delete_label_schema
        create_review_queue get_or_create_user_queue get_review_queue get_review_queue_by_name list_review_queues
        update_review_queue delete_review_queue add_items_to_review_queue remove_items_from_review_queue
        list_review_queue_items set_review_queue_item_status archive_traces
        create_gateway_endpoint get_gateway_endpoint update_gateway_endpoint delete_gateway_endpoint
        list_gateway_endpoints set_gateway_endpoint_tag delete_gateway_endpoint_tag create_gateway_secret
        get_secret_info list_secret_infos update_gateway_secret delete_gateway_secret create_gateway_model_definition
        get_gateway_model_definition list_gateway_model_definitions update_gateway_model_definition
        delete_gateway_model_definition attach_model_to_endpoint detach_model_from_endpoint create_endpoint_binding
        delete_endpoint_binding list_endpoint_bindings create_gateway_guardrail get_gateway_guardrail
        delete_gateway_guardrail list_gateway_guardrails add_guardrail_to_endpoint remove_guardrail_from_endpoint
        update_endpoint_guardrail_config list_endpoint_guardrail_configs create_budget_policy get_budget_policy
        update_budget_policy delete_budget_policy list_budget_policies sum_gateway_trace_cost
        create_mcp_server get_mcp_server update_mcp_server delete_mcp_server search_mcp_servers
        create_mcp_server_version get_mcp_server_version get_latest_mcp_server_version get_mcp_server_version_by_alias
        update_mcp_server_version delete_mcp_server_version search_mcp_server_versions get_mcp_server_versions_for_trace
        link_mcp_server_versions_to_trace set_mcp_server_tag delete_mcp_server_tag set_mcp_server_version_tag
        delete_mcp_server_version_tag set_mcp_server_alias delete_mcp_server_alias create_mcp_access_endpoint
        get_mcp_access_endpoint update_mcp_access_endpoint delete_mcp_access_endpoint search_mcp_access_endpoints
    """,
)
"""Every public method that reaches the database itself."""

DERIVED = methods.names(
    """
    log_batch_async log_metric_async log_param_async set_tag_async log_spans_async end_async_logging
    flush_async_logging shut_down_async_logging set_model_versions_tags sanitize_metric_value
    resolve_trace_archival_config get_online_trace_details
    """
)
"""Public methods that only call those above, or nothing at all."""

_ONE_EXPERIMENT = ("experiment_id", "location")
_EXPERIMENTS = ("experiment_ids", "locations")
_named: ContextVar[list[Any]] = ContextVar("mlflow_experiment_names", default=[])  # noqa: B039  # never changed in place


class GovernedTrackingStore(Governed, SqlAlchemyStore):  # type: ignore[misc]  # MLflow has no types
    """MLflow's tracking store for everybody who comes in. `database_url` is SQLAlchemy's."""

    def __init__(self, database_url: str, artifact_uri: str | None = None) -> None:
        with acting_as(SYSTEM), accessing(Access(writes=True)):
            super().__init__(database_url, artifact_uri or LOCATION)
        self.ManagedSessionMaker = session_maker(self.engine, self.db_type)

    @classmethod
    def _get_or_create_engine(cls, db_uri: str) -> sa.Engine:
        return governed_engine(db_uri)

    # ------------------------------------------------------------ names and experiment 0

    def _qualify(self, method: str, arguments: Arguments) -> None:
        actor = acting()
        if actor is SYSTEM:
            return  # the platform itself means what it says, experiment 0 too
        for argument in ("experiment_name", "new_name", *(["name"] if method == "create_experiment" else [])):
            if arguments.get(argument):
                arguments[argument] = self._names.full(actor, arguments[argument])
        if arguments.get("experiment_name") == f"{actor.home_zone}.{naming.DEFAULT_EXPERIMENT}":
            self._experiment(actor, None)
        for argument in _ONE_EXPERIMENT:
            if argument in arguments:
                arguments[argument] = self._experiment(actor, arguments[argument])
        for argument in _EXPERIMENTS:
            if arguments.get(argument):
                arguments[argument] = [self._experiment(actor, one) for one in arguments[argument]]
        if method == "start_trace" and (place := arguments["trace_info"].trace_location.mlflow_experiment):
            place.experiment_id = self._experiment(actor, place.experiment_id)

    @property
    def _names(self) -> naming.ExperimentNames:
        return naming.ExperimentNames(self._zone_exists)

    def _zone_exists(self, zone: str) -> bool:
        with self.engine.connect() as connection:
            return connection.scalar(sa.select(tables.zones.c.name).where(tables.zones.c.name == zone)) is not None

    def _experiment(self, actor: Actor, given: object) -> str:
        """The id of an experiment; 0, or none, is the default of the actor's home zone, made on first use."""
        if str(given or "0") != "0":
            return str(given)
        if actor.home_zone is None:
            raise InvalidNameError(
                f"{actor.name} has no home zone, so there is no default experiment; set one as zone.name, with "
                "mlflow.set_experiment."
            )
        return self.default_experiment(actor.home_zone) or "0"

    def default_experiment(self, zone: str) -> str | None:
        """The id of a zone's default experiment; made if the actor may, else None."""
        name = f"{zone}.{naming.DEFAULT_EXPERIMENT}"
        found = self.experiment_id(name)
        if found or not acting().may(Scope.MODELS_PUBLISH, zone) or not self._zone_exists(zone):
            return found
        try:
            with accessing(Access(Scope.MODELS_PUBLISH, writes=True)):
                return str(super().create_experiment(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self.experiment_id(name)  # somebody was faster

    def experiment_id(self, full_name: str) -> str | None:
        """The id of an experiment by its full name, whoever asks."""
        experiments = rows.SqlExperiment.__table__.c
        with self.engine.connect() as connection:
            found = connection.scalar(sa.select(experiments.experiment_id).where(experiments.name == full_name))
        return None if found is None else str(found)

    def _show(self, result: Any) -> Any:
        if isinstance(result, Experiment):
            result._name = naming.shown_name(acting(), result.name, self._names.full)  # noqa: SLF001
        elif isinstance(result, list):
            for one in result:
                self._show(one)
        return result

    def _search_experiments(
        self, view_type: Any, max_results: int, filter_string: str | None, order_by: Any, page_token: Any
    ) -> Any:
        token = _named.set([])
        try:
            with self._without_names(filter_string) as rest:
                return super()._search_experiments(view_type, max_results, rest, order_by, page_token)
        finally:
            _named.reset(token)

    @contextmanager
    def _without_names(self, filter_string: str | None) -> Iterator[str | None]:
        """The filter without its comparisons with names; those go into the query's own conditions."""
        parsed = SearchExperimentsUtils.parse_search_filter(filter_string)
        actor, dialect = acting(), self.engine.dialect.name
        _, named = filters.of_names(
            parsed, rows.SqlExperiment.name, dialect, lambda name: self._names.full(actor, name)
        )
        if not named:
            yield filter_string
            return
        texts = [str(token) for token in sqlparse.parse(filter_string or "")[0].tokens if isinstance(token, Comparison)]
        kept = [text for text, one in zip(texts, parsed, strict=True) if (one["type"], one["key"]) != _NAME]
        token = _named.set(named)
        try:
            yield " AND ".join(kept)
        finally:
            _named.reset(token)

    def _experiment_where_clauses(self) -> list[Any]:
        return [*super()._experiment_where_clauses(), *_named.get()]

    # ------------------------------------------------------------ rights

    def _check(self, method: str, access: Access, arguments: Arguments) -> None:
        actor = acting()
        if actor is SYSTEM or method not in {"create_experiment", "rename_experiment"}:
            return
        if arguments.get("artifact_location"):
            raise ForbiddenError(
                "Experiments keep their files in the platform's artifact store; leave artifact_location out."
            )
        name = arguments.get("new_name") or arguments.get("name") or ""
        if not name:
            return  # MLflow says what is wrong with it
        zone = naming.zone_of(name)
        actor.require(access.scope, zone)
        with self.engine.connect() as connection:
            gate.find_zone(connection, zone)

    def _explain(self, access: Access, arguments: Arguments) -> None:
        zone = self._zone_of_subject(arguments)
        if zone is not None and acting().may(Scope.MODELS_READ, zone):
            acting().require(access.scope, zone)

    def _zone_of_subject(self, arguments: Arguments) -> str | None:
        experiments = rows.SqlExperiment.__table__
        for argument, table, key in _SUBJECTS:
            value = arguments.get(argument)
            if not isinstance(value, str) or (table is experiments and not value.isdigit()):
                continue
            query = sa.select(experiments.c.name).where(table.c[key] == (int(value) if table is experiments else value))
            if table is not experiments:
                query = query.where(table.c.experiment_id == experiments.c.experiment_id)
            with self.engine.connect() as connection:
                return naming.zone_of(connection.scalar(query) or "")
        return None

    def set_logged_model_tags(self, model_id: str, tags: Sequence[Any]) -> None:
        """As MLflow; the list of a model's versions is left alone where a model of another zone was registered.

        MLflow's client writes that list after registering, and would end with an error. The registry knows it anyway.
        """
        if {tag.key for tag in tags} <= {MLFLOW_MODEL_VERSIONS}:
            zone = self._zone_of_subject({"model_id": model_id}) or ""
            if acting().may(Scope.MODELS_READ, zone) and not acting().may(Scope.MODELS_PUBLISH, zone):
                return
        super().set_logged_model_tags(model_id, tags)

    def start_trace(self, trace_info: Any) -> Any:
        """As MLflow, for a trace that is new or may be written."""
        self._check_traces({trace_info.trace_id})
        return super().start_trace(trace_info)

    def log_spans(self, location: str, spans: Sequence[Any], tracking_uri: str | None = None) -> Any:
        """As MLflow, for an experiment and traces that may be written: spans are written in bulk, past the flush."""
        self._get_writable_experiment(location)
        self._check_traces({span.trace_id for span in spans})
        return super().log_spans(location, spans, tracking_uri)

    def _get_writable_experiment(self, experiment_id: str) -> None:
        with self.ManagedSessionMaker() as session:
            if session.get(rows.SqlExperiment, int(experiment_id) if experiment_id.isdigit() else -1) is None:
                raise NotFoundError(f"No Experiment with id={experiment_id} exists")

    def _check_traces(self, trace_ids: Collection[str]) -> None:
        """Ids of traces come from clients: one that exists elsewhere is nobody's to write to."""
        zones = acting().zones(Scope.MODELS_PUBLISH)
        if zones is None:
            return
        table = rows.SqlTraceInfo.__table__
        strange = sa.not_(visibility.criterion(rows.SqlTraceInfo, zones, table.c))
        with self.engine.connect() as connection:
            query = sa.select(table.c.request_id).where(table.c.request_id.in_(list(trace_ids)), strange)
            if connection.execute(query).first() is not None:
                raise NotFoundError("There is no such trace.")


_NAME = ("attribute", "name")
_SUBJECTS = (
    ("run_id", rows.SqlRun.__table__, "run_uuid"),
    ("model_id", rows.SqlLoggedModel.__table__, "model_id"),
    ("trace_id", rows.SqlTraceInfo.__table__, "request_id"),
    ("request_id", rows.SqlTraceInfo.__table__, "request_id"),
    ("experiment_id", rows.SqlExperiment.__table__, "experiment_id"),
    ("location", rows.SqlExperiment.__table__, "experiment_id"),
)

methods.govern(GovernedTrackingStore, SqlAlchemyStore, METHODS)
