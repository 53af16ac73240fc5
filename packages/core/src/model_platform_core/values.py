"""The base of all values, and the small types that several concepts share."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Identifier = Annotated[str, Field(min_length=1, max_length=200)]


class Value(BaseModel):
    """A frozen value; unknown fields are refused, so that a misspelt one is told and not lost.

    Numbers are finite: infinity and not-a-number are no JSON, and would be found only when the value is to be kept.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True, allow_inf_nan=False)


class Observed(BaseModel):
    """A value that is read from elsewhere: fields that a newer writer added are left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def canonical_json(value: object) -> str:
    """Sorted keys, no spaces, UTF-8: the same value gives the same text on every machine.

    Source: RFC 8785 in spirit; numbers are written as Python's `json` writes them.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_of(value: object) -> str:
    """`sha256:…` of the canonical JSON of a value."""
    return "sha256:" + hashlib.sha256(canonical_json(value).encode()).hexdigest()
