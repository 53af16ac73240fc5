"""Saving with the flavour's own `save_model`: skops where it can be, else cloudpickle, never a subprocess."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import inspect
import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from model_platform.capture.distributions import distributions_of
from model_platform.capture.environment import not_required_by, pinned
from model_platform.capture.modules import modules_of
from model_platform.capture.quiet import import_mlflow, quiet
from model_platform.capture.subject import PYFUNC, SKLEARN, Subject, is_python_model, loses_categories
from model_platform.capture.table import Form
from model_platform.capture.travelling import TravellingCode
from model_platform.capture.wrapper import python_model
from model_platform_core.errors import InvalidModelError
from model_platform_core.reviewed_types import REVIEWED_TYPES

KERAS = "mlflow.keras"
LIGHTGBM = "mlflow.lightgbm"


def needed_distributions(subject: Subject, form: Form | None, imported: Set[str]) -> set[str]:
    """The distributions without which the model does not load or cannot be called.

    Parameters
    ----------
    imported
        Modules that its code imports, as that was read, or as it was seen while it answered.
    """
    names = distributions_of(modules_of(subject.model))
    # A caller's records become a DataFrame, also where nobody said what the rows are like.
    names |= {"numpy"} if form in {Form.ARRAY, Form.ARRAYS} else set() if form is Form.LIST else {"pandas"}
    if subject.flavour == KERAS:
        names |= {"keras", *distributions_of({importlib.import_module("keras").backend.backend()})}
    if subject.flavour in _RUN_BY:
        names |= _RUN_BY[subject.flavour]
    if subject.flavour != SKLEARN:
        # Where the platform is whole, `mlflow` is there as well; the small one is all that loading needs.
        names |= {"mlflow-skinny", "cloudpickle", "pandas"}
    return names | not_required_by(names, distributions_of(imported))


def save(
    subject: Subject,
    folder: Path,
    *,
    form: Form | None,
    signature: Any,
    metadata: dict[str, Any],
    distributions: set[str],
    code: TravellingCode,
    may_be_personal: bool,
) -> set[str]:
    """Save the model below `folder`, which does not exist yet; returns the distributions it needs as saved.

    Parameters
    ----------
    may_be_personal
        Whether what it learnt from may be about people: then its storage names what it holds of that.

    Raises
    ------
    InvalidModelError
        If the model cannot be saved; the message names the reason.
    """
    options = {"signature": signature, "metadata": metadata}
    import_mlflow(subject.flavour)
    with quiet(), tempfile.TemporaryDirectory(prefix="model-platform-") as temporary, code.by_reference():
        try:
            wrapped = subject.flavour == PYFUNC and not is_python_model(subject.model)
            options["code_paths"] = code.write_modules(Path(temporary), wrapped=wrapped) or None
            if subject.flavour == SKLEARN:
                return _save_sklearn(subject, folder, distributions, options)
            return _save_other(subject, folder, form, distributions, options, may_be_personal=may_be_personal)
        except InvalidModelError:
            raise
        except Exception as error:
            first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise InvalidModelError(f"The {subject.kind} cannot be saved: {first}") from error


def _save_sklearn(subject: Subject, folder: Path, names: set[str], options: dict[str, Any]) -> set[str]:
    flavour = importlib.import_module(SKLEARN)
    chosen = _skops_or_not(subject.model, known=hasattr(flavour, "SERIALIZATION_FORMAT_SKOPS"))
    needs = names | {"scikit-learn", chosen.storage.format}
    flavour.save_model(
        subject.model,
        str(folder),
        pip_requirements=pinned(needs),
        pyfunc_predict_fn=subject.method,
        **_noted(options, chosen.storage),
        **chosen.options,
    )
    return needs


def _save_other(
    subject: Subject,
    folder: Path,
    form: Form | None,
    names: set[str],
    options: dict[str, Any],
    *,
    may_be_personal: bool,
) -> set[str]:
    flavour = importlib.import_module(subject.flavour)
    takes = inspect.signature(flavour.save_model).parameters
    if subject.flavour == PYFUNC:
        flavour.save_model(
            str(folder),
            python_model=subject.model if is_python_model(subject.model) else python_model(subject, form or Form.FRAME),
            pip_requirements=pinned(names),
            **_noted(options, _of_object(subject)),
        )
        return names
    stored = STORED[subject.flavour]
    if may_be_personal and stored.holds:
        stored = dataclasses.replace(stored, because=f"{stored.because}; it holds {stored.holds}")
    chosen = _Chosen(stored)
    if subject.flavour == LIGHTGBM and type(subject.model).__name__ != "Booster":
        chosen = _skops_or_not(subject.model, known="skops_trusted_types" in takes)
        names = names | {chosen.storage.format}
    given = options | {"pip_requirements": pinned(names)} | chosen.options
    if given.get("code_paths") and "code_paths" not in takes:
        raise InvalidModelError(
            f"The {subject.kind} needs code of your own, which {subject.flavour} does not keep.",
            hint="publish a function or an object with predict around it",
        )
    given = {name: value for name, value in given.items() if name in takes}
    flavour.save_model(subject.model, str(folder), **_noted(given, chosen.storage))
    return names


# ---------------------------------------------------------------- which format, and why


@dataclass(frozen=True)
class Storage:
    """How a version is stored, why so, and what tier 2 would need: None where it may go there as it is.

    `holds` is what it keeps of the data that the model learnt from, beyond what it learnt.
    """

    format: str
    because: str
    tier_2: str | None = None
    holds: str | None = None


@dataclass(frozen=True)
class _Chosen:
    storage: Storage
    options: dict[str, Any] = field(default_factory=dict)


_OWN_FILE = "the library's own file; loading it runs nothing"
STORED: Mapping[str, Storage] = {
    "mlflow.xgboost": Storage("ubj", _OWN_FILE),
    LIGHTGBM: Storage("text", _OWN_FILE),
    "mlflow.catboost": Storage("cbm", _OWN_FILE),
    "mlflow.onnx": Storage("onnx", "a graph of operations; loading it runs nothing"),
    KERAS: Storage("keras", _OWN_FILE),
    "mlflow.statsmodels": Storage(
        "pickle",
        "statsmodels knows no other",
        "its coefficients in a file, and a few lines of code that read and apply them; or ONNX",
        "the whole table that it was fitted on, also columns that it does not use",
    ),
    "mlflow.pytorch": Storage("pickle", "MLflow keeps PyTorch modules so", "the network exported to ONNX"),
}
"""By flavour."""

_RUN_BY: Mapping[str, set[str]] = {"mlflow.onnx": {"onnx", "onnxruntime"}, "mlflow.pytorch": {"torch"}}
"""What a flavour needs beside what the model itself is made of."""

_SKOPS = Storage("skops", "it holds data, and loading it runs nothing but reviewed constructors")
_SHOWN_TYPES = 3


def _skops_or_not(model: Any, *, known: bool) -> _Chosen:
    """Skops if it can hold the model with the reviewed types alone, else cloudpickle and the reason.

    Parameters
    ----------
    known
        Whether this version of MLflow knows skops.
    """
    if not known or importlib.util.find_spec("skops") is None:
        lacking = "skops is not installed here" if known else "this version of MLflow does not know skops"
        add = "skops" if known else "mlflow-skinny>=3.5 and skops"
        return _pickled(lacking, f"{add} beside the model: %pip install {add}")
    skops: Any = importlib.import_module("skops.io")
    try:
        found = set(skops.get_untrusted_types(data=skops.dumps(model)))
    except Exception as error:  # noqa: BLE001 - skops refuses what it does not know, in several ways
        return _pickled(f"skops cannot hold it ({type(error).__name__})", "a model of parts that skops holds, or ONNX")
    if strangers := sorted(found - REVIEWED_TYPES):
        names = ", ".join(strangers[:_SHOWN_TYPES]) + (" …" if len(strangers) > _SHOWN_TYPES else "")
        return _pickled(f"nobody has reviewed {names} for skops", f"the model without {names}, or ONNX")
    return _Chosen(_SKOPS, {"serialization_format": "skops", "skops_trusted_types": sorted(found)})


def _pickled(because: str, tier_2: str) -> _Chosen:
    return _Chosen(Storage("cloudpickle", because, tier_2), {"serialization_format": "cloudpickle"})


def _of_object(subject: Subject) -> Storage:
    if loses_categories(subject.model):
        because = "MLflow gives a Booster its rows without the categories"
        return Storage("cloudpickle", because, "an XGBClassifier or XGBRegressor")
    because = f"no library has a file of its own for a {subject.kind}"
    return Storage("cloudpickle", because, "its parts in a safe file (skops, ONNX), and code as .py that reads them")


def _noted(options: dict[str, Any], storage: Storage) -> dict[str, Any]:
    """The options with the storage in the metadata, where the card finds it."""
    metadata = options["metadata"]
    ours = metadata["model_platform"] | {"storage": dataclasses.asdict(storage)}
    return options | {"metadata": metadata | {"model_platform": ours}}
