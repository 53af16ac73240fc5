"""Names and references, parsed once at the face.

A full model name splits at its only dot: `dev-alice.churn`. A version is written `churn:3`, by alias `churn@champion`,
and with its zone `dev-alice.churn:3`. Endpoints are written `zone/endpoint`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from model_platform_core.errors import InvalidNameError, InvalidReferenceError

ZONE_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,28}[a-z0-9])?$"
ENDPOINT_PATTERN = ZONE_PATTERN
MODEL_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,59}$"
ALIAS_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,59}$"

_RULES = {
    "zone": (re.compile(ZONE_PATTERN), "lower-case letters, digits and -, at most 30 characters"),
    "endpoint": (re.compile(ENDPOINT_PATTERN), "lower-case letters, digits and -, at most 30 characters"),
    "model": (re.compile(MODEL_PATTERN), "letters, digits, - and _, no dot, at most 60 characters"),
    "alias": (re.compile(ALIAS_PATTERN), "a letter, then letters, digits, - and _, at most 60 characters"),
}


def check_name(kind: str, name: str) -> str:
    """Return `name` if it is a legal name of its kind (`zone`, `endpoint`, `model` or `alias`).

    Raises
    ------
    InvalidNameError
        Says the name and the rule.
    """
    pattern, rule = _RULES[kind]
    if not pattern.fullmatch(name):
        raise InvalidNameError(f"{name!r} is no name for {'an' if kind[0] in 'ae' else 'a'} {kind}: use {rule}.")
    return name


@dataclass(frozen=True, order=True)
class ModelRef:
    """A registered model; `zone` is None where the caller's own zone is meant."""

    zone: str | None
    name: str

    @classmethod
    def parse(cls, text: str) -> ModelRef:
        """Read `churn` or `dev-alice.churn`.

        Raises
        ------
        InvalidNameError
            If a part breaks the rule of its kind.
        """
        zone, dot, name = text.strip().rpartition(".")
        return cls(check_name("zone", zone) if dot else None, check_name("model", name))

    def within(self, zone: str) -> ModelRef:
        """The same model with its zone filled in where it was left out."""
        return self if self.zone else replace(self, zone=zone)

    def __str__(self) -> str:
        return f"{self.zone}.{self.name}" if self.zone else self.name


@dataclass(frozen=True, order=True)
class VersionRef:
    """A version by number, by alias, or (neither) the newest one of a model."""

    model: ModelRef
    version: int | None = None
    alias: str | None = None

    @classmethod
    def parse(cls, text: str) -> VersionRef:
        """Read `churn`, `churn:3`, `churn@champion`, each with or without a zone in front.

        Raises
        ------
        InvalidReferenceError
            If the text has another shape, or the version is no positive whole number.
        InvalidNameError
            If a name breaks its rule.
        """
        text = text.strip()
        if "@" in text and ":" in text:
            raise InvalidReferenceError(f"{text!r} names a version and an alias; write churn:3 or churn@champion.")
        if "@" in text:
            model, _, alias = text.partition("@")
            return cls(ModelRef.parse(model), alias=check_name("alias", alias))
        model, colon, number = text.partition(":")
        if not colon:
            return cls(ModelRef.parse(model))
        if not re.fullmatch(r"[1-9][0-9]{0,8}", number):
            raise InvalidReferenceError(f"{number!r} is no version of {model!r}; write a number, as in {model}:3.")
        return cls(ModelRef.parse(model), version=int(number))

    def within(self, zone: str) -> VersionRef:
        """The same reference with its zone filled in where it was left out."""
        return replace(self, model=self.model.within(zone))

    def __str__(self) -> str:
        suffix = f":{self.version}" if self.version else f"@{self.alias}" if self.alias else ""
        return f"{self.model}{suffix}"


@dataclass(frozen=True, order=True)
class EndpointRef:
    """An endpoint; `zone` is None where the caller's own zone is meant."""

    zone: str | None
    name: str

    @classmethod
    def parse(cls, text: str) -> EndpointRef:
        """Read `churn` or `dev-alice/churn`.

        Raises
        ------
        InvalidNameError
            If a part breaks the rule of its kind.
        """
        zone, slash, name = text.strip().rpartition("/")
        return cls(check_name("zone", zone) if slash else None, check_name("endpoint", name))

    def within(self, zone: str) -> EndpointRef:
        """The same endpoint with its zone filled in where it was left out."""
        return self if self.zone else replace(self, zone=zone)

    def __str__(self) -> str:
        return f"{self.zone}/{self.name}" if self.zone else self.name


def endpoint_name_for(model_name: str) -> str:
    """The endpoint's name that a model takes by itself: lower case, `-` for `_`, at most 30 characters.

    >>> endpoint_name_for("Churn_Model")
    'churn-model'
    """
    return check_name("endpoint", model_name.lower().replace("_", "-")[:30].strip("-"))
