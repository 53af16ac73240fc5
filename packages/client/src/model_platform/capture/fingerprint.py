"""The fingerprint of a data set: one digest over its full content. The data itself stays where it is.

The definition, so that anybody can compute it again. SHA-256 over, one after the other:

1. a header: canonical JSON (sorted keys, no spaces, UTF-8) of `{"columns": [[name, kind], …], "rows": n}` and a zero
   byte; for arrays `{"dtype": "float64", "shape": [...]}`;
2. every column in its order, as one byte for each row (1 where the value is missing) followed by its values, all
   little-endian and row after row, by kind:
   - `boolean`: one byte; `integer`: int64 (uint64 where unsigned); `float`: float64; `date`: int64, microseconds since
     1970 (UTC where there is a time zone); missing values count as 0;
   - `text`: int64 with the number of code points of each value, then all values together in UTF-8; a missing one is
     empty;
   - `other`: as text, each value's canonical JSON, or its `repr` where JSON knows no such value.
   Categories count as the values they stand for. The index does not count.
3. for arrays: the values in C order.

So neither the version of pandas nor how it stores a column changes the digest of the same values.
"""

from __future__ import annotations

import hashlib
import importlib
from typing import Any

from model_platform.capture.plain_values import plain_value
from model_platform.capture.table import Form, Table
from model_platform_core.lineage import DataFingerprint
from model_platform_core.values import canonical_json


def fingerprint(name: str, rows: Table) -> DataFingerprint:
    """The fingerprint of rows under a name."""
    digest = hashlib.sha256()
    if rows.form is Form.ARRAY:
        _add_array(digest, rows.value)
    else:
        _add_frame(digest, rows.frame())
    return DataFingerprint(name=name, sha256=f"sha256:{digest.hexdigest()}", rows=len(rows), columns=rows.width)


def _add_array(digest: Any, array: Any) -> None:
    numpy = importlib.import_module("numpy")
    text = array.dtype.kind in "OSUT"
    dtype = "text" if text else array.dtype.newbyteorder("=").name
    digest.update(canonical_json({"dtype": dtype, "shape": list(array.shape)}).encode() + b"\0")
    if text:
        _add_texts(digest, numpy, [_as_text(value) for value in array.ravel().tolist()])
    else:
        digest.update(numpy.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes())


def _add_frame(digest: Any, frame: Any) -> None:
    numpy = importlib.import_module("numpy")
    columns = [(str(name), _plain_column(frame.iloc[:, at])) for at, name in enumerate(frame.columns)]
    header = {"columns": [[name, _kind(column)] for name, column in columns], "rows": len(frame)}
    digest.update(canonical_json(header).encode() + b"\0")
    for _, column in columns:
        missing = column.isna().to_numpy()
        digest.update(missing.astype("u1").tobytes())
        _add_values(digest, numpy, column, missing)


def _plain_column(column: Any) -> Any:
    """Categories as the values they stand for."""
    return column.astype(column.dtype.categories.dtype) if hasattr(column.dtype, "categories") else column


def _kind(column: Any) -> str:
    kind = getattr(column.dtype, "kind", "O")
    known = {"b": "boolean", "i": "integer", "u": "integer", "f": "float", "M": "date"}
    if kind in known:
        return known[kind]
    return "text" if all(isinstance(value, str) for value in column.dropna()) else "other"


def _add_values(digest: Any, numpy: Any, column: Any, missing: Any) -> None:
    kind = getattr(column.dtype, "kind", "O")
    if kind in "biuf":
        filled = column.fillna(0) if missing.any() else column
        as_bytes = {"b": "u1", "i": "<i8", "u": "<u8", "f": "<f8"}[kind]
        digest.update(filled.to_numpy(dtype=as_bytes).tobytes())
    elif kind == "M":
        utc = column.dt.tz_convert("UTC").dt.tz_localize(None) if column.dt.tz is not None else column
        micros = utc.to_numpy().astype("datetime64[us]").astype("<i8")
        digest.update(numpy.where(missing, 0, micros).astype("<i8").tobytes())
    else:
        values = zip(column.tolist(), missing.tolist(), strict=True)
        _add_texts(digest, numpy, ["" if gone else _as_text(value) for value, gone in values])


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return canonical_json(plain_value(value))
    except TypeError:
        return repr(value)


def _add_texts(digest: Any, numpy: Any, texts: list[str]) -> None:
    digest.update(numpy.fromiter(map(len, texts), dtype="<i8", count=len(texts)).tobytes())
    digest.update("".join(texts).encode("utf-8", "surrogatepass"))
