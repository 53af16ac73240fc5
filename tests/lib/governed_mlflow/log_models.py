"""A data scientist's script: log_model without a card, with one, and repaired by tags. `… NAME CARD`."""

from __future__ import annotations

import json
import logging
import sys

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from sklearn.linear_model import LogisticRegression


def main(name: str, card: dict[str, object]) -> None:
    logging.getLogger("mlflow").setLevel(logging.CRITICAL)
    model = LogisticRegression().fit(np.array([[0.0], [1.0]]), [0, 1])
    requirements = ["scikit-learn"]
    found: dict[str, object] = {}
    try:
        mlflow.sklearn.log_model(model, name="m", registered_model_name=name, pip_requirements=requirements)
    except MlflowException as error:
        found["refused"] = {"code": error.error_code, "text": str(error)}
    found["left"] = [one.name for one in mlflow.MlflowClient().search_registered_models(f"name = '{name}'")]
    info = mlflow.sklearn.log_model(
        model, name="m", registered_model_name=name, pip_requirements=requirements, metadata={"card": card}
    )
    found["registered"] = info.registered_model_version
    bare = mlflow.sklearn.log_model(model, name="m", pip_requirements=requirements)
    tags = {f"mp.card.{field}": value if isinstance(value, str) else json.dumps(value) for field, value in card.items()}
    found["repaired"] = str(mlflow.register_model(bare.model_uri, name, tags=tags).version)
    found["predicted"] = mlflow.sklearn.load_model(f"models:/{name}/2").predict([[0.0], [9.0]]).tolist()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
