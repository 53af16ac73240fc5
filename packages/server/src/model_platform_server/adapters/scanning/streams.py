"""Where pickles lie: in files of their own, in joblib's compressed ones, in archives, in arrays of objects."""

from __future__ import annotations

import ast
import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO

from model_platform_server.adapters.scanning.machine import NotReadableError, Reading, read_pickle

LARGEST = 1 << 30
MOST_MEMBERS = 20_000
DEEPEST = 3
HEAD_BYTES = 64

_NUMPY = b"\x93NUMPY"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP, _BZ2, _XZ, _LZMA = b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x5d\x00\x00"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_UNREAD = {b"\x04\x22\x4d\x18": "lz4", b"\x28\xb5\x2f\xfd": "zstd"}
_PROTOCOLS = tuple(bytes((0x80, protocol)) for protocol in range(2, 6))
_PICKLE_NAMES = (".pkl", ".pickle", ".joblib", ".cloudpickle", ".dill", ".pt", ".pth", ".statsmodels")


def may_hold_pickles(name: str, head: bytes) -> bool:
    """Whether a file is worth a look: by its first bytes, or because it is called so."""
    lower = name.lower()
    return (
        lower.endswith(_PICKLE_NAMES)
        or head.startswith((*_PROTOCOLS, *_ZIP, _NUMPY, _GZIP, _BZ2, _XZ, _LZMA, *_ZLIB, *_UNREAD))
        or _looks_old(head)
    )


def _looks_old(head: bytes) -> bool:
    """A pickle of the first protocols has no mark: it begins by an import, or by a container of which one is made."""
    opcode, rest = head[:1], head[1:]
    if opcode in {b"c", b"i"}:
        module, line, after = rest.partition(b"\n")
        name = after.partition(b"\n")[0]
        return bool(line) and all(part.isidentifier() for part in (module + b"." + name).decode("latin-1").split("."))
    return opcode in {b"(", b"]", b"}"} and rest[:1] in {b"c", b"i", b"d", b"l", b"t", b"q", b"p", b"("}


def readings(name: str, file: BinaryIO, depth: int = 0) -> Iterator[Reading]:
    """Every pickle in a file.

    Raises
    ------
    NotReadableError
        If something in there cannot be read.
    """
    if depth > DEEPEST:
        raise NotReadableError("archives lie in archives too deeply")
    head = file.read(HEAD_BYTES)
    file.seek(0)
    for mark, kind in _UNREAD.items():
        if head.startswith(mark):
            raise NotReadableError(f"it is compressed by {kind}, which is not looked into")
    if head.startswith(_ZIP):
        yield from _in_archive(file, depth)
    elif head.startswith(_NUMPY):
        yield from _in_array(file)
    elif (unpacked := _unpacked(head, file)) is not None:
        yield from readings(name, unpacked, depth + 1)
    elif name.lower().endswith(_PICKLE_NAMES) or head.startswith(_PROTOCOLS):
        yield from _one_after_the_other(file)
    elif _looks_old(head):
        try:
            found = list(_one_after_the_other(file))
        except NotReadableError:
            return  # text that begins like one
        yield from (one for one in found if one.names)


def _one_after_the_other(file: BinaryIO) -> Iterator[Reading]:
    while True:
        yield from read_pickle(file)
        rest = file.read(2)
        if not rest:
            return
        if not rest.startswith(b"\x80"):
            raise NotReadableError("something follows the pickle")
        file.seek(-len(rest), io.SEEK_CUR)


def _in_archive(file: BinaryIO, depth: int) -> Iterator[Reading]:
    with zipfile.ZipFile(file) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        if len(members) > MOST_MEMBERS:
            raise NotReadableError("the archive holds too many files")
        for member in members:
            with archive.open(member) as opened:
                head = opened.read(HEAD_BYTES)
                if may_hold_pickles(member.filename, head):
                    content = io.BytesIO(head + _bounded(opened))
                    yield from readings(member.filename, content, depth + 1)


def _in_array(file: BinaryIO) -> Iterator[Reading]:
    file.seek(len(_NUMPY))
    major = file.read(2)[0]
    length = int.from_bytes(file.read(2 if major == 1 else 4), "little")
    if length > 1 << 16:
        raise NotReadableError("the head of an array is too long")
    described = ast.literal_eval(file.read(length).decode("utf-8" if major > 2 else "latin-1"))
    if "O" in str(described["descr"]):
        yield from _one_after_the_other(file)


def _unpacked(head: bytes, file: BinaryIO) -> BinaryIO | None:
    if head.startswith(_GZIP):
        return io.BytesIO(_bounded(gzip.GzipFile(fileobj=file)))
    if head.startswith(_BZ2):
        return io.BytesIO(_bounded(bz2.BZ2File(file)))
    if head.startswith((_XZ, _LZMA)):
        return io.BytesIO(_bounded(lzma.LZMAFile(file)))
    if head.startswith(_ZLIB):
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(file.read(), LARGEST)
        if not unpacker.eof:
            raise NotReadableError("it is compressed and too large, or ends early")
        return io.BytesIO(content)
    return None


def _bounded(file: IO[bytes] | gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile) -> bytes:
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise NotReadableError("it is compressed and too large")
    return content
