"""What looks like a credential in a file: by its looks in any, by the name it stands under in settings and source."""

from __future__ import annotations

import codecs
import re
import warnings
from collections.abc import Iterator
from pathlib import Path, PurePath

from model_platform.capture.forbidden import ADDRESS, ENDS_OF_NAMES, is_secret, secret_in_source, secret_in_text

_PIECE = 1 << 20
_OVERLAP = 4096
_MOST_READ = 64 << 20
_TABLES = frozenset({".csv", ".tsv"})  # what stands in their cells is data
_SETTINGS = frozenset({".cfg", ".conf", ".env", ".ini", ".json", ".properties", ".toml", ".txt", ".yaml", ".yml"})
_OF_TESTS = re.compile(r"(?:^|/)(?:tests?/|test_[^/]*\.py$|[^/]*_test\.py$|conftest\.py$)")
_READABLE = re.compile(rb"[\x20-\x7e]{8,}")
_STEMS = re.compile(r"pass|pwd|secret|key|credential|token|bearer", re.IGNORECASE)
_NAMED = re.compile(
    rf"""(?<![\w.-])(?P<name>[\w.-]{{0,40}}(?:{ENDS_OF_NAMES})\d*)["']?\s*[:=]>?\s*(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,;#}}\])]+)""",
    re.IGNORECASE,
)
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def secret_in_settings(text: str) -> str | None:
    """What looks like a credential in YAML, JSON, TOML, INI or lines of `NAME=value`, with its line."""
    if found := secret_in_text(text):
        return found
    for named in _NAMED.finditer(text) if _STEMS.search(text) else ():
        if is_secret(named["name"], named["value"].strip("\"'")):
            return f"a credential in {named['name'].lstrip('.-')} (line {text.count(chr(10), 0, named.start()) + 1})"
    return None


def secret_in_package(path: PurePath, text: str) -> str | None:
    """What looks like a credential in a file of a package: by name in source and settings. Its tests make some up."""
    if _OF_TESTS.search(path.as_posix()):
        found = secret_in_text(text)
        return None if found and found.startswith(ADDRESS) else found
    if path.suffix in _SETTINGS:
        return secret_in_settings(text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the package's own text is
            return secret_in_source(text) if path.suffix == ".py" else secret_in_text(text)
    except (SyntaxError, ValueError, RecursionError):  # a template, or for another Python
        return secret_in_text(text)


def secret_in_file(file: Path) -> str | None:
    """What looks like a credential in a file. It is read piece by piece; of a long one, the first 64 MB."""
    encoding = "utf-8"
    for number, piece in enumerate(_pieces(file)):
        if number == 0:
            encoding = next((name for mark, name in _MARKS if piece.startswith(mark)), encoding)
        if encoding != "utf-16" and b"\0" in piece:
            found = secret_in_text(b"\n".join(_READABLE.findall(piece)).decode("ascii"))
        else:
            text = piece.decode(encoding, errors="replace")
            found = secret_in_text(text) if file.suffix.lower() in _TABLES else secret_in_settings(text)
        if found:
            return found if number == 0 else found.partition(" (line")[0]
    return None


def _pieces(file: Path) -> Iterator[bytes]:
    """The file in pieces that overlap."""
    read, before = 0, b""
    with file.open("rb") as opened:
        while read < _MOST_READ and (piece := opened.read(_PIECE)):
            yield before + piece
            read, before = read + len(piece), piece[-_OVERLAP:]
