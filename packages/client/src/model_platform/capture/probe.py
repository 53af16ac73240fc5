"""``python -P probe.py FOLDER``: load a saved model as MLflow does, let it answer its sample, and print what it imported.

Runs in a process of its own, beside the notebook, and imports nothing of ours.
"""

import contextlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path) -> None:
    """Print the modules that were not there before, as JSON, as the last line."""
    out, sys.stdout = sys.stdout, sys.stderr  # the model may print
    for name in ("numpy", "pandas", "mlflow.pyfunc", "mlflow.models", "mlflow.pyfunc.model"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    with contextlib.suppress(ImportError):
        importlib.import_module("pandas").DataFrame([{"text": "a", "number": 1.0}])  # loads more of pandas' own
    before = set(sys.modules)
    with contextlib.suppress(Exception):  # what was imported until then counts
        _use(folder)
    print(json.dumps(sorted(set(sys.modules) - before)), file=out)


def _use(folder: Path) -> None:
    mlflow: Any = importlib.import_module("mlflow.pyfunc")
    model = mlflow.load_model(str(folder))
    sample = json.loads((folder / "model_platform" / "parity.json").read_bytes())
    model.predict(importlib.import_module("pandas").DataFrame(sample["records"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
