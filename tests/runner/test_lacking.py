"""A variable that a model lacks is told whoever reads it: the model's code may leave that to a library."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

READS = "import os\n\n\ndef key():\n    return os.environ['API_KEY']\n"
PROGRAM = """
import json, sys
from pathlib import Path
from model_platform_runner.lacking import Lacking
told = []
lacking = Lacking(Path(sys.argv[1]), json.loads(sys.argv[3]), told.append)
lacking.watch()
sys.path.append(sys.argv[2])
import clientlib
try:
    clientlib.key()
except Exception as error:
    lacking.note(error)
print(json.dumps(told))
"""


@pytest.mark.parametrize("installed", ["clientlib.py", "clientlib/__init__.py"])
@pytest.mark.parametrize(
    ("recorded", "travels", "told"),
    [
        (["API_KEY"], False, True),  # the notebook's code names it, and it was set there
        ([], True, True),  # the package is the user's own: it travels with the version
        ([], False, False),  # nobody knows that the model is about it
    ],
)
def test_a_variable_that_an_installed_package_reads(
    tmp_path: Path, installed: str, recorded: list[str], travels: bool, told: bool
) -> None:
    site, version = tmp_path / "lib" / "site-packages", tmp_path / "version"
    (site / installed).parent.mkdir(parents=True)
    (site / installed).write_text(READS)
    (version / "model_platform" / "wheels").mkdir(parents=True)
    if travels:
        with zipfile.ZipFile(version / "model_platform" / "wheels" / "client_lib-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(installed, READS)
            wheel.writestr("client_lib-1.0.dist-info/METADATA", "Name: client-lib")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, version, site, json.dumps({"environment": recorded})],
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    said = ["The model reads API_KEY, which the endpoint doesn't have."]
    assert json.loads(done.stdout) == (said if told else [])
