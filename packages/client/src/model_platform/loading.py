"""A version back in a notebook: its files, verified, in a cache; then loaded with its own flavour."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import platformdirs
import yaml

from model_platform.capture.quiet import import_mlflow, quiet
from model_platform.client import Client
from model_platform.config import state_directory
from model_platform.display.progress import Progress
from model_platform_core.errors import ImportFailedError
from model_platform_core.models import FileEntry, ModelVersion

_BLOCK_BYTES = 1 << 20


def load(client: Client, text: str) -> Any:
    """The object that was published.

    Raises
    ------
    IntegrityFailedError
        If the bytes are not those that were published.
    ImportFailedError
        Names the module that this kernel lacks.
    """
    version = client.version(client.version_ref(text))
    folder = _folder(version)
    with Progress(f"{version.name} version {version.version}: loading") as progress:
        with progress.step("files"):
            for file in version.files:
                if not _is_verified(folder / file.path, file):
                    client.download(version, file, folder / file.path)
        with progress.step("model"):
            return _load(folder, version)


def _folder(version: ModelVersion) -> Path:
    """Where the cache keeps a version: by the digest of its bytes."""
    base = state_directory() / "cache" if os.environ.get("MP_HOME") else platformdirs.user_cache_path("model-platform")
    return base / "versions" / version.artifact_sha256.removeprefix("sha256:")


def _is_verified(path: Path, file: FileEntry) -> bool:
    if not path.is_file() or path.stat().st_size != file.size:
        return False
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while block := content.read(_BLOCK_BYTES):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}" == file.sha256


def _load(folder: Path, version: ModelVersion) -> Any:
    flavours = yaml.safe_load((folder / "MLmodel").read_text(encoding="utf-8"))["flavors"]
    own = next((name for name in flavours if name != "python_function"), None)
    module = import_mlflow(f"mlflow.{own}" if own else "mlflow.pyfunc")
    path = list(sys.path)
    try:
        with quiet():
            loaded = module.load_model(str(folder))
            return loaded if own else _unwrapped(loaded)
    except ImportError as error:
        missing = error.name or str(error)
        raise ImportFailedError(
            f"{version.name} version {version.version} needs {missing}, which this kernel does not have.",
            hint=f"%pip install {missing.partition('.')[0]}",
        ) from None
    finally:
        sys.path[:] = path  # MLflow puts the version's code in front, for good; the notebook's own modules come first


def _unwrapped(loaded: Any) -> Any:
    """The object inside of a Python model of ours; a Python model of somebody else as it is."""
    inner = loaded.unwrap_python_model() if hasattr(loaded, "unwrap_python_model") else loaded
    return inner.model if type(inner).__name__ == "PublishedModel" else loaded
