"""Packages that models are made of, and what of them a pickle may call while it is loaded.

Elsewhere an object is only made empty and then given its state, which is how Python pickles plain classes. Constructors
run what they like: `psutil.Popen` starts a program, `pandas.ExcelWriter` empties a file.
"""

from __future__ import annotations

import re

from model_platform_server.adapters.scanning.machine import Name

PACKAGES = frozenset(
    {
        *("numpy", "scipy", "pandas", "polars", "pyarrow", "xarray", "dateutil", "pytz", "tzlocal", "holidays"),
        *(
            "sklearn",
            "imblearn",
            "skops",
            "joblib",
            "skorch",
            "mlxtend",
            "sklego",
            "sklearn_pandas",
            "sklearn_crfsuite",
        ),
        *("category_encoders", "feature_engine", "optbinning", "interpret", "mapie", "umap", "hdbscan", "pynndescent"),
        *("xgboost", "lightgbm", "catboost", "ngboost", "pygam", "gplearn", "pyod", "river", "surprise", "implicit"),
        *(
            "statsmodels",
            "patsy",
            "formulaic",
            "linearmodels",
            "arch",
            "lifelines",
            "sksurv",
            "hmmlearn",
            "pomegranate",
        ),
        *("pmdarima", "prophet", "sktime", "skforecast", "darts", "statsforecast", "mlforecast", "tslearn", "tbats"),
        *("econml", "causalml", "dowhy", "shap", "pymc", "arviz", "networkx", "shapely", "geopandas", "pyproj"),
        *("torch", "torchvision", "keras", "jax", "jaxlib", "flax", "optax", "tensorflow", "onnx", "onnxruntime"),
        *("spacy", "thinc", "nltk", "gensim", "tokenizers", "transformers", "sentence_transformers"),
        *("cvxpy", "pulp", "pyomo", "ortools", "simpy", "sympy", "skimage"),
    }
)
"""By the name under which they are imported."""

_REBUILDERS = re.compile(
    r"_*(pyx_|py_|c_|np_)*(re)?(build|construct|unpickle|restore|make|new|from|load_from_state)(_|s?$|\w*ctor|buffer|pickle)"
    r"|_\w*(unpickle|reconstruct)\w*|__pyx_unpickle_\w+|__\w+_ctor|_reconstruct|_frombuffer|_rebuild\w*|_unpickle\w*|_new_\w+|_restore_\w+"
)
_BY_CYTHON = re.compile(r"__pyx_unpickle_\w+")
_FUNCTIONS = frozenset(
    {
        *(
            "sklearn.neighbors._ball_tree.newObj",
            "sklearn.neighbors._kd_tree.newObj",
            "sklearn.metrics._dist_metrics.newObj",
        ),
        "mlflow.pyfunc.utils.data_validation.FuncInfo",
        *("pyarrow.lib.field", "pyarrow.lib.schema"),
        *("numpy.dtype", "numpy.ndarray", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar"),
        *("pyarrow.lib.type_for_alias", "pyarrow.lib.py_buffer", "pandas._libs.tslibs.offsets._offset_from_str"),
        *("scipy.interpolate._bsplines.make_interp_spline", "scipy.stats._distn_infrastructure.rv_frozen"),
    }
)
CLASS = re.compile(
    r"_*[A-Z]\w*|[sdcz][A-Z]\w*|[a-z]+_(array|matrix)|float\d+|u?int\d+|bool_|str_|complex\d+|datetime64|timedelta64"
)

_NEVER_NAMED = frozenset(
    {
        *("Popen", "PopenSpawn", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run_command"),
        *("system", "popen", "spawn", "exec_command", "run_path", "run_module", "runstring", "runsource", "runcode"),
        *("import_module", "__import__", "import_item", "exec", "eval", "execfile", "open", "CDLL", "load_library"),
        *("rmtree", "remove", "unlink", "DataSource", "open_memmap", "getattr", "setattr"),
    }
)
"""What many packages pass on under its own name: it starts programs, imports, opens or removes files."""

_NEVER_CALLED = re.compile(
    r"memmap|\w*(File|Writer|Reader|Store|Session|Process|Server|Client|Connection|Pool|Executor|Library|Loader"
    r"|Downloader|Dataset|Repository|Database|Source|Path|Cache|Memory|Logger|Handler|Tracker|Runner|Command|Extension"
    r"|Thread|Shell|Magics|Module|Script|Engine|Open|Excel\w*|HDF\w*)"
)
_NOT_OF_MODELS = frozenset(
    {
        *("io", "_io", "testing", "tests", "distutils", "f2py", "externals", "datasets", "cpp_extension", "hub"),
        *("multiprocessing", "subprocess", "process", "_datasource", "npyio", "_npyio_impl", "ctypeslib", "utils_io"),
    }
)
"""Parts of modules' names: they belong to these packages, and models are not made of what is in them."""


def may_be_named(name: Name) -> bool:
    """Whether an object that is no part of Python may be referred to: a class, its method, or a function."""
    parts = name.name.split(".")
    return not _NEVER_NAMED & set(parts) and (len(parts) == 1 or CLASS.fullmatch(parts[0]) is not None)


def may_be_called(name: Name, modules: frozenset[str], *, by_class: bool, empty: bool) -> bool:
    """Whether it is known to put objects together and to do nothing else.

    Parameters
    ----------
    modules
        The modules that come along as code to read.
    by_class
        It is no call: a class makes an object, whose constructor does not run; what is no class fails.
    empty
        There are no arguments.
    """
    if _NEVER_CALLED.fullmatch(name.name.rpartition(".")[2]):
        return by_class and empty
    put_together = by_class or bool(
        CLASS.fullmatch(name.name) or str(name) in _FUNCTIONS or _REBUILDERS.fullmatch(name.name)
    )
    top, *below = name.module.split(".")
    if top in PACKAGES:
        return put_together and not _NOT_OF_MODELS & set(below)
    if str(name) in _FUNCTIONS or _BY_CYTHON.fullmatch(name.name):
        return True
    return put_together and (name.module in modules or (by_class and empty))
