"""The page for people at the endpoint's own address: one file, no scripts, nothing loaded from elsewhere."""

import json
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from model_platform_runner.documents.describe import (
    Interface,
    Schema,
    entry_schema,
    json_type,
    notes,
    seen_in_training,
    type_name,
)
from model_platform_runner.documents.errors import ERRORS
from model_platform_runner.documents.snippets import snippets
from model_platform_runner.inputs import Field, NamedColumns, UnnamedColumn
from model_platform_runner.tensors import Tensors

_TEMPLATE = Template((Path(__file__).parent / "page.html").read_text(encoding="utf-8"))
_LANGUAGES = {"curl": "curl", "python": "Python", "javascript": "JavaScript", "java": "Java"}
_MIB = 1024 * 1024


def page(interface: Interface) -> str:
    """Return the page as HTML; everything that comes from a model is escaped."""
    config = interface.config
    values = {
        "endpoint": config.endpoint,
        "model": config.model,
        "version": config.version,
        "url": config.url,
        "access": _access(interface),
    }
    limits = config.limits
    parts = {
        "fields": _fields(interface),
        "answers": _answers(interface.answer_schema),
        "example": _example(interface),
        "calls": _calls(interface),
        "errors": _rows([[str(status), _code(code), escape(text)] for status, code, text in ERRORS]),
        "limits": _rows(
            [
                ["Body", f"{limits.body_bytes / _MIB:g} MiB"],
                ["Rows in a call", f"{limits.rows:,}"],
                ["Time for a call", f"{limits.seconds:g} s"],
                ["Calls at once", f"{limits.concurrent:,}"],
            ]
        ),
        "protocols": _protocols(interface),
    }
    return _TEMPLATE.substitute({name: escape(text) for name, text in values.items()}, **parts)


def _access(interface: Interface) -> str:
    if interface.config.access == "open":
        return "Whoever reaches this address may call it."
    return "Calls need a token: Authorization: Bearer …"


def _fields(interface: Interface) -> str:
    contract = interface.contract
    if isinstance(contract, NamedColumns):
        rows = [[_code(each.name), *_field(each, interface.seen.get(each.name, {}))] for each in contract.fields]
        return _table(["Field", "Type", "", "In training"], rows)
    if isinstance(contract, UnnamedColumn):
        kind, may_be_null, _ = _field(contract.field, {})
        return f"<p>A list; each row is one {kind} ({may_be_null}).</p>"
    if isinstance(contract, Tensors):
        return _arrays(contract)
    shape = json.dumps(interface.row_schema, indent=2, ensure_ascii=False)
    return f"<p>A list of rows; each row is a value of this JSON Schema:</p>{_block(shape)}"


def _field(field: Field, seen: dict[str, Any]) -> list[str]:
    told = "; ".join([seen_in_training(seen)] * bool(seen_in_training(seen)) + notes(field))
    return [escape(type_name(field)), "required" if field.required else "may be null", escape(told) or "–"]


def _arrays(contract: Tensors) -> str:
    """Return what each array holds in a row: its first axis counts the rows."""
    rows = []
    for each in contract.tensors:
        sizes = " × ".join("any" if size < 0 else str(size) for size in each.shape[1:])
        rows.append([sizes or "one value", escape(json_type(entry_schema(each)))])
    if not contract.tensors[0].name:
        (only,) = rows
        return f"<p>A list of rows; each row is a nested list.</p>{_table(['Shape of a row', 'Of'], [only])}"
    named = [[_code(each.name), *row] for each, row in zip(contract.tensors, rows, strict=True)]
    return f"<p>Each row is an object of nested lists.</p>{_table(['Field', 'Shape', 'Of'], named)}"


def _answers(schema: Schema) -> str:
    properties = schema.get("properties")
    if not properties:
        return "<p>One answer per row.</p>"
    return _table(["Field", "Type"], [[_code(name), escape(json_type(each))] for name, each in properties.items()])


def _example(interface: Interface) -> str:
    request = json.dumps(interface.example, indent=2, ensure_ascii=False)
    if interface.answer is None:
        return _block(request)
    response = json.dumps(interface.answer, indent=2, ensure_ascii=False)
    return f"{_block(request)}<p>is answered with</p>{_block(response)}"


def _calls(interface: Interface) -> str:
    texts = snippets(interface.config.url, interface.example, token=interface.config.access == "token")
    return "".join(
        f"<details{' open' if name == 'curl' else ''}><summary>{_LANGUAGES[name]}</summary>{_block(text)}</details>"
        for name, text in texts.items()
    )


def _protocols(interface: Interface) -> str:
    name = interface.config.endpoint
    return _rows(
        [
            [_code("POST /"), "a list of records in, a list of records out; one record in, one record out"],
            [_code(f"POST /v1/models/{name}:predict"), "KServe V1"],
            [_code(f"POST /v2/models/{name}/infer"), "Open Inference Protocol (V2)"],
            [_code("POST /invocations"), "MLflow scoring: dataframe_split, dataframe_records, instances, inputs, CSV"],
        ]
    )


def _table(heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f'<th scope="col">{text or "<span class=hidden>Null</span>"}</th>' for text in heads)
    return f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{_rows(rows)}</tbody></table></div>'


def _rows(rows: list[list[str]]) -> str:
    """Return table rows of cells that are HTML already."""
    return "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>' for first, *rest in rows
    )


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _block(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'
