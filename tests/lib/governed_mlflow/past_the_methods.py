"""Tries to write and read past the governed methods, inside the server's process. Prints what came of each try.

`… DATABASE_URL FOLDER`: the database has the zones `ana` and `ben`.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_platform_core.access import ROLES, Actor, Scope
from model_platform_server.adapters.mlflow import environment
from model_platform_server.adapters.mlflow.context import acting_as

warnings.simplefilter("ignore")
environment.configure(sys.argv[1], Path(sys.argv[2]))

import sqlalchemy as sa  # noqa: E402
from mlflow import MlflowClient  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.store.model_registry.dbmodels.models import SqlRegisteredModel, SqlRegisteredModelTag  # noqa: E402
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as RegistryParent  # noqa: E402
from mlflow.store.tracking.dbmodels.models import SqlExperiment, SqlRun, SqlTag, SqlTraceInfo  # noqa: E402
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as TrackingParent  # noqa: E402
from sqlalchemy.orm import aliased  # noqa: E402

from model_platform_server.adapters.mlflow import startup  # noqa: E402
from model_platform_server.adapters.mlflow.sessions import Access, accessing  # noqa: E402

ANA = Actor(name="ana", home_zone="ana", grants={"ana": ROLES["developer"]})
BEN = Actor(name="ben", home_zone="ben", grants={"ben": ROLES["developer"]})
PUBLISHES = Access(Scope.MODELS_PUBLISH, writes=True)
RESULTS: dict[str, Any] = {}


def attempt(name: str, act: Callable[[], Any]) -> Any:
    try:
        result = act()
    except MlflowException as error:
        result = f"{error.error_code}: {error.message}"
    RESULTS[name] = result if isinstance(result, str | int | list) or result is None else type(result).__name__
    return result


def main() -> None:
    stores = startup.start(sys.argv[1])
    registry, tracking = stores.registry, stores.tracking
    with acting_as(BEN):
        theirs = tracking.create_run("0", "", 1, [], "theirs").info
        registry.create_registered_model("hidden")
    attempt("nobody reads", registry.search_registered_models)
    attempt("nobody writes", lambda: tracking.create_experiment("x"))
    with acting_as(ANA):
        own = tracking.create_run("0", "", 1, [], "own").info
        attempt("parent's method", lambda: RegistryParent.create_registered_model(registry, "ana.past"))
        attempt("parent's method of tracking", lambda: TrackingParent.set_tag(tracking, own.run_id, _Tag()))
        attempt("parent's read", lambda: [m.name for m in RegistryParent.search_registered_models(registry)])
        attempt("closed", lambda: tracking.create_gateway_secret("a", {"k": "v"}))
        attempt("in-process client", lambda: MlflowClient().create_registered_model("mine").name)
        attempt("in-process client reads", lambda: [m.name for m in MlflowClient().search_registered_models()])

        def in_session(act: Callable[[Any], Any], access: Access | None = None) -> Any:
            with accessing(access or Access()), registry.ManagedSessionMaker(read_only=False) as session:
                return act(session)

        def add(row: Any) -> Callable[[Any], None]:
            return lambda session: session.add(row) or session.flush()

        attempt("unit of work", lambda: in_session(add(SqlRegisteredModel(name="ana.past"))))
        attempt("unit of work elsewhere", lambda: in_session(add(SqlRegisteredModel(name="ben.past")), PUBLISHES))
        attempt("row elsewhere", lambda: in_session(add(SqlTag(run_uuid=theirs.run_id, key="k", value="v")), PUBLISHES))
        experiment = int(theirs.experiment_id)
        trace = SqlTraceInfo(request_id="tr-1", experiment_id=experiment, timestamp_ms=1, status="OK")
        attempt("trace elsewhere", lambda: in_session(add(trace), PUBLISHES))
        rows = [{"workspace": "default", "name": "ana.mine", "key": "k", "value": "v"}]
        attempt("bulk", lambda: in_session(lambda session: session.bulk_insert_mappings(SqlRegisteredModelTag, rows)))
        table = SqlRegisteredModel.__table__
        attempt("core", lambda: in_session(lambda session: session.execute(sa.insert(table).values(name="ana.past"))))
        attempt("bulk update", lambda: in_session(lambda session: session.query(SqlRun).update({"name": "x"})))
        attempt(
            "bulk update with permit",
            lambda: in_session(lambda session: session.query(SqlRun).update({"name": "x"}), PUBLISHES),
        )
        attempt(
            "bulk delete with permit",
            lambda: in_session(
                lambda session: session.query(SqlExperiment).filter_by(experiment_id=experiment).delete(), PUBLISHES
            ),
        )
        plain = (SqlRun.__table__.c.run_uuid, SqlExperiment.__table__.c.name)
        attempt("plain columns", lambda: in_session(lambda session: [str(row[0]) for row in session.query(plain[0])]))
        attempt(
            "plain select", lambda: in_session(lambda session: [row[0] for row in session.execute(sa.select(plain[1]))])
        )
        counted = sa.select(sa.func.count(plain[0]))
        attempt("plain count", lambda: in_session(lambda session: session.execute(counted).scalar_one()))
        nested = sa.select(sa.select(plain[0].label("id")).subquery().c.id)
        attempt("nested", lambda: in_session(lambda session: [str(row[0]) for row in session.execute(nested)]))
        union = sa.union_all(sa.select(plain[0]), sa.select(plain[0]))
        attempt("union", lambda: in_session(lambda session: [str(row[0]) for row in session.execute(union)]))
        mapped = sa.select(SqlRun.run_uuid)
        both = sa.union_all(mapped, mapped)
        attempt("mapped union", lambda: in_session(lambda session: [str(row[0]) for row in session.execute(both)]))
        inside = sa.select(both.subquery().c.run_uuid)
        attempt(
            "mapped union inside", lambda: in_session(lambda session: [str(row[0]) for row in session.execute(inside)])
        )
        other = aliased(SqlRun)
        attempt("alias", lambda: in_session(lambda session: [row.run_uuid for row in session.query(other)]))
        by_tag = sa.select(SqlExperiment.name).join(SqlRun, SqlRun.experiment_id == SqlExperiment.experiment_id)
        attempt("join", lambda: in_session(lambda session: [row[0] for row in session.execute(by_tag)]))
        outer = sa.select(SqlTag.value).outerjoin(SqlRun, SqlRun.run_uuid == SqlTag.run_uuid)
        attempt("outer join", lambda: in_session(lambda session: sorted({row[0] for row in session.execute(outer)})))
        exists = sa.select(sa.literal(1)).where(sa.exists().where(SqlRun.run_uuid == theirs.run_id))
        attempt("exists", lambda: in_session(lambda session: [row[0] for row in session.execute(exists)]))
        related = attempt("lazy", lambda: in_session(lambda session: session.get(SqlRun, own.run_id).experiment.name))
        assert related == "ana.Default"
        attempt("get", lambda: in_session(lambda session: session.get(SqlRun, theirs.run_id)))
        RESULTS["own"] = own.run_id
    RESULTS["environment"] = sorted({"MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"} & set(os.environ))
    with acting_as(BEN):
        RESULTS["theirs"] = tracking.get_run(theirs.run_id).info.run_name
    print(json.dumps(RESULTS))


class _Tag:
    key, value = "k", "v"


if __name__ == "__main__":
    main()
