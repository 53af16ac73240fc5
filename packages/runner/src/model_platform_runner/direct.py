"""A pyfunc's own code, called without what MLflow does around it at every call.

Around each call MLflow looks at signatures of functions, keeps a context for its traces (which are off here) and checks
rows (which are checked already). Where all of that comes to nothing, the code below it is called.
"""

import inspect
from collections.abc import Callable
from typing import Any

Direct = Callable[[Any], Any]


def direct_call(model: Any) -> Direct:
    """Return what a loaded pyfunc without signature calls in the end, for calls without parameters.

    Parameters
    ----------
    model
        MLflow's ``PyFuncModel``, with its signature taken away.
    """
    call = getattr(model, "_predict_fn", None)
    if type(model).__qualname__ != "PyFuncModel" or not callable(call) or _from_type_hints(model):
        unchanged: Direct = model.predict
        return unchanged
    inner = getattr(call, "__self__", None)
    if type(inner).__qualname__ == "_PythonModelPyfuncWrapper" and type(inner).__module__ == "mlflow.pyfunc.model":
        return _of_python_model(inner)
    return _calling(call)


def _from_type_hints(model: Any) -> bool:
    """Whether MLflow converts rows by the types that the model's code names."""
    metadata = model.metadata
    asked = [getattr(metadata, name, None) for name in ("_is_signature_from_type_hint", "_is_type_hint_from_example")]
    return any(each is None or each() for each in asked)


def _of_python_model(wrapper: Any) -> Direct:
    python_model = wrapper.python_model
    hints = getattr(python_model, "predict_type_hints", None)
    if getattr(hints, "input", hints) is not None:
        return _calling(wrapper.predict)
    names = list(inspect.signature(python_model.predict).parameters)
    more = {"params": None} if "params" in names else {}
    if "context" in names or len(set(names) - {"params"}) == 2:  # whatever it calls its context
        return lambda rows: python_model.predict(wrapper.context, rows, **more)
    return lambda rows: python_model.predict(rows, **more)


def _calling(call: Callable[..., Any]) -> Direct:
    params = inspect.signature(call).parameters.get("params")
    if params is not None and params.kind is not inspect.Parameter.VAR_KEYWORD:
        return lambda rows: call(rows, params=None)
    return call
