"""Runs the quickstart without a browser, says what happens, and asks the endpoint once more from a new process.

`make demo` calls it. The notebook's last cell stops the endpoint; here it is started again, and left running.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

NOTEBOOK = Path(__file__).with_name("quickstart.ipynb")
PROGRAMS = Path(sys.executable).parent
WIDTH = 118
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
    if shutil.which("curl") is None:
        say("The demo calls the endpoint with curl, which is not installed here: install it and run make demo again.")
        return 1
    began = time.monotonic()
    say("Running notebooks/quickstart.ipynb, cell by cell, as it would run in JupyterLab.")
    try:
        play(nbformat.read(NOTEBOOK, as_version=4))
    except CellExecutionError as error:
        say(f"\nThis cell failed:\n{error}")
        return 1
    heading("The endpoint again: started, and called with curl from a new process")
    if not ask():
        return 1
    say(f"\nDone in {time.monotonic() - began:.0f} s. The endpoint is live and goes on when this terminal is closed.")
    say("  go on in JupyterLab   .venv/bin/jupyter lab notebooks/quickstart.ipynb")
    say("  what there is         .venv/bin/mp status")
    say("  end everything        .venv/bin/mp server stop --all")
    return 0


def play(notebook: nbformat.NotebookNode) -> None:
    """Run the cells and print the text between them, the platform's lines and every answer."""
    client = NotebookClient(
        notebook,
        timeout=300,
        resources={"metadata": {"path": str(NOTEBOOK.parent)}},
        # The kernel's word on its connections, a line in our midst, is about other machines than this one.
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
    )
    # The kernel is told, as JupyterLab tells it, which notebook it runs, so that the versions can say where they are from.
    with client.setup_kernel(env=os.environ | {"JPY_SESSION_NAME": str(NOTEBOOK)}):
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "markdown":
                tell(cell.source)
            else:
                client.execute_cell(cell, number)
                show(cell)


def tell(markdown: str) -> None:
    """A markdown cell: its headings, and its text in lines that fit."""
    for paragraph in markdown.split("\n\n"):
        if paragraph.startswith("#"):
            heading(paragraph.lstrip("# "))
        else:
            say(textwrap.fill(paragraph, WIDTH))


def heading(text: str) -> None:
    """A line that stands out."""
    say(f"\n{text}\n{'─' * len(text)}")


def show(cell: nbformat.NotebookNode) -> None:
    """The lines of a code cell that speak to the platform or to the system, and what they answered, as text."""
    lines = cell.source.replace("\\\n", "").splitlines()
    asked = [" ".join(line.split()) for line in lines if "%mp_" in line or line.startswith("!")]
    answers = [text_of(output) for output in cell.outputs]
    say(textwrap.indent("\n".join([*(f"> {line}" for line in asked), *answers]), "  "))


def text_of(output: nbformat.NotebookNode) -> str:
    """An output in plain text, as a terminal would show it."""
    if output.output_type == "stream":
        text = output.text
    elif output.output_type == "error":
        text = "\n".join(output.traceback)
    else:
        text = output.data.get("text/plain", "")
    return str(text).rstrip()


def ask() -> bool:
    """Start the endpoint again and send it one row with curl, as an application would."""
    started = json.loads(run(PROGRAMS / "mp", "start", "penguins", "--json"))
    token = json.loads(run(PROGRAMS / "mp", "token", "endpoint", "penguins", "--json"))["token"]
    url, row = started["status"]["url"], json.dumps([ROW])
    say(f"  > curl -H 'Authorization: Bearer …' -H 'Content-Type: application/json' -d '{row}' {url}")
    headers = ("-H", f"Authorization: Bearer {token}", "-H", "Content-Type: application/json")
    answer = run("curl", "--silent", "--show-error", "--fail-with-body", *headers, "-d", row, url)
    say(f"  {answer}")
    return "prediction" in json.loads(answer)[0]


def run(*command: str | Path) -> str:
    """The standard output of a program that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed: {done.stderr or done.stdout}")
    return done.stdout


def say(text: str) -> None:
    """Text for the person who watches, at once."""
    if text.strip():
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
