"""The proof that a quicker way to answer is the model's own: on rows whose answers are known.

Publish kept rows of the notebook with the model's answers (``model_platform/parity.json``). A way serves only if it
gives these answers, within the tolerance with which the platform compares an endpoint with its notebook, and also what
the model gives here and now: to all rows together, to each alone, and to rows made from them in which values are
missing, unknown or extreme. What it leaves to the model is no objection, as long as it answers something.
"""

import contextlib
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from model_platform_runner.answers import Answers, answers_from, encode
from model_platform_runner.batch import Batch, join
from model_platform_runner.compiled import Fast
from model_platform_runner.errors import CallError
from model_platform_runner.inputs import NamedColumns
from model_platform_runner.predictor import Predictor
from model_platform_runner.values import Array

_FILE = "model_platform/parity.json"
_TOLERANCES = {"float64": (1e-9, 1e-12), "float32": (1e-4, 1e-6), "float16": (1e-2, 1e-3)}
_ASKED_ALONE = 3  # rows that the model itself is asked one by one: slow ones are told from quick ones by publish
_EXTREMES = (0.0, -1.0, 1e6, -1e-6)
_DIFFERS_VARIED = "It differs from the model on rows made from the sample."
_UNKNOWN = "\N{REPLACEMENT CHARACTER}?"


@dataclass(frozen=True)
class Sample:
    """Rows as an application would send them, the notebook's answers, and the dtype of each output."""

    records: list[Any]
    answers: list[Any]
    dtypes: dict[str, str]


def read_sample(directory: Path) -> Sample | None:
    """Return the sample of a version; None if there is none that proves anything."""
    try:
        document = orjson.loads((directory / _FILE).read_bytes())
        sample = Sample(document["records"], document["answers"], document.get("dtypes") or {})
        proves = document.get("deterministic", True) and not document.get("not_proven")
        return sample if proves and sample.records and len(sample.records) == len(sample.answers) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def objection(predictor: Predictor, fast: Fast, sample: Sample, *, exact: bool) -> str | None:
    """Return why a way to answer may not serve, as a short sentence; None if it has proven itself.

    Parameters
    ----------
    predictor
        The model's own way.
    exact
        Floats must be equal to the last bit.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about made-up rows, which nobody has sent
            return _Proof(predictor, fast, exact).objection(sample)
    except CallError:
        return "The sample does not fit the signature."
    except Exception as error:  # noqa: BLE001 - whatever it raises, it does not serve
        return f"It failed on the sample: {type(error).__name__}."


@dataclass(frozen=True)
class _Proof:
    predictor: Predictor
    fast: Fast
    exact: bool

    def objection(self, sample: Sample) -> str | None:
        whole = self._read(sample.records)
        own, found = self._own(whole), self.fast(whole)
        if found is None:
            return "It leaves the sample to the model."
        if not self._same(own, found):
            return "It differs from the model on the sample."
        if not _published(self._answers(found, whole), sample):
            return "It differs from the sample's answers."
        for row, record in enumerate(sample.records):
            alone = self._read([record])
            found = self.fast(alone)
            if found is None:
                continue
            if not self._same(own[row : row + 1], found) or (
                row < _ASKED_ALONE and not self._same(self._own(alone), found)
            ):
                return "It differs from the model on single rows."
        return self._objection_to_variations(sample)

    def _objection_to_variations(self, sample: Sample) -> str | None:
        """Compare on made-up rows; those that the model refuses, the quicker way must leave to it."""
        if not isinstance(self.predictor.contract, NamedColumns):
            return None
        variations = _variations(self.predictor.contract, sample.records)
        if not variations:
            return None
        together = join(variations)
        with contextlib.suppress(Exception):  # the model refuses some of them
            own, found = self._own(together), self.fast(together)
            if found is not None:
                return None if self._same(own, found) else _DIFFERS_VARIED
        for varied in variations:
            found = self.fast(varied)
            try:
                own = self._own(varied)
            except Exception:  # noqa: BLE001 - whatever it says, it is no answer
                if found is not None:
                    return "It answers where the model refuses."
                continue
            if found is not None and not self._same(own, found):
                return _DIFFERS_VARIED
        return None

    def _read(self, records: list[Any]) -> Batch:
        return self.predictor.contract.read_rows(records)

    def _own(self, batch: Batch) -> Any:
        return self.predictor.call(self.predictor.prepare(batch), None)

    def _answers(self, result: Array, batch: Batch) -> Answers:
        predictor = self.predictor
        return answers_from(result, predictor.output_names, rows=batch.rows, as_outputs=predictor.as_outputs)

    def _same(self, own: Any, found: Array) -> bool:
        if type(own) is not np.ndarray or (own.dtype, own.shape) != (found.dtype, found.shape):
            return False
        if own.dtype.kind != "f" or self.exact:
            return bool(np.array_equal(own, found, equal_nan=own.dtype.kind == "f"))
        relative, absolute = _TOLERANCES.get(own.dtype.name, (0.0, 0.0))
        return bool(np.allclose(found, own, rtol=relative, atol=absolute, equal_nan=True))


def _variations(contract: NamedColumns, records: Sequence[Any]) -> list[Batch]:
    """Batches like the sample, each with one column in which other values stand."""
    names = [each.name for each in contract.fields]
    rows = [record if isinstance(record, dict) else dict(zip(names, record, strict=True)) for record in records]
    found = []
    for field in contract.fields:
        others: list[list[Any]] = [[None]] if not field.required else []
        if field.type == "string":
            others.append([_UNKNOWN])
        elif field.type in ("double", "float"):
            others.append(list(_EXTREMES))
        elif field.type in ("long", "integer"):
            others.append([0, 1, 100])
        for values in others:
            varied = [{**row, field.name: values[at % len(values)]} for at, row in enumerate(rows)]
            try:
                batch = contract.read_rows(varied)
                batch.read()
                found.append(batch)
            except CallError:  # a category that the contract itself refuses, a number beyond a dtype's bounds
                continue
    return found


def _published(answers: Answers, sample: Sample) -> bool:
    """Whether these are the notebook's answers, as the plain call writes them."""
    written = orjson.loads(encode(answers.records()))
    return len(written) == len(sample.answers) and all(
        isinstance(got, dict)
        and got.keys() == expected.keys()
        and all(_alike(value, got[name], sample.dtypes.get(name, "")) for name, value in expected.items())
        for expected, got in zip(sample.answers, written, strict=True)
    )


def _alike(expected: Any, got: Any, dtype: str) -> bool:
    """As the platform compares an endpoint's answer with its notebook's."""
    if isinstance(expected, list) and isinstance(got, list):
        return len(expected) == len(got) and all(_alike(*pair, dtype) for pair in zip(expected, got, strict=True))
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(_alike(value, got[key], dtype) for key, value in expected.items())
    if not (_is_number(expected) and _is_number(got)):
        return type(expected) is type(got) and bool(expected == got)
    if isinstance(expected, int) and isinstance(got, int):
        return expected == got
    if dtype in ("", "object") and isinstance(expected, float):
        dtype = "float64"
    relative, absolute = _TOLERANCES.get(dtype, (0.0, 0.0))
    difference = abs(expected - got)
    return math.isfinite(difference) and difference <= relative * abs(expected) + absolute


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
