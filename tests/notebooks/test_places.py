"""The same two lines wherever Python runs: a headless kernel, VS Code's, plain IPython, a script."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import nbformat

from support.private import run

PROGRAMS = Path(sys.executable).parent
CARD = "application/vnd.model-platform.card.v1+json"
FIT = """\
import pandas
from sklearn.linear_model import LogisticRegression
X = pandas.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "visits": [1, 0, 3, 2]})
model = LogisticRegression().fit(X, ["stays", "leaves", "stays", "leaves"])"""
MAGICS = ["%load_ext model_platform", "%mp_publish model --name NAME --data X --example X", "%mp_deploy NAME"]
PREDICT = "%mp_predict NAME X[:2]"


def executed(cells: list[str], folder: Path, environment: dict[str, str]) -> list[Any]:
    """The outputs of the cells, as `jupyter execute` has written them into the file."""
    path = folder / "churn.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, path)
    done = run([PROGRAMS / "jupyter", "execute", "--inplace", path.name], environment, folder)
    assert done.returncode == 0, done.stderr
    return [cell.outputs for cell in nbformat.read(path, as_version=4).cells]


def lines(name: str, *more: str) -> list[str]:
    return [line.replace("NAME", name) for line in (*MAGICS, *more)]


def lineage(outputs: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = outputs[-1].data[CARD]["data"]["lineage"]
    return found


def test_a_kernel_without_a_name_says_which_cells_made_the_model(tmp_path: Path, environment: dict[str, str]) -> None:
    load, publish, deploy = lines("headless")
    outputs = executed([FIT, load, publish, deploy, PREDICT.replace("NAME", "headless")], tmp_path, environment)
    found = lineage(outputs[2])
    assert found["executed_cells"] == 3
    assert found["notebook"]
    assert found["notebook_sha256"] == sha256("\0".join([FIT, load, publish]).encode())
    assert "headless  live" in outputs[3][-1].data["text/plain"]
    assert outputs[4][-1].data["text/plain"] == "array(['stays', 'leaves'], dtype=object)"


def test_the_gate_takes_a_kernel_without_a_name(tmp_path: Path, environment: dict[str, str]) -> None:
    """Tier 1 asks where the code is; the cells are an answer."""
    load, publish, _ = lines("headless-tier")
    said = '--tier 1 --purpose "Whom to call" --for-whom CRM --limitations "Adults, and only in the north" --licence MIT --metrics scores'
    outputs = executed([FIT + '\nscores = {"accuracy": 1.0}', load, f"{publish} {said}"], tmp_path, environment)
    assert "tier      1 (low) · card complete" in outputs[2][-1].data["text/plain"]


def test_in_vs_code_the_file_is_known(tmp_path: Path, environment: dict[str, str]) -> None:
    opened = tmp_path / "opened.ipynb"
    opened.write_text("{}")
    # VS Code starts its kernels without a session's name, and sets this variable in them.
    load, publish, _ = lines("code")
    outputs = executed([f"__vsc_ipynb_file__ = {str(opened)!r}", FIT, load, publish], tmp_path, environment)
    found = lineage(outputs[3])
    assert (found["notebook"], found["notebook_sha256"]) == ("opened.ipynb", sha256(b"{}"))
    assert "code      opened.ipynb, 4 cells as run" in outputs[3][-1].data["text/plain"]


def test_plain_ipython(tmp_path: Path, environment: dict[str, str]) -> None:
    typed = "\n".join([*FIT.splitlines(), *lines("terminal", PREDICT), "%mp_publish modle --name terminal", "exit", ""])
    command = [PROGRAMS / "ipython", "--simple-prompt", "--no-banner", "--colors=NoColor"]
    done = run(command, environment, tmp_path, typed=typed)
    assert done.returncode == 0, done.stderr
    assert "terminal  version 1" in done.stdout
    assert "terminal  live" in done.stdout
    assert "4 of 4 answers as in the notebook" in done.stdout
    assert "array(['stays', 'leaves'], dtype=object)" in done.stdout
    assert "Did you mean model?" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


SCRIPT = f"""{FIT}
import model_platform as mp
published = mp.publish(model, "script", data=X, example=X)
endpoint = mp.deploy("script")
print(published.details.lineage.model_dump_json())
print(endpoint.predict(X[:2]).tolist())
print(endpoint)
mp.deploy("scripd")
"""


def test_a_bare_script(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    done = run([sys.executable, "train.py"], environment, tmp_path)
    found, answers, *card = done.stdout.splitlines()
    assert (json.loads(found)["notebook"], json.loads(found)["executed_cells"]) == ("train.py", None)
    assert json.loads(found)["notebook_sha256"] == sha256(SCRIPT.encode())
    assert answers == "['stays', 'leaves']"
    assert card[0].startswith("script  live")
    assert done.returncode == 1
    assert "There is no model" in done.stderr.splitlines()[-2]
    assert done.stderr.splitlines()[-1] == "mp.models() lists the models"


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
