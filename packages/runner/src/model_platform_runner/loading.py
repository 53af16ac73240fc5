"""Loading a model: scikit-learn's own file directly, everything else through the MLflow of the model's environment."""

import importlib
import os
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_platform_runner.answers import Names
from model_platform_runner.boosters import FLAVORS, load_booster
from model_platform_runner.compiled import Declined
from model_platform_runner.contracts import input_contract
from model_platform_runner.description import Description
from model_platform_runner.direct import direct_call
from model_platform_runner.errors import StartError
from model_platform_runner.inputs import AnyRows, Field, MlflowColumns, NamedColumns, UnnamedColumn
from model_platform_runner.paths import quickest
from model_platform_runner.predictor import Predictor, prepare_for

_PATHS = ("pickled_model", "data", "model_path", "python_model", "model_code_path", "code")
_UNPICKLED = (None, "pickle", "cloudpickle")
_PROBABILITIES = ("predict_proba", "predict_log_proba", "decision_function")


def load(description: Description, row_limit: int, *, apart: bool = False) -> Predictor:
    """Load a model and whatever code came with it.

    Parameters
    ----------
    description
        What MLmodel says.
    row_limit
        Rows of a call.
    apart
        Memory is shared with a fork server: quick ways are proven in a process of its own.

    Raises
    ------
    StartError
        ``failed_import`` names the module that the environment lacks; ``failed_start`` the type of what was raised.
    """
    sys.dont_write_bytecode = True  # a model directory holds what was published, to the last file
    try:
        _check_paths(description.flavors)
        if "sklearn" in description.flavors:
            return _load_sklearn(description, row_limit, apart=apart)
        if not any(name in description.flavors for name in FLAVORS):
            return _load_pyfunc(description, row_limit)
        try:
            return load_booster(description, row_limit, _read_model)
        except Declined as declined:
            return replace(_load_pyfunc(description, row_limit), note=str(declined))
    except StartError:
        raise
    except BaseException as error:
        raise start_error(error) from error


def start_error(error: BaseException) -> StartError:
    """Put into one sentence why a model did not load: the module that is missing, or the type of the error."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            return StartError("failed_import", f"The model's environment has no module named {cause.name}.")
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, ImportError):
        where = f" from {error.name}" if error.name else ""
        return StartError("failed_import", f"The model's environment cannot import something{where} (ImportError).")
    return StartError("failed_start", f"The model could not be loaded: {type(error).__name__}.")


def _load_sklearn(description: Description, row_limit: int, *, apart: bool) -> Predictor:
    flavor = description.flavors["sklearn"]
    _add_code(description.directory, flavor.get("code"))
    model = _read_model(description.directory / flavor["pickled_model"], flavor)
    method = description.published.answers or description.flavors.get("python_function", {}).get("predict_fn")
    method = method or "predict"
    call = getattr(model, method, None)
    if not callable(call):
        raise StartError("failed_start", f'The model has no method "{method}".')
    _one_thread(model)
    rows = description.published.rows
    contract = input_contract(description.inputs, row_limit, rows)
    if isinstance(contract, AnyRows) and hasattr(model, "feature_names_in_"):
        fields = [Field(str(name), {"type": "any"}, required=True) for name in model.feature_names_in_]
        contract = NamedColumns(fields, row_limit)
        contract.joinable = False  # their dtypes are found from the values that come together
    fitted_on_array = hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_")
    path, prepare = prepare_for(contract, rows=rows, matrices=fitted_on_array)
    own = Predictor(
        flavor="sklearn",
        method=method,
        contract=contract,
        path=path,
        prepare=prepare,
        call=lambda data, _params: call(data),
        output_names=_output_names(description, model, method),
        as_outputs=_as_outputs(description),
        on_loop=True,
    )
    return quickest(own, model, description, apart=apart)


def _load_pyfunc(description: Description, row_limit: int) -> Predictor:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    if backend := description.flavors.get("keras", {}).get("keras_backend"):
        os.environ["KERAS_BACKEND"] = str(backend)  # Keras takes TensorFlow unless it is told, before it is imported
    pyfunc: Any = importlib.import_module("mlflow.pyfunc")
    _stop_tracing()
    model = pyfunc.load_model(str(description.directory))
    rows = description.published.rows
    contract = input_contract(description.inputs, row_limit, rows)
    quick = model.predict
    if rows:
        model.metadata.signature = None  # MLflow would force its own dtypes upon what is restored here
        quick = direct_call(model)
    elif isinstance(contract, NamedColumns):
        contract = MlflowColumns(contract.fields, row_limit)
    lists = isinstance(contract, UnnamedColumn) and description.from_type_hint
    path, prepare = prepare_for(contract, rows=rows, lists=lists, for_mlflow=True)
    params = {each["name"]: each for each in description.params or ()}

    def call(data: Any, given: dict[str, Any] | None) -> Any:
        return model.predict(data, params=given) if given else quick(data)

    return Predictor(
        flavor="pyfunc",
        method="predict",
        contract=contract,
        path=path,
        prepare=prepare,
        call=call,
        output_names=_published_names(description),
        as_outputs=_as_outputs(description),
        params=params,
    )


def _check_paths(flavors: dict[str, dict[str, Any]]) -> None:
    """Nothing, if every file that MLmodel names lies among those that were published."""
    for name, flavor in flavors.items():
        for key in _PATHS:
            path = (flavor or {}).get(key)
            if path is not None and not (isinstance(path, str) and _stays_inside(Path(path))):
                raise StartError("failed_start", f"{key} of {name} in MLmodel leads out of the model's folder.")


def _stays_inside(path: Path) -> bool:
    return not path.is_absolute() and ".." not in path.parts


def _read_model(file: Path, flavor: dict[str, Any]) -> Any:
    """The object in a file, read as MLmodel says; the gate has looked at it in just this way before it was registered."""
    how = flavor.get("serialization_format")
    if how == "skops":
        trusted = flavor.get("skops_trusted_types") or []
        if not isinstance(trusted, list) or not all(isinstance(name, str) for name in trusted):
            raise StartError("failed_start", "skops_trusted_types in MLmodel is no list of names.")
        skops: Any = importlib.import_module("skops.io")
        return skops.load(file, trusted=trusted)
    if how not in _UNPICKLED:
        raise StartError("failed_start", "serialization_format in MLmodel is none of skops, pickle, cloudpickle.")
    with file.open("rb") as stream:
        return pickle.load(stream)  # noqa: S301 - what cloudpickle wrote too; the gate decides who may publish pickles


def _one_thread(model: Any) -> None:
    """Let no part of a model start threads of its own: runners are scaled by processes."""
    if not hasattr(model, "get_params"):
        return
    jobs = {name: 1 for name, value in model.get_params().items() if name.endswith("n_jobs") and value not in (None, 1)}
    if jobs:
        model.set_params(**jobs)


def _add_code(directory: Path, code: str | None) -> None:
    if code:
        sys.path.insert(0, str(directory / code))


def _stop_tracing() -> None:
    """Keep MLflow from recording what goes into models and comes out of them."""
    mlflow: Any = importlib.import_module("mlflow")
    if hasattr(mlflow, "tracing"):
        mlflow.tracing.disable()


def _output_names(description: Description, model: Any, method: str) -> Names:
    published = _published_names(description)
    if published or description.published.rows or method not in _PROBABILITIES:
        return published
    classes = getattr(model, "classes_", None)
    return None if isinstance(classes, list) else _names(classes)  # of several outputs, each has classes of its own


def _published_names(description: Description) -> Names:
    published = description.published
    if published.answer_kind == "outputs":
        classes = published.classes or ()
        return [list(each) for each in classes if isinstance(each, list)] or None
    return _names(published.classes or published.output_names)


def _as_outputs(description: Description) -> bool | None:
    kind = description.published.answer_kind
    return None if kind is None else kind == "outputs"


def _names(values: Any) -> Sequence[str] | None:
    return None if values is None else [str(value) for value in values]
