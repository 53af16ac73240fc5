"""The models that are published, as cells of a notebook, and what is saved of them for the peers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PREPARE = """
import json, warnings
from pathlib import Path
warnings.simplefilter("ignore")
%load_ext model_platform
"""

_IRIS = """
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
X, y = load_iris(return_X_y=True, as_frame=True)
model = LogisticRegression(max_iter=1000).fit(X, y)
"""

_PYFUNC = (
    _IRIS
    + """
import mlflow.pyfunc
class Scorer(mlflow.pyfunc.PythonModel):
    def __init__(self, inner):
        self.inner = inner
    def predict(self, context, model_input, params=None):
        return self.inner.predict(model_input)
model = Scorer(model)
"""
)

QUICKSTART = """
from palmerpenguins import load_penguins
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

penguins = load_penguins()
X = penguins[["island", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex"]]
X_train, X_test, y_train, y_test = train_test_split(X, penguins["species"], random_state=0)


def pipeline(classifier):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    categories = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")),
        (categories, make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(columns, classifier)


model = pipeline(LogisticRegression(C=0.01)).fit(X_train, y_train)
"""

_FOREST = """
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
X, y = load_breast_cancer(return_X_y=True, as_frame=True)
model = RandomForestClassifier(100, random_state=0).fit(X, y)
"""

_BOOSTING = """
import lightgbm
from sklearn.datasets import load_breast_cancer
X, y = load_breast_cancer(return_X_y=True, as_frame=True)
model = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, lightgbm.Dataset(X, y), 100)
"""

_JOBLIB = "import joblib; joblib.dump(model, f'{folder}/model.joblib')\n"
_MLFLOW = """
import mlflow.sklearn
from mlflow.models import infer_signature
mlflow.sklearn.save_model(
    model, f"{folder}/mlflow", signature=infer_signature(X, model.predict(X)), pip_requirements=["scikit-learn"],
    serialization_format="cloudpickle",
)
"""
_SAVE_PYFUNC = """
mlflow.pyfunc.save_model(f"{folder}/mlflow", python_model=model, pip_requirements=["scikit-learn"])
"""
_SAVE_BOOSTER = "model.save_model(f'{folder}/model.txt')\n"


@dataclass(frozen=True)
class Sample:
    """A model to be published.

    Parameters
    ----------
    name
        Of the model and of its endpoint.
    fit
        The cell that makes `model` and its rows `X`.
    save
        The cell that writes into `folder` what the peers load.
    """

    name: str
    fit: str
    save: str

    def publish(self, folder: Path) -> str:
        """A cell that fits the model, saves it for the peers, publishes it, and prints a row as JSON."""
        return f"""{self.fit}
folder = {str(folder)!r}
{self.save}
%mp_publish model --name {self.name} --data X --example X[:20]
print("ROW", X[5:6].to_json(orient="records"))
"""


SAMPLES = {
    one.name: one
    for one in (
        Sample("regression", _IRIS, _JOBLIB + _MLFLOW),
        Sample("penguins", QUICKSTART, _JOBLIB + _MLFLOW),
        Sample("pyfunc", _PYFUNC, _SAVE_PYFUNC),
        Sample("forest", _FOREST, _JOBLIB),
        Sample("boosting", _BOOSTING, _SAVE_BOOSTER),
    )
}
