"""The cells of the page on models run as they stand, one after the other, in one IPython."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from support.private import private_server, run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "users" / "models.md"
STOPS = '\nimport model_platform\nmodel_platform.stop("{name}")\n'


def cells() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_every_section_of_a_kind_has_a_cell() -> None:
    sections = re.split(r"^##+ ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[2:]
    assert [text.splitlines()[0] for text in sections if "```python" not in text] == []


def test_the_cells_run(tmp_path: Path) -> None:
    script = ["%load_ext model_platform\nimport warnings\nwarnings.simplefilter('ignore')\n"]
    for cell in cells():
        deployed = re.findall(r"%mp_deploy (\S+)", cell)
        # What one section has deployed makes room for the next, as this machine may be small.
        script += [cell, *(STOPS.format(name=name) for name in deployed)]
    (tmp_path / "page.ipy").write_text("\n".join([*script, "print('to the end')\n"]), encoding="utf-8")
    (tmp_path / "home").mkdir()
    with private_server(tmp_path / "home", MP_SERVER_OWN_ENVIRONMENTS="never", JAX_PLATFORMS="cpu") as environment:
        done = run([sys.executable, "-m", "IPython", "--colors=NoColor", "page.ipy"], environment, tmp_path)
        assert done.stdout.strip().endswith("to the end"), (done.stdout + done.stderr)[-6000:]
