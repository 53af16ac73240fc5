"""What an MLflow model directory says about its model: flavours, signature, and what publish noted for the runner."""

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from model_platform_runner.errors import StartError

_METADATA_SCHEMA = 1

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the former, where it is there, takes a tenth of the time


@dataclass(frozen=True)
class Rows:
    """How the notebook held its rows: the form, each column (by name; ``""`` where it has none), the index.

    ``index`` names the columns of a call that make up the index, ``index_names`` their names there if they differ;
    ``labels`` are the columns' own labels where they are more than texts; ``name`` is that of a Series.
    """

    form: str
    columns: dict[str, dict[str, Any]]
    index: tuple[str, ...] = ()
    index_names: tuple[str | None, ...] | None = None
    frequency: str | None = None
    labels: list[Any] | None = None
    labels_names: list[str | None] | None = None
    name: str | None = None


@dataclass(frozen=True)
class Published:
    """The ``model_platform`` part of MLmodel's metadata; the defaults stand for a plain MLflow registration."""

    answers: str | None = None
    rows_independent: bool = False
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    output_names: tuple[str, ...] | None = None
    classes: tuple[Any, ...] | None = None
    answer_kind: str | None = None
    rows: Rows | None = None
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
    project: dict[str, Any] | None = None
    code: dict[str, Any] | None = None


def read_description(directory: Path) -> Description:
    """Read the MLmodel file of a directory.

    Raises
    ------
    StartError
        ``failed_start``: the file is not a usable MLmodel, or was published for another generation of runners.
    """
    try:
        document = yaml.load((directory / "MLmodel").read_bytes(), _Loader)  # noqa: S506 - either of them is a safe one
        signature = document.get("signature") or {}
        published = (document.get("metadata") or {}).get("model_platform") or {}
        return Description(
            directory=directory,
            flavors=document["flavors"],
            inputs=_parsed(signature.get("inputs")),
            outputs=_parsed(signature.get("outputs")),
            params=_parsed(signature.get("params")),
            from_type_hint=bool(document.get("is_signature_from_type_hint")),
            published=_published(published),
            project=published.get("project"),
            code=published.get("code"),
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
        answer_kind=document.get("answer_kind"),
        rows=_rows(document.get("rows")),
        example=document.get("example"),
    )


def _rows(document: dict[str, Any] | None) -> Rows | None:
    if document is None:
        return None
    known = {each.name for each in fields(Rows)}
    given = {name: value for name, value in document.items() if name in known}
    for name in ("index", "index_names"):
        if given.get(name) is not None:
            given[name] = tuple(given[name])
    return Rows(**given)


def _names(values: list[Any] | None) -> tuple[Any, ...] | None:
    return None if values is None else tuple(values)
