"""KServe's Python server with one model, as upstream's sklearnserver, lgbserver and custom models are written.

Runs in the peers' environment. Takes KServe's own options too; `--without-logs` tunes it: no line per request, and none
for each call of a model that was fitted on names. `--unix-socket` lets it listen where a gateway reaches our runners.
"""

import argparse
import logging
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import kserve  # type: ignore[import-not-found,unused-ignore]
from kserve.protocol.rest import server as rest  # type: ignore[import-not-found,unused-ignore]
from kserve.utils.utils import get_predict_input, get_predict_response  # type: ignore[import-not-found,unused-ignore]


class JoblibModel(kserve.Model):  # type: ignore[misc,unused-ignore]
    """What was dumped by joblib, called with `predict`."""

    def __init__(self, name: str, path: Path) -> None:
        super().__init__(name)
        self._path = path

    def load(self) -> bool:
        """Load the file."""
        import joblib  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

        self._model = joblib.load(self._path)
        self.ready = True
        return True

    def predict(self, payload: Any, _headers: Any = None, _response_headers: Any = None) -> Any:
        """Answer one request."""
        rows = get_predict_input(payload)
        return get_predict_response(payload, self._model.predict(rows), self.name)


class BoosterModel(JoblibModel):
    """LightGBM's own file."""

    def load(self) -> bool:
        """Load the file, with one thread as all that is compared has."""
        import lightgbm  # type: ignore[import-untyped,unused-ignore]  # noqa: PLC0415

        self._model = lightgbm.Booster(params={"nthread": 1}, model_file=str(self._path))
        self.ready = True
        return True


class PyfuncModel(JoblibModel):
    """A folder of MLflow's, by its general interface."""

    def load(self) -> bool:
        """Load the folder."""
        import mlflow.pyfunc  # noqa: PLC0415

        self._model = mlflow.pyfunc.load_model(str(self._path))
        self.ready = True
        return True


KINDS = {"joblib": JoblibModel, "booster": BoosterModel, "pyfunc": PyfuncModel}

parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
parser.add_argument("--kind", choices=sorted(KINDS), required=True)
parser.add_argument("--path", type=Path, required=True)
parser.add_argument("--without-logs", action="store_true")
parser.add_argument("--unix-socket", type=Path)

if __name__ == "__main__":
    options = parser.parse_args()
    if options.configure_logging:
        kserve.logging.configure_logging(options.log_config_file)
    model = KINDS[options.kind](options.model_name, options.path)
    model.load()
    if options.unix_socket:
        rest.uvicorn.Config = partial(rest.uvicorn.Config, uds=str(options.unix_socket))
    server = kserve.ModelServer()
    if options.without_logs:
        warnings.simplefilter("ignore")
        for name in ("uvicorn.access", "kserve.trace"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).setLevel(logging.WARNING)
    server.start([model])
