"""Data sets in blocks, as the fingerprint reads them: the same values give the same bytes, whichever library holds them."""

from __future__ import annotations

import hashlib
import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model_platform.capture.plain_values import plain_value
from model_platform.capture.table import Form, Table
from model_platform_core.values import canonical_json

BLOCK_ROWS = 65_536
_READ_BYTES = 4 << 20
_COPIES_ON_WRITE = 3
_TABLES = frozenset(
    {("pyarrow", "Table"), ("pyarrow", "RecordBatch"), ("polars", "DataFrame"), ("polars", "LazyFrame")}
)
_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "M": "date"}
_STORED = {"boolean": "u1", "float": "<f8", "date": "<i8"}


class Column(ABC):
    """One column: `kind` is boolean, integer, float, date, text or other."""

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind

    @abstractmethod
    def read(self, start: int, stop: int) -> tuple[Any, Any]:
        """Rows from `start` to `stop`: what is missing as an array of booleans, and the values.

        Values are an array with 0 for missing ones, or a list of texts with an empty one.
        """

    def blocks(self, rows: int) -> Iterator[bytes]:
        """The bytes of every block: the flags of missing values, then the values, little-endian."""
        for start in range(0, rows, BLOCK_ROWS):
            missing, values = self.read(start, min(start + BLOCK_ROWS, rows))
            yield missing.astype("u1").tobytes()
            if isinstance(values, list):
                yield from _texts(values)
            else:
                stored = "<u8" if values.dtype.kind == "u" else "<i8"
                yield values.astype(_STORED.get(self.kind, stored)).tobytes()


def _texts(texts: list[str]) -> Iterator[bytes]:
    numpy = importlib.import_module("numpy")
    yield numpy.fromiter(map(len, texts), dtype="<i8", count=len(texts)).tobytes()
    yield "".join(texts).encode("utf-8", "surrogatepass")


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return canonical_json(plain_value(value))
    except (TypeError, ValueError):
        return repr(value)


_NULLABLE = {"i": "Int64", "u": "UInt64", "b": "boolean"}


class _PandasColumn(Column):
    def __init__(self, name: str, column: Any) -> None:
        if hasattr(column.dtype, "categories"):  # categories as the values they stand for
            values = column.dtype.categories.dtype
            column = column.astype(_NULLABLE.get(values.kind, values) if column.isna().any() else values)
        self._column = column
        super().__init__(name, _KINDS.get(_pandas_kind(column)) or _kind_of_objects(column))

    def read(self, start: int, stop: int) -> tuple[Any, Any]:
        column = self._column.iloc[start:stop]
        missing = column.isna().to_numpy()
        if self.kind in {"text", "other"}:
            values = zip(column.tolist(), missing.tolist(), strict=True)
            return missing, ["" if gone else _as_text(value) for value, gone in values]
        if self.kind == "date":
            utc = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
            values = utc.to_numpy().astype("datetime64[us]").astype("<i8")
        else:
            stored = {"b": "u1", "i": "<i8", "u": "<u8", "f": "<f8"}[_pandas_kind(column)]
            values = (column.fillna(0) if missing.any() else column).to_numpy(dtype=stored)
        return missing, importlib.import_module("numpy").where(missing, values.dtype.type(0), values)


def _pandas_kind(column: Any) -> str:
    return str(getattr(column.dtype, "kind", "O"))


def _kind_of_objects(column: Any) -> str:
    infer = importlib.import_module("pandas").api.types.infer_dtype
    return "text" if infer(column, skipna=True) in {"string", "empty"} else "other"


class _ArrowColumn(Column):
    def __init__(self, name: str, column: Any) -> None:
        types = importlib.import_module("pyarrow").types
        kind = column.type
        if types.is_dictionary(kind):
            column = column.cast(kind.value_type)
            kind = column.type
        self._column = column
        known = (
            ("boolean", types.is_boolean),
            ("integer", types.is_integer),
            ("float", types.is_floating),
            ("date", types.is_timestamp),
            ("text", lambda one: types.is_string(one) or types.is_large_string(one) or one == "string_view"),
        )
        super().__init__(name, next((found for found, holds in known if holds(kind)), "other"))

    def read(self, start: int, stop: int) -> tuple[Any, Any]:
        compute: Any = importlib.import_module("pyarrow.compute")
        numpy = importlib.import_module("numpy")
        column = self._column.slice(start, stop - start)
        missing = column.is_null(nan_is_null=True).to_numpy().astype(bool)
        if self.kind in {"text", "other"}:
            values = zip(column.to_pylist(), missing.tolist(), strict=True)
            return missing, ["" if gone else _as_text(value) for value, gone in values]
        if self.kind == "date":
            column = column.cast(importlib.import_module("pyarrow").timestamp("us", column.type.tz), safe=False)
            column = column.cast("int64")
        filled = compute.fill_null(column, False if self.kind == "boolean" else 0).to_numpy()
        return missing, numpy.where(missing, filled.dtype.type(0), filled)


class Source(ABC):
    """A data set: what is known of it at once, and the bytes that its digest is over."""

    rows: int | None = None
    columns: int | None = None
    size: int | None = None
    types: dict[str, str]
    total: int  # of what `pieces` counts

    @abstractmethod
    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """How much of `total` is done with each piece, and its bytes.

        Raises
        ------
        ChangedError
            If it changed while it was read.
        """

    def detach(self) -> None:  # noqa: B027
        """Go on with a copy from now on: whoever owns the data may change it."""


class ChangedError(Exception):
    """The data changed while it was read."""


class Columns(Source):
    """A table: a header, then each column in blocks."""

    def __init__(self, columns: list[Column], rows: int) -> None:
        self._columns = columns
        self.rows, self.columns = rows, len(columns)
        self.types = {column.name: column.kind for column in columns}
        self.total = max(rows * len(columns), 1)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """The header, and every block of every column."""
        rows = self.rows or 0
        header = {"columns": [[column.name, column.kind] for column in self._columns], "rows": rows}
        yield 0, canonical_json(header).encode() + b"\0"
        done = 0
        for column in self._columns:
            for block in column.blocks(rows):
                yield done, block
            done += rows


class _Frame(Columns):
    """Columns of pandas, which the notebook may change in place; from pandas 3 on they are views that do not follow."""

    def detach(self) -> None:
        if int(str(importlib.import_module("pandas").__version__).partition(".")[0]) >= _COPIES_ON_WRITE:
            return
        for column in self._columns:
            assert isinstance(column, _PandasColumn)
            column._column = column._column.copy()  # noqa: SLF001


class Arrays(Source):
    """Arrays by name, or one without: each by its dtype and shape, then its values in C order."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self._arrays = arrays
        first = next(iter(arrays.values()))
        self.rows = len(first)
        self.columns = len(arrays) if len(arrays) > 1 or "" not in arrays else int(first[:1].size) if len(first) else 0
        self.types = {name: f"{_array_type(one)} {list(one.shape)}" for name, one in arrays.items()}
        self.total = max(sum(one.size for one in arrays.values()), 1)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """A header for each array, and its values in blocks of rows."""
        numpy, done = importlib.import_module("numpy"), 0
        for name in self._arrays:
            array = self._arrays[name]
            header = {"dtype": _array_type(array), "shape": list(array.shape)} | ({"name": name} if name else {})
            yield done, canonical_json(header).encode() + b"\0"
            step = max(1, BLOCK_ROWS * max(len(array), 1) // max(array.size, 1))
            for start in range(0, len(array), step):
                block = self._arrays[name][start : start + step]
                if array.dtype.kind in "OSUT":
                    for piece in _texts([_as_text(value) for value in block.ravel().tolist()]):
                        yield done, piece
                else:
                    yield done, numpy.ascontiguousarray(block.astype(block.dtype.newbyteorder("<"))).tobytes()
                done += block.size

    def detach(self) -> None:
        """Copy what may be changed."""
        self._arrays = {name: array.copy() for name, array in self._arrays.items()}


def _array_type(array: Any) -> str:
    return "text" if array.dtype.kind in "OSUT" else str(array.dtype.newbyteorder("=").name)


class File(Source):
    """One file: its bytes, so that any tool computes the same digest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.stat()
        self.size, self.types = self._before.st_size, {}
        self.total = max(self.size, 1)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """The file's bytes."""
        done = 0
        with self._path.open("rb") as opened:
            while block := opened.read(_READ_BYTES):
                yield done, block
                done += len(block)
        after = self._path.stat()
        if (after.st_size, after.st_mtime_ns) != (self._before.st_size, self._before.st_mtime_ns):
            raise ChangedError


class Folder(Source):
    """A folder: path and digest of every file below it, in order of path. Links are not followed, and not counted."""

    def __init__(self, path: Path) -> None:
        self._path = path
        below = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        self._files = sorted((one for one in below if one.is_file() and not one.is_symlink()), key=self._shown)
        self.rows, self.columns, self.types = None, None, {}
        self.size = sum(one.stat().st_size for one in self._files)
        self.total = max(self.size, 1)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """For each file its path, a zero byte, its digest in hexadecimal and a line's end."""
        done = 0
        for file in self._files:
            digest = hashlib.sha256()
            for _, block in File(file).pieces():
                digest.update(block)
                done += len(block)
                yield done, b""
            yield done, f"{self._shown(file)}\0{digest.hexdigest()}\n".encode("utf-8", "surrogateescape")

    def _shown(self, file: Path) -> str:
        return file.relative_to(self._path).as_posix()


class Unreadable(Source):
    """Data that cannot even be looked at; it has no digest, and the reason is told in its place."""

    def __init__(self, error: Exception) -> None:
        self._error = error
        self.types, self.total = {}, 1

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Nothing: raises what was raised before."""
        raise self._error


def is_arrow(value: Any) -> bool:
    """Whether it is an Arrow table or a Polars frame: neither is ever changed in place."""
    library, name = type(value).__module__.partition(".")[0], type(value).__name__
    return (library, name) in _TABLES


def arrow_table(value: Any) -> Any:
    """An Arrow table of what `is_arrow` knows; a lazy Polars frame is computed."""
    if hasattr(value, "collect"):
        value = value.collect()
    if type(value).__name__ == "RecordBatch":
        return importlib.import_module("pyarrow").Table.from_batches([value])
    return value.to_arrow() if hasattr(value, "to_arrow") else value


def source_of(value: Any, rows: Table | None) -> Source | None:
    """What the digest of a value is over; None if it is nothing that has one.

    Parameters
    ----------
    rows
        The same value, where it was recognised as rows.
    """
    if isinstance(value, str | os.PathLike):
        path = Path(value).expanduser()
        return Folder(path) if path.is_dir() else File(path) if path.is_file() else None
    if is_arrow(value):
        table = arrow_table(value)
        return Columns([_ArrowColumn(name, table.column(name)) for name in table.column_names], table.num_rows)
    if rows is None:
        return None
    if rows.form is Form.ARRAY:
        return Arrays({"": rows.value})
    if rows.form is Form.ARRAYS:
        return Arrays(dict(rows.value))
    return _Frame([_PandasColumn(name, column) for name, column in rows.columns()], len(rows))
