"""What an MLflow model directory says about its model: flavours, signature, and what publish noted for the runner."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from model_platform_runner.errors import StartError

_METADATA_SCHEMA = 1


@dataclass(frozen=True)
class Published:
    """The ``model_platform`` part of MLmodel's metadata; the defaults stand for a plain MLflow registration."""

    answers: str | None = None
    rows_independent: bool = False
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    output_names: tuple[str, ...] | None = None
    classes: tuple[Any, ...] | None = None
    example: list[Any] | None = None


@dataclass(frozen=True)
class Description:
    """An MLmodel file. The signature's parts are MLflow's own JSON, parsed; each is None where there is none."""

    directory: Path
    flavors: dict[str, dict[str, Any]]
    inputs: list[dict[str, Any]] | None
    outputs: list[dict[str, Any]] | None
    params: list[dict[str, Any]] | None
    from_type_hint: bool
    published: Published


def read_description(directory: Path) -> Description:
    """Read the MLmodel file of a directory.

    Raises
    ------
    StartError
        ``failed_start``: the file is not a usable MLmodel, or was published for another generation of runners.
    """
    try:
        document = yaml.safe_load((directory / "MLmodel").read_bytes())
        signature = document.get("signature") or {}
        return Description(
            directory=directory,
            flavors=document["flavors"],
            inputs=_parsed(signature.get("inputs")),
            outputs=_parsed(signature.get("outputs")),
            params=_parsed(signature.get("params")),
            from_type_hint=bool(document.get("is_signature_from_type_hint")),
            published=_published((document.get("metadata") or {}).get("model_platform") or {}),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise StartError("failed_start", f"MLmodel cannot be used ({type(error).__name__}).") from error


def _parsed(part: str | None) -> list[dict[str, Any]] | None:
    return None if part is None else json.loads(part)


def _published(document: dict[str, Any]) -> Published:
    if document.get("schema", _METADATA_SCHEMA) != _METADATA_SCHEMA:
        raise StartError("failed_start", "This version was published for another generation of runners.")
    return Published(
        answers=document.get("answers"),
        rows_independent=bool(document.get("rows_independent")),
        inputs=document.get("inputs") or {},
        output_names=_names(document.get("output_names")),
        classes=_names(document.get("classes")),
        example=document.get("example"),
    )


def _names(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
