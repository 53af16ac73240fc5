"""What there is in the MLflow that is installed, as JSON: for the tests that say what an upgrade brings."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

from model_platform_server.adapters.mlflow import environment

environment.configure(sys.argv[1], Path(sys.argv[2]))

from fastapi.routing import APIRoute  # noqa: E402
from mlflow import server  # noqa: E402
from mlflow.server import constants, handlers  # noqa: E402
from mlflow.server.artifact_router import artifact_router  # noqa: E402
from mlflow.server.assistant.api import assistant_router  # noqa: E402
from mlflow.server.gateway_api import gateway_router  # noqa: E402
from mlflow.server.job_api import job_api_router  # noqa: E402
from mlflow.server.mcp_server_api import get_mcp_server_api_route_prefixes, mcp_server_router  # noqa: E402
from mlflow.server.otel_api import otel_router  # noqa: E402
from mlflow.server.server_info_api import server_info_router  # noqa: E402
from mlflow.store.db.base_sql_model import Base  # noqa: E402
from mlflow.store.model_registry import sqlalchemy_store as registry_store  # noqa: E402
from mlflow.store.tracking import sqlalchemy_store  # noqa: E402

from model_platform_server.adapters.mlflow import startup, visibility  # noqa: E402

PREFIXES = {id(mcp_server_router): get_mcp_server_api_route_prefixes()}
ROUTERS = (
    artifact_router,
    assistant_router,
    gateway_router,
    job_api_router,
    mcp_server_router,
    otel_router,
    server_info_router,
)


def routes() -> list[str]:
    """Every path of MLflow's applications."""
    found = {str(rule) for rule in server.app.url_map.iter_rules()}
    for router in ROUTERS:
        for prefix in PREFIXES.get(id(router), [""]):
            found |= {prefix + route.path for route in router.routes if isinstance(route, APIRoute)}
    return sorted(found)


def joined() -> list[str]:
    """Where open tables are loaded inside another one's statement: those are not seen there, and not narrowed."""
    found = [
        f"{cls.__name__}.{relationship.key}"
        for cls in visibility.ANCHORS
        for relationship in cls.__mapper__.relationships  # type: ignore[attr-defined]
        if relationship.lazy in {"joined", False}
    ]
    for store in (sqlalchemy_store, registry_store):
        found += re.findall(r"(?:joinedload|contains_eager)\([^)]*\)", Path(str(store.__file__)).read_text())
    return found


def main() -> None:
    classes = {mapper.class_ for mapper in Base.registry.mappers}
    print(
        json.dumps(
            {
                "routes": routes(),
                "included": len([route for route in startup.application.routes if hasattr(route, "path")]),
                "methods": sorted(startup.unclassified()),
                "classes": sorted(cls.__name__ for cls in classes - set(visibility.ANCHORS) - visibility.CLOSED),
                "gone": sorted(cls.__name__ for cls in (set(visibility.ANCHORS) | visibility.CLOSED) - classes),
                "joined": joined(),
                "constants": {
                    environment.TRACKING_STORE: constants.BACKEND_STORE_URI_ENV_VAR,
                    environment.REGISTRY_STORE: constants.REGISTRY_STORE_URI_ENV_VAR,
                    environment.ARTIFACT_ROOT: constants.ARTIFACT_ROOT_ENV_VAR,
                    environment.SERVE_ARTIFACTS: constants.SERVE_ARTIFACTS_ENV_VAR,
                    environment.ARTIFACT_DESTINATION: constants.ARTIFACTS_DESTINATION_ENV_VAR,
                    "_MLFLOW_STATIC_PREFIX": handlers.STATIC_PREFIX_ENV_VAR,
                },
                "tracking_uri": os.environ.get("MLFLOW_TRACKING_URI"),
            }
        )
    )


if __name__ == "__main__":
    main()
