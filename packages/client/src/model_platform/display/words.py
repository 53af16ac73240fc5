"""Figures in words: sizes, counts, durations."""

from __future__ import annotations

MISSING = "–"


def size(count: int) -> str:
    """Bytes for people: `5.1 kB`, `1.2 GB`."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95 or unit == "GB":
            break
    return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"


def gibibytes(count: float) -> str:
    """Memory in GiB, without the unit: `0.4`, `4`."""
    return f"{count / (1 << 30):.1f}".removesuffix(".0")


def cores(count: float) -> str:
    """CPU cores: `1`, `0.25`."""
    return f"{count:.2f}".rstrip("0").rstrip(".")


def number(value: int) -> str:
    """`2,400`."""
    return f"{value:,}"


def plural(count: int, word: str) -> str:
    """`1 row`, `20 rows`."""
    return f"{number(count)} {word}{'' if count == 1 else 's'}"


def seconds(value: float) -> str:
    """A duration: `0.2 s`, `48 s`, `3 min 20 s`."""
    if value < 9.95:
        return f"{value:.1f} s"
    if value < 90:
        return f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def milliseconds(value: float | None) -> str:
    """A latency given in seconds: `9 ms`, `0.4 ms`."""
    if value is None:
        return MISSING
    found = value * 1000
    return f"{found:.1f} ms" if found < 1 else f"{found:,.0f} ms"


def percent(part: float, whole: float) -> str:
    """A share: `0`, `0.2 %`, `12 %`."""
    if not whole:
        return MISSING
    if not part:
        return "0"
    share = 100 * part / whole
    return f"{share:.1f} %" if share < 10 else f"{share:.0f} %"


def rate(value: float) -> str:
    """Calls per second: `8.0`, `120`."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def digest(sha256: str) -> str:
    """The first characters of a digest: `sha256 9f2c41…`."""
    return f"sha256 {sha256.removeprefix('sha256:')[:6]}…"


def listed(names: list[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
