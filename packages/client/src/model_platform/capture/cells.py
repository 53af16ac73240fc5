"""The code that made the model, as it ran, and how it differs from the commit. Only sources count: outputs hold data.

Whatever looks like a credential is left out and named. Nothing here stops a publish: what cannot be found out is noted.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model_platform.capture.forbidden import forbidden_name, secret_in_source, secret_in_text

MOST_PATCH_BYTES = 1 << 20
_LEFT_OUT = "# left out: it looks like {}"
_SEPARATOR = "# %%"
_ALIKE, _MOST_COMPARED, _MOST_MODULES = 0.6, 100, 300
_INJECTED = "# Parameters\n"  # papermill's own cell, which no notebook has
_SEEDS = re.compile(
    r"\b((?:[A-Za-z_]\w*\.)*(?:seed|default_rng|RandomState|PRNGKey|set_random_seed|\w+_seed))\((\d{1,18})\)"
)


def as_script(cells: Iterable[str]) -> str:
    """Cells in order, as one text that editors show as cells; without what looks like a credential."""
    return "".join(f"{_SEPARATOR}\n{without_secrets(cell).strip()}\n\n" for cell in cells)


def without_secrets(cell: str) -> str:
    """A cell whose lines with credentials are replaced; the whole cell, where the line cannot be told."""
    kept = [line if not (what := _secret_in(line.strip())) else _LEFT_OUT.format(what) for line in cell.splitlines()]
    text = "\n".join(kept)
    return text if not (what := _secret_in(text)) else _LEFT_OUT.format(what)


def _secret_in(source: str) -> str | None:
    """What looks like a credential, also in what is no whole Python: magics, parts of a statement."""
    try:
        found = secret_in_source(source)
    except (SyntaxError, ValueError):
        found = secret_in_text(source) or _secret_in_assignment(source)
    return found.partition(" (")[0] if found else None


def _secret_in_assignment(line: str) -> str | None:
    named = re.match(r"\W*(?:env\s+)?([\w.\"']+)\s*[=:]\s*(.+?),?$", line)
    if named is None:
        return None
    value = named[2].strip().strip("\"'")
    try:
        return secret_in_source(f"{re.sub(r'[^A-Za-z0-9_]', '', named[1])} = {value!r}")
    except (SyntaxError, ValueError):
        return None


def cells_of_notebook(content: str) -> list[str] | None:
    """The sources of a notebook file's code cells, in its order; None if it is none."""
    try:
        cells = json.loads(content)["cells"]
        sources = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        return None
    texts = ["".join(source) if isinstance(source, list) else str(source) for source in sources]
    return [text for text in texts if text.strip()]


def seeds_in(cells: Iterable[str]) -> dict[str, int]:
    """Seeds that the code gives to generators, by the function's name; the last one counts."""
    return {name: int(value) for cell in cells for name, value in _SEEDS.findall(cell)}


def used_modules(root: Path) -> list[Path]:
    """Files of loaded modules below a folder that are nobody's installed packages."""
    installed, found = {"site-packages", "dist-packages"}, set()
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file.endswith(".py") and not installed & set(Path(file).parts):
            path = Path(file).resolve()
            if path.is_relative_to(root) and path.is_file():
                found.add(path)
    return sorted(found)[:_MOST_MODULES]


@dataclass(frozen=True)
class Changes:
    """How the code that ran differs from the commit; `patch` is empty where nothing does, or all of it is left out."""

    dirty: bool
    patch: str = ""
    notes: tuple[str, ...] = ()


def changes_since(
    root: Path,
    file: Path,
    ran: Sequence[str],
    modules: Iterable[Path],
    committed: Callable[[Path], str | None],
) -> Changes:
    """Compare what ran with the commit: the cells or the script, and the modules it used.

    Parameters
    ----------
    root
        The repository's folder.
    file
        The notebook or script.
    ran
        The cells that ran, in order; none of a script.
    committed
        The text of a file, by its path below `root`, in the commit; None where the commit has no such file.
    """
    patch, notes = [], []
    for one in dict.fromkeys([file, *modules]):
        path = one.resolve().relative_to(root)
        before = committed(path)
        if path.suffix == ".ipynb":
            known, (saved, others) = cells_of_notebook(before or "") or [], _cells_now(one, ran)
            if before is not None and _same(known, saved) and not others:
                continue
            before, after = None if before is None else as_script(known), as_script([*saved, *others])
        else:
            after = one.read_text(encoding="utf-8", errors="replace")
            if after == before:
                continue
        what = _secret_in(after) or _secret_in(before or "")
        if (hidden := forbidden_name(path)) is not None:
            what = f"a file that {hidden}"
        if what:
            patch.append("")
            notes.append(f"the changes of {path.as_posix()} are left out: there is {what}")
        else:
            patch.append(_difference(path, before, after))
    text = "".join(patch)
    if len(text.encode()) > MOST_PATCH_BYTES:
        return Changes(bool(patch), "", (*notes, "the changes are left out: they are larger than 1 MB"))
    return Changes(bool(patch), text, tuple(notes))


def _cells_now(file: Path, ran: Sequence[str]) -> tuple[list[str], list[str]]:
    """The cells as they are: those of the saved file, and those that ran and are not in it.

    A cell that ran again in another wording, which is the saved one, counts in that one.
    """
    saved = cells_of_notebook(file.read_text(encoding="utf-8")) if file.is_file() else None
    known = {cell.strip() for cell in saved or []}
    others = []
    for at, cell in enumerate(ran):
        if cell.strip() in known or cell.startswith(_INJECTED) or _only_asks(cell):
            continue
        later = [one for one in ran[at + 1 :] if one.strip() in known]
        if not any(_alike(cell, one) for one in later[:_MOST_COMPARED]):
            others.append(cell)
    return saved or [], others


def _only_asks(cell: str) -> bool:
    """Whether a cell only talks to the platform, or asks for help."""
    lines = [line.strip() for line in cell.splitlines() if line.strip()]
    return all(line.startswith("%mp_") or line.endswith("?") for line in lines)


def _alike(one: str, other: str) -> bool:
    match = difflib.SequenceMatcher(None, one, other, autojunk=False)
    return match.real_quick_ratio() >= _ALIKE and match.quick_ratio() >= _ALIKE and match.ratio() >= _ALIKE


def _same(some: Sequence[str], others: Sequence[str]) -> bool:
    return [cell.strip() for cell in some] == [cell.strip() for cell in others]


def _difference(path: Path, before: str | None, after: str) -> str:
    name = path.as_posix() + (" (cells)" if path.suffix == ".ipynb" else "")
    lines = difflib.unified_diff(
        [] if before is None else before.splitlines(keepends=True),
        after.splitlines(keepends=True),
        "/dev/null" if before is None else f"a/{name}",
        f"b/{name}",
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
