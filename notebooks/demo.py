"""Runs the quickstart without a browser, says what happened, and asks the endpoint once more from a new process.

`make demo` calls it. `--keep` leaves the endpoint running at the end (the default); the notebook's last cell stops it, so
it is started again first.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).with_name("quickstart.ipynb")
ROW = {
    "island": "Dream",
    "bill_length_mm": 46.5,
    "bill_depth_mm": 17.9,
    "flipper_length_mm": 192.0,
    "body_mass_g": 3500.0,
    "sex": "female",
}


def main() -> int:
    """Run everything; 0 if the endpoint answered."""
    began = time.monotonic()
    say(
        "Running notebooks/quickstart.ipynb: publish, deploy, predict, a second version, roll back, a gate that refuses."
    )
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(NOTEBOOK.parent)}})
    with client.setup_kernel():
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                title = cell.source.splitlines()[0]
                if title.startswith("#"):
                    say("\n" + title.lstrip("# "))
                continue
            try:
                client.execute_cell(cell, number)
            except CellExecutionError as error:
                say(str(error))
                return 1
            show(cell)
    say("\nThe endpoint again, from a new process, with curl")
    answer = ask()
    say(f"\nDone in {time.monotonic() - began:.0f} s. The endpoint is live; the server outlives this terminal.")
    say("  go on        .venv/bin/jupyter lab notebooks/quickstart.ipynb")
    say("  look         .venv/bin/mp status")
    say("  end it all   .venv/bin/mp server stop --all")
    return 0 if answer else 1


def show(cell: nbformat.NotebookNode) -> None:
    """The platform's cards and errors in plain words, indented."""
    for output in cell.outputs:
        if output.output_type == "error":
            text = "\n".join(output.traceback)
        elif output.output_type in {"execute_result", "display_data"} and "%mp_" in cell.source:
            text = output.data.get("text/plain", "")
        else:
            continue
        say("\n".join("  " + line for line in text.splitlines()))


def ask() -> bool:
    """Start the endpoint again and send it one row with curl, as an application would."""
    mp = [str(Path(sys.executable).with_name("mp"))]
    started = json.loads(run([*mp, "start", "penguins", "--json"]))
    token = json.loads(run([*mp, "token", "endpoint", "penguins", "--json"]))["token"]
    url = started["status"]["url"]
    call = ["curl", "--silent", "--show-error", "--fail-with-body", "-H", "Content-Type: application/json"]
    say(f"  {' '.join(call)} -H 'Authorization: Bearer …' -d '{json.dumps([ROW])}' {url}")
    answer = run([*call, "-H", f"Authorization: Bearer {token}", "-d", json.dumps([ROW]), url])
    say(f"  {answer}")
    return "prediction" in json.loads(answer)[0]


def run(command: list[str]) -> str:
    """The standard output of a program that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed: {done.stderr or done.stdout}")
    return done.stdout


def say(text: str) -> None:
    """A line for the person who watches."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
