"""Bare Starlette with orjson: the least that one writes by hand. Runs in the peers' environment.

`starlette_server.py MODEL.joblib PORT`
"""

import sys

import joblib  # type: ignore[import-untyped,unused-ignore]
import numpy as np
import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

model = joblib.load(sys.argv[1])
if hasattr(model, "feature_names_in_"):
    del model.feature_names_in_  # else it warns at each call that an array has no names


async def predict(request: Request) -> Response:
    """Answer KServe's V1 protocol."""
    rows = np.array(orjson.loads(await request.body())["instances"])
    answers = {"predictions": model.predict(rows)}
    return Response(orjson.dumps(answers, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


if __name__ == "__main__":
    application = Starlette(routes=[Route("/v1/models/model:predict", predict, methods=["POST"])])
    uvicorn.run(application, host="127.0.0.1", port=int(sys.argv[2]), access_log=False, log_level="warning")
