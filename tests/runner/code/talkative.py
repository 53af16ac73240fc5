"""A model that repeats what it is given, in every way there is."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from pathlib import Path

import mlflow.pyfunc


class Talkative(mlflow.pyfunc.PythonModel):
    """Says aloud, in every way there is, what it was given; then does what the text asks for."""

    def predict(self, context, model_input, params=None):  # noqa: ANN001, ANN201 - MLflow would make a signature of types
        text = str(model_input["text"].iloc[0])
        print("print", text)
        print("error", text, file=sys.stderr)
        sys.__stdout__.write(f"original {text}\n")
        sys.__stdout__.flush()
        os.write(1, f"descriptor {text}\n".encode())
        os.write(2, f"descriptor {text}\n".encode())
        warnings.warn(f"warning {text}", stacklevel=1)
        logging.getLogger("talkative").error("log %s", text)
        if text.startswith("raise"):
            raise RuntimeError(f"failed at {text}")
        if text.startswith("exit"):
            sys.exit(f"left at {text}")
        if text.startswith("stop"):
            raise StopIteration(text)
        if text.startswith("read"):
            return Path(f"customers/{text}/profile.json").read_text()
        if text.startswith("open"):
            return Path(f"customers/{text}.json").read_text()
        if text.startswith("whole"):
            return (Path("customers") / "all" / "profile.json").read_text()
        if text.startswith("plugin"):
            return importlib.import_module(f"plugins_{text}")
        if text.startswith("within"):
            return importlib.import_module(f"xml.{text}")
        if text.startswith("import"):
            import absent.part  # type: ignore[import-not-found]  # noqa: F401
        if text.startswith("object"):
            return [object() for _ in range(len(model_input))]
        if text.startswith("dtypes"):
            return model_input.dtypes.astype(str).to_dict() | {"params": params or {}}
        return model_input
