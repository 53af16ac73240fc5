"""Where pickles lie: in files of their own, in joblib's compressed ones, in archives, in arrays of objects."""

from __future__ import annotations

import ast
import bz2
import contextlib
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO

from model_platform_server.adapters.scanning.machine import NoPickleError, NotReadableError, Reading, read_pickle

LARGEST = 1 << 30
MOST_MEMBERS = 20_000
DEEPEST = 3
HEAD_BYTES = 64
_BLOCK = 1 << 20
_MOST_BROKEN = 1 << 22
_BROKEN = (OSError, EOFError, zlib.error, lzma.LZMAError)

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
    """A pickle of the first protocols has no mark: whatever can be followed to the end of what is there may be one."""
    opcode, rest = head[:1], head[1:]
    if opcode in {b"c", b"i"}:
        module, line, after = rest.partition(b"\n")
        name = after.partition(b"\n")[0]
        return bool(line) and all(part.isidentifier() for part in (module + b"." + name).decode("latin-1").split("."))
    file = io.BytesIO(head)
    try:
        read_pickle(file)
    except NoPickleError:
        return file.tell() == len(head)
    except NotReadableError:
        pass
    return True


def archive_may_hold_pickles(file: BinaryIO) -> bool:
    """Whether something in an archive that its own library reads looks like a pickle; arrays of numbers do not."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as opened:
                head = opened.read(HEAD_BYTES)
            if may_hold_pickles(member.filename, head) and not (head.startswith(_NUMPY) and b"O" not in head):
                return True
    return False


def readings(name: str, file: BinaryIO, depth: int = 0, *, certain: bool = False) -> Iterator[Reading]:
    """Every pickle in a file.

    Parameters
    ----------
    certain
        It is unpickled, whatever it is called.

    Raises
    ------
    NotReadableError
        If something in there cannot be read.
    """
    if depth > DEEPEST:
        raise NotReadableError("archives lie in archives too deeply")
    certain = certain or name.lower().endswith(_PICKLE_NAMES)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    for mark, kind in _UNREAD.items():
        if head.startswith(mark):
            raise NotReadableError(f"it is compressed by {kind}, which is not looked into")
    if head.startswith(_ZIP):
        yield from _in_archive(file, depth)
    elif head.startswith(_NUMPY):
        yield from _in_array(file)
    elif (unpacked := _unpacked(head, file, certain=certain)) is not None:
        yield from readings(name, unpacked, depth + 1, certain=certain)
    elif certain:
        yield from _one_after_the_other(file)
    elif may_hold_pickles(name, head):
        try:
            found = list(_one_after_the_other(file))
        except NoPickleError:
            return  # something else that begins like one
        yield from (one for one in found if one.names or head.startswith(_PROTOCOLS))


def _one_after_the_other(file: BinaryIO) -> Iterator[Reading]:
    named = False
    while True:
        found = read_pickle(file)
        named |= any(one.names for one in found)
        yield from found
        rest = file.read(2)
        if not rest:
            return
        if not rest.startswith(b"\x80"):
            kind = NotReadableError if named else NoPickleError
            raise kind("something follows the pickle")
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


_Packed = gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile


def _unpacked(head: bytes, file: BinaryIO, *, certain: bool) -> BinaryIO | None:
    """What a compressed file holds; None if it is none, even if it begins like one (`x^2,y` begins like zlib)."""
    opened = _opened(head, file)
    if opened is None:
        return None
    content = bytearray()
    try:
        while block := opened.read(_BLOCK):
            content += block
            if len(content) > LARGEST:
                raise NotReadableError("it is compressed and too large")
    except _BROKEN as error:
        file.seek(0)
        if certain or _would_run(_opened(head, file)):
            raise NotReadableError("it is compressed, and broken or not complete") from error
        file.seek(0)
        return None
    return io.BytesIO(content)


def _opened(head: bytes, file: BinaryIO) -> _Packed | _Zlib | None:
    if head.startswith(_GZIP):
        return gzip.GzipFile(fileobj=file)
    if head.startswith(_BZ2):
        return bz2.BZ2File(file)
    if head.startswith((_XZ, _LZMA)):
        return lzma.LZMAFile(file)
    return _Zlib(file) if head.startswith(_ZLIB) else None


def _would_run(opened: _Packed | _Zlib | None) -> bool:
    """Whether what stands before the place where a compressed file is broken is more than the beginning of a pickle.

    Who loads a compressed pickle reads it as it comes, so what stands there would run.
    """
    content = bytearray()
    with contextlib.suppress(*_BROKEN):
        while opened is not None and (block := opened.read(HEAD_BYTES)) and len(content) < _MOST_BROKEN:
            content += block
    try:
        read_pickle(io.BytesIO(content))
    except NoPickleError:
        return len(content) >= _MOST_BROKEN
    except NotReadableError:
        pass
    return True


class _Zlib:
    """A file that zlib wrote, read in blocks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._unpacker = file, zlib.decompressobj()

    def read(self, count: int) -> bytes:
        """At most so many bytes; none at the end. Raises EOFError where the file ends before its content does."""
        while not self._unpacker.eof:
            packed = self._unpacker.unconsumed_tail or self._file.read(count)
            found = self._unpacker.decompress(packed, count)
            if found:
                return found
            if not packed:
                raise EOFError
        return b""


def _bounded(file: IO[bytes]) -> bytes:
    content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise NotReadableError("it is compressed and too large")
    return content
