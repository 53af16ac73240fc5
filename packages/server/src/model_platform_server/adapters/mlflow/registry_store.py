"""The governed model registry: MLflow's own, with names, rights, the gate and our rows."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.entities.model_registry.prompt_version import IS_PROMPT_TAG_KEY
from mlflow.store.entities.paged_list import PagedList
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModel
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.dbmodels.models import SqlLoggedModel, SqlParam, SqlTag

from model_platform_core.access import SYSTEM, Actor, Scope
from model_platform_core.errors import ForbiddenError, InvalidError, ModelPlatformError, NotFoundError
from model_platform_core.events import EventType, NewEvent
from model_platform_core.lineage import Lineage
from model_platform_core.refs import ModelRef
from model_platform_server.adapters.database import tables
from model_platform_server.adapters.database.events import write_events
from model_platform_server.adapters.mlflow import catalogue, deleted, examination, filters, gate, methods, naming, use
from model_platform_server.adapters.mlflow.context import acting_as
from model_platform_server.adapters.mlflow.evidence import Evidence
from model_platform_server.adapters.mlflow.methods import Arguments, Governed
from model_platform_server.adapters.mlflow.sessions import (
    Access,
    accessing,
    acting,
    governed_engine,
    one_transaction,
    session_maker,
)

METHODS = methods.rules(
    reads="""
        search_registered_models get_registered_model get_latest_versions get_model_version get_model_version_by_alias
        get_model_version_download_uri search_model_versions
    """,
    publishes="""
        create_registered_model update_registered_model create_model_version update_model_version
        set_registered_model_tag delete_registered_model_tag set_model_version_tag delete_model_version_tag
    """,
    manages="""
        rename_registered_model delete_registered_model delete_model_version transition_model_version_stage
        set_registered_model_alias delete_registered_model_alias
    """,
    closed="create_webhook update_webhook delete_webhook get_webhook list_webhooks",
)
"""Every public method that reaches the database itself."""

DERIVED = methods.names(
    """
    copy_model_version create_prompt create_prompt_version delete_prompt delete_prompt_alias delete_prompt_tag
    delete_prompt_version delete_prompt_version_tag get_prompt get_prompt_version get_prompt_version_by_alias
    link_chat_completion_prompt_to_trace link_prompt_version_to_model link_prompt_version_to_run
    link_prompts_to_trace list_webhooks_by_event search_prompt_versions search_prompts set_prompt_alias set_prompt_tag
    set_prompt_version_tag test_webhook update_prompt update_prompt_version
    """
)
"""Public methods that only call those above."""

RESERVED_TAGS = (IS_PROMPT_TAG_KEY, "mp.")
"""Nobody turns a model into a prompt or back, and nobody writes what looks like the platform's word."""

_LOGGED_MODEL = re.compile(r"models:/(m-[0-9a-f]{32})/?")
_VERSION = re.compile(r"models:/([^/@]+)/([0-9]{1,9})/?")
_EMPTY_FOR = dt.timedelta(minutes=10)


class GovernedRegistryStore(Governed, SqlAlchemyStore):  # type: ignore[misc]  # MLflow has no types
    """MLflow's registry store for everybody who comes in. `database_url` is SQLAlchemy's."""

    def __init__(self, database_url: str) -> None:
        with acting_as(SYSTEM), accessing(Access(writes=True)):
            super().__init__(database_url)
        self.ManagedSessionMaker = session_maker(self.engine, self.db_type)

    @classmethod
    def _get_or_create_engine(cls, db_uri: str) -> sa.Engine:
        return governed_engine(db_uri)

    # ------------------------------------------------------------ names and rights

    def _qualify(self, method: str, arguments: Arguments) -> None:
        actor = acting()
        for argument in ("name", "new_name"):
            if arguments.get(argument):
                arguments[argument] = naming.full_model_name(actor, arguments[argument])
        if method == "create_model_version" and (match := _VERSION.fullmatch(arguments.get("source") or "")):
            arguments["source"] = f"models:/{naming.full_model_name(actor, match[1])}/{match[2]}"

    def _check(self, method: str, access: Access, arguments: Arguments) -> None:
        if not access.writes or not arguments.get("name"):
            return
        actor, name = acting(), arguments["name"]
        zone = naming.zone_of(name)
        if method == "create_registered_model":
            actor.require(access.scope, zone)
        else:
            self._explain(access, arguments)
        if method in {"create_registered_model", "rename_registered_model"}:
            self._check_new_name(actor, arguments.get("new_name") or name)
        self._check_tags(method, arguments)
        with self.engine.connect() as connection:
            if method in {"delete_registered_model", "rename_registered_model"}:
                use.check_unused(connection, name)
                use.check_never_used(connection, arguments.get("new_name"))
            elif method == "delete_model_version":
                use.check_unused(connection, name, int(arguments["version"]))

    def _explain(self, access: Access, arguments: Arguments) -> None:
        zone = naming.zone_of(arguments.get("name") or "")
        if acting().may(Scope.MODELS_READ, zone):
            acting().require(access.scope, zone)

    def _check_new_name(self, actor: Actor, name: str) -> None:
        if "/" in name or ":" in name:
            return  # MLflow says what is wrong with it
        zone = naming.zone_of(name)
        actor.require(Scope.MODELS_PUBLISH, zone)
        ModelRef.parse(name)
        with self.engine.connect() as connection:
            gate.find_zone(connection, zone)

    @staticmethod
    def _check_tags(method: str, arguments: Arguments) -> None:
        creating = method in {"create_registered_model", "create_model_version"}
        tag = arguments.get("tag")
        keys = [one.key for one in arguments.get("tags") or ()] + ([tag.key] if tag is not None else [])
        keys += [arguments["key"]] if "key" in arguments else []
        for key in keys:
            allowed = creating and (
                key == IS_PROMPT_TAG_KEY or (method == "create_model_version" and key.startswith(gate.CARD_TAG))
            )
            if str(key).startswith(RESERVED_TAGS) and not allowed:
                raise ForbiddenError(f"The tag {key} is written by the platform only.")

    def _show(self, result: Any) -> Any:
        if isinstance(result, RegisteredModel):
            result._name = self._shown(result.name)  # noqa: SLF001  # MLflow's entities have no setters
            for version in result.latest_versions or ():
                self._show(version)
        elif isinstance(result, ModelVersion):
            result._name = self._shown(result.name)  # noqa: SLF001
            if match := _VERSION.fullmatch(result.source or ""):
                result._source = f"models:/{self._shown(match[1])}/{match[2]}"  # noqa: SLF001
        elif isinstance(result, PagedList | list):
            for one in result:
                self._show(one)
        return result

    @staticmethod
    def _shown(name: str) -> str:
        return naming.shown_name(acting(), name, naming.full_model_name)

    def _get_search_registered_model_filter_query(self, session: Any, parsed_filters: Any, dialect: str) -> Any:
        rest, named = filters.of_names(parsed_filters, SqlRegisteredModel.name, dialect, self._full)
        query = super()._get_search_registered_model_filter_query(session, rest, dialect)
        return query.filter(*named)

    def _get_search_model_versions_filter_clauses(self, parsed_filters: Any, dialect: str) -> Any:
        rest, named = filters.of_names(parsed_filters, SqlModelVersion.name, dialect, self._full)
        return super()._get_search_model_versions_filter_clauses(rest, dialect).filter(*named)

    @staticmethod
    def _full(name: str) -> str:
        return naming.full_model_name(acting(), name)

    # ------------------------------------------------------------ numbers

    def create_registered_model(
        self, name: str, tags: Any = None, description: str | None = None, deployment_job_id: str | None = None
    ) -> RegisteredModel:
        """A new model. Where one of that name was deleted, its versions are counted on from there."""
        with one_transaction(self.engine) as connection:
            made = super().create_registered_model(name, tags, description, deployment_job_id)
            deleted.remember_numbers(connection, name)
            return made

    # ------------------------------------------------------------ the gate

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[Any] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        local_model_path: str | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """A new version, if the gate lets it pass; else the refusal is an event and no empty model stays behind."""
        given = {one.key: one.value for one in tags or ()}
        prompt = str(given.get(IS_PROMPT_TAG_KEY, "false")).lower() == "true"
        if prompt != bool(super().get_registered_model(name)._is_prompt()):  # noqa: SLF001
            kind = "model" if prompt else "prompt"
            raise InvalidError(f"{name} is a {kind}: its versions must be too.")
        write = (name, source, run_id, tags, run_link, description, local_model_path, model_id)
        if prompt:
            return super().create_model_version(*write)
        try:
            evidence = self._examine(name, source, run_id, given)
        except ModelPlatformError as error:
            self.record_refusal(name, source, error)
            raise gate.told_to_client(error, source, self._shown(name)) from None
        with one_transaction(self.engine) as connection, catalogue.registering(evidence):
            rows = SqlRegisteredModel.__table__
            # Versions of a model follow one another: MLflow counts them up, and gives up after three collisions.
            connection.execute(sa.select(rows.c.name).where(rows.c.name == name).with_for_update())
            return super().create_model_version(*write)

    def _examine(self, name: str, source: str, run_id: str | None, tags: dict[str, str]) -> Evidence:
        actor = acting()
        with self.engine.connect() as connection:
            zone = gate.find_zone(connection, naming.zone_of(name))
            known = catalogue.examined() or self._known(connection, actor, source)
        if known is not None:
            found, written = known, known.card.model_dump(exclude_defaults=True) | gate.card_in_tags(tags)
        else:
            found, written = self._look_at(actor, source, run_id, tags)
        card = gate.check(zone, name, written, found, actor)
        return replace(found, card=card)

    @staticmethod
    def _known(connection: sa.Connection, actor: Actor, source: str) -> Evidence | None:
        match = _VERSION.fullmatch(source)
        if match is None:
            return None
        if not actor.may(Scope.MODELS_READ, naming.zone_of(match[1])):
            raise NotFoundError(f"There is no model at {source!r}.")
        return examination.of_version(connection, match[1], int(match[2]))

    def _look_at(
        self, actor: Actor, source: str, run_id: str | None, tags: dict[str, str]
    ) -> tuple[Evidence, dict[str, Any]]:
        with accessing(Access()), self.ManagedSessionMaker() as session:
            model = _LOGGED_MODEL.fullmatch(source)
            logged = session.get(SqlLoggedModel, model[1]) if model else None
            if model and logged is None:
                raise NotFoundError(f"There is no model at {source!r}.")
            location = logged.artifact_location if logged is not None else source
            lineage = _lineage(session, run_id or (logged.source_run_id if logged is not None else None))
        with self.engine.connect() as connection:
            examination.check_location(connection, actor, location)
        return examination.examine(location, tags, lineage, model[1] if model else None)

    def list_webhooks_by_event(self, *_: Any, **__: Any) -> Any:
        """None: webhooks are closed, the platform's events tell more. MLflow's handlers ask after every change."""
        return PagedList([], None)

    def record_refusal(self, name: str, source: str, error: ModelPlatformError) -> None:
        """Write the event, and in the same transaction remove a model that was made for this and never held anything."""
        now = dt.datetime.now(dt.UTC)
        fields = [problem.field for problem in error.fields]
        refused = NewEvent(
            type=EventType.REGISTRATION_REFUSED,
            actor=acting().name,
            zone=naming.zone_of(name),
            subject=name,
            data={"code": error.code, "message": error.message, "fields": fields, "source": source},
        )
        with accessing(Access(Scope.MODELS_PUBLISH, writes=True)), self.ManagedSessionMaker(read_only=False) as session:
            row = session.query(SqlRegisteredModel).filter(SqlRegisteredModel.name == name).one_or_none()
            if row is not None and _never_used(session, row) and _made_for_this(session.connection(), name, now):
                session.delete(row)
                session.flush()
            write_events(session.connection(), [refused], now)

    def sweep_empty_models(self, older_than: dt.timedelta) -> int:
        """Remove models that never held anything: their client died between two calls. How many."""
        before = int((dt.datetime.now(dt.UTC) - older_than).timestamp() * 1000)
        manages = Access(Scope.MODELS_MANAGE, writes=True)
        with accessing(manages), self.ManagedSessionMaker(read_only=False) as session:
            has_version = sa.exists().where(SqlModelVersion.name == SqlRegisteredModel.name)
            old = session.query(SqlRegisteredModel).filter(SqlRegisteredModel.creation_time < before, ~has_version)
            empty = [row for row in old if _never_used(session, row)]
            for row in empty:
                session.delete(row)
            return len(empty)


def _never_used(session: Any, row: Any) -> bool:
    """Whether a model holds nothing that somebody put there on purpose."""
    if row.description or row.registered_model_tags or row.registered_model_aliases:
        return False
    return session.query(SqlModelVersion.version).filter(SqlModelVersion.name == row.name).first() is None


def _made_for_this(connection: sa.Connection, name: str, now: dt.datetime) -> bool:
    where = [tables.models.c[column] == value for column, value in naming.split(name).items()]
    made = connection.execute(sa.select(tables.models.c.created_by, tables.models.c.created_at).where(*where)).first()
    return made is not None and made.created_by == acting().name and now - made.created_at < _EMPTY_FOR


def _lineage(session: Any, run_id: str | None) -> Lineage:
    """What a run tells of where a model came from, if it may be seen."""
    if not run_id:
        return Lineage()
    tags = {row.key: row.value for row in session.query(SqlTag).filter(SqlTag.run_uuid == run_id)}
    parameters = {row.key: row.value for row in session.query(SqlParam).filter(SqlParam.run_uuid == run_id)}
    is_notebook = tags.get("mlflow.source.type") == "NOTEBOOK"
    return Lineage(
        notebook=tags.get("mlflow.source.name") if is_notebook else None,
        git_commit=tags.get("mlflow.source.git.commit"),
        git_repository=tags.get("mlflow.source.git.repoURL"),
        parameters=parameters,
    )


methods.govern(GovernedRegistryStore, SqlAlchemyStore, METHODS)
