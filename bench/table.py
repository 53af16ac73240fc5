"""The table: a line for each figure, on the terminal and in the documentation."""

from __future__ import annotations

from pathlib import Path

from bench.figures import FIGURES, Figure
from bench.outcomes import Outcome, Side, compared, verdict
from bench.results import Results

_BEGIN, _END = "<!-- written by `python -m bench --table` from bench/results.json -->\n", "<!-- end of the table -->"
_HEADS = ("what", "ours", "peer", "ratio", "required", "aimed", "verdict", "CPU ours", "CPU peer", "quiet", "at (UTC)")


def line(figure: Figure, found: Outcome) -> str:
    """One figure as the terminal shows it."""
    what, ours, peer, ratio, required, aimed, said, cpu, peer_cpu, *_ = cells(figure, found)
    parts = [f"ours {ours}", f"{figure.peer} {peer}" if figure.peer else "", f"ratio {ratio}" if ratio else ""]
    parts += [f"required {required}" if required else "", f"aimed {aimed}" if aimed else ""]
    parts += [f"CPU {cpu}" + (f" / {peer_cpu}" if peer_cpu else "") if cpu else ""]
    return f"{said:13}  {what}: " + ", ".join(part for part in parts if part)


def cells(figure: Figure, found: Outcome) -> tuple[str, ...]:
    """One figure as the columns of the table."""
    number = compared(figure, found) if figure.compared != "ours" else None
    said = str(verdict(figure, found))
    said += f": {found.trouble}" if found.trouble else ""
    times = "" if figure.compared == "ours" else " ×"
    return (
        figure.what,
        _value(found.ours, figure.unit),
        f"{_value(found.peer, figure.unit)}" if figure.peer else "",
        "" if number is None else f"{_short(number)} ×",
        f"{figure.required}{times}" if figure.required else "",
        f"{figure.aimed}{times}" if figure.aimed else "",
        said,
        _processor(found.ours, figure.cpu),
        _processor(found.peer, figure.cpu),
        f"{found.quiet} of {found.taken}" if found.taken else "",
        found.at,
    )


def _value(side: Side | None, unit: str) -> str:
    return "–" if side is None else f"{_short(side.value)} {unit}"


def _processor(side: Side | None, unit: str) -> str:
    return "" if side is None or side.cpu is None else f"{_short(side.cpu)} {unit}"


def _short(number: float) -> str:
    """Three digits that say something."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2g}" if abs(number) < 1 else f"{number:.2f}"


def markdown(results: Results) -> str:
    """All figures, with the command and the machine; what was not measured says so."""
    how = f"medians of {results.rounds} quiet rounds, {results.seconds} s of load each"
    head = [f"`make bench` on {results.machine}; {how}.", ""]
    head += [f"| {' | '.join(_HEADS)} |", f"|{'---|' * len(_HEADS)}"]
    rows = []
    for figure in FIGURES:
        found = results.outcomes.get(figure.key, Outcome())
        what, ours, peer, *rest = cells(figure, found)
        against = f"{peer} ({figure.peer})" if figure.peer else ""
        rows.append("| " + " | ".join([what, ours, against, *rest]) + " |")
    return "\n".join([*head, *rows]) + "\n"


def write_into(document: Path, results: Results) -> None:
    """Replace the table of a document between its two marks.

    Raises
    ------
    ValueError
        If the document lacks them.
    """
    text = document.read_text()
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{document} lacks the marks between which the table stands.")
    document.write_text(f"{before}{begin}\n{markdown(results)}\n{end}{after}")
