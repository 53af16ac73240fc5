"""What the start of the server takes: its first answer waits for nothing that only later ones need."""

from __future__ import annotations

import json
import subprocess
import sys

_LOADED = """
import json, sys
import model_platform_server.serving
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
LATER = {
    "mlflow",
    "alembic",
    "jwt",
    "flask",
    "numpy",
    "pandas",
    "pyarrow",
    "sklearn",
    "scipy",
    "fickling",
    "picklescan",
}


def test_what_serves_imports_neither_mlflow_nor_what_only_later_requests_need() -> None:
    told = subprocess.run([sys.executable, "-c", _LOADED], check=True, capture_output=True, text=True)
    assert LATER.isdisjoint(json.loads(told.stdout))


def test_stopping_a_server_imports_no_server() -> None:
    probe = "import sys, model_platform_server.__main__; assert 'fastapi' not in sys.modules"
    subprocess.run([sys.executable, "-c", probe], check=True)
