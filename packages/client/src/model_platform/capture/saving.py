"""Saving with the flavour's own `save_model`: skops where it can be, else cloudpickle, never a subprocess."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

from model_platform.capture.distributions import distributions_of
from model_platform.capture.environment import pinned
from model_platform.capture.modules import modules_of
from model_platform.capture.quiet import import_mlflow, quiet
from model_platform.capture.subject import PYFUNC, SKLEARN, Subject
from model_platform.capture.table import Form
from model_platform.capture.travelling import TravellingCode
from model_platform.capture.wrapper import python_model
from model_platform_core.errors import InvalidModelError

# Types that skops does not know by itself and that scikit-learn's own models are made of. Each was read: it holds data,
# and making one from a file runs nothing but its own constructor.
REVIEWED_TYPES = (
    "numpy.dtype",
    "numpy.number",
    "scipy.sparse._csr.csr_matrix",
    "sklearn._loss.link.Interval",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.compose._column_transformer._RemainderColsList",
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.metrics._scorer._PassthroughScorer",
    "sklearn.model_selection._split.KFold",
    "sklearn.model_selection._split.StratifiedKFold",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
)


def needed_distributions(subject: Subject, form: Form | None, code: TravellingCode) -> set[str]:
    """The distributions without which the model does not load or cannot be called."""
    names = distributions_of(modules_of(subject.model) | code.imported)
    names |= {"pandas"} if form in {Form.FRAME, Form.RECORDS} else {"numpy"} if form is Form.ARRAY else set()
    if subject.flavour != SKLEARN:
        # Where the platform is whole, `mlflow` is there as well; the small one is all that loading needs.
        names |= {"mlflow-skinny", "cloudpickle", "pandas"}
    return names


def save(
    subject: Subject,
    folder: Path,
    *,
    form: Form | None,
    signature: Any,
    metadata: dict[str, Any],
    distributions: set[str],
    code: TravellingCode,
) -> set[str]:
    """Save the model below `folder`, which does not exist yet; returns the distributions it needs as saved.

    Raises
    ------
    InvalidModelError
        If the model cannot be saved; the message names the reason.
    """
    options = {"signature": signature, "metadata": metadata}
    import_mlflow(subject.flavour)
    with quiet(), tempfile.TemporaryDirectory(prefix="model-platform-") as temporary, code.by_reference():
        try:
            options["code_paths"] = code.write_modules(Path(temporary), wrapped=subject.flavour == PYFUNC) or None
            if subject.flavour == SKLEARN:
                return _save_sklearn(subject, folder, distributions, options)
            return _save_other(subject, folder, form, distributions, options)
        except InvalidModelError:
            raise
        except Exception as error:
            first = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
            raise InvalidModelError(f"The {subject.kind} cannot be saved: {first}") from error


def _save_sklearn(subject: Subject, folder: Path, names: set[str], options: dict[str, Any]) -> set[str]:
    flavour = importlib.import_module(SKLEARN)
    trusted = _types_to_trust(subject.model) if hasattr(flavour, "SERIALIZATION_FORMAT_SKOPS") else None
    chosen = "cloudpickle" if trusted is None else "skops"
    needs = names | {"scikit-learn", chosen}
    if trusted is not None:
        options |= {"skops_trusted_types": trusted}
    flavour.save_model(
        subject.model,
        str(folder),
        serialization_format=chosen,
        pip_requirements=pinned(needs),
        pyfunc_predict_fn=subject.method,
        **options,
    )
    return needs


def _types_to_trust(model: Any) -> list[str] | None:
    """The reviewed types that loading needs to trust; None if skops cannot hold the model, or needs to trust others."""
    if importlib.util.find_spec("skops") is None:
        return None
    skops: Any = importlib.import_module("skops.io")
    try:
        found = skops.get_untrusted_types(data=skops.dumps(model))
    except Exception:  # noqa: BLE001 - skops refuses what it does not know, in several ways
        return None
    return sorted(found) if set(found) <= set(REVIEWED_TYPES) else None


def _save_other(
    subject: Subject, folder: Path, form: Form | None, names: set[str], options: dict[str, Any]
) -> set[str]:
    flavour = importlib.import_module(subject.flavour)
    options |= {"pip_requirements": pinned(names)}
    if subject.flavour == PYFUNC:
        flavour.save_model(str(folder), python_model=python_model(subject, form or Form.FRAME), **options)
    else:
        flavour.save_model(subject.model, str(folder), **options)
    return names
