"""The API's description in OpenAPI 3.1, from the same table that serves it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from walle_deploy.server.answers import Problem
from walle_deploy.server.api.routing import PLACES, PREFIX, Operation

_JSON = "application/json"
_REFUSALS = {
    400: "what was sent cannot be used",
    401: "the token is missing or is none",
    403: "the token's role may not do this",
    404: "there is no such thing",
    405: "the method is not allowed",
    409: "it does not fit to what is there",
    413: "it is too large",
    415: "it is of another kind than JSON",
    429: "too often; see Retry-After",
    503: "not now; see Retry-After",
}


def describe(operations: Iterable[Operation]) -> dict[str, Any]:
    """The document."""
    table = list(operations)
    types = [kind for op in table for kind in (op.body, op.query, op.returns) if kind is not None]
    _, components = msgspec.json.schema_components(
        [*types, Problem], ref_template="#/components/schemas/{name}"
    )
    paths: dict[str, Any] = {}
    for operation in table:
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "walle deploy",
            "version": "1",
            "description": "Tasks, versions, releases and devices.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _described(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Takes the right to {operation.right}.",
        "parameters": [*_places(operation), *_query(operation)],
        "responses": _responses(operation),
    }
    if operation.body is not None:
        made["requestBody"] = {"required": True, "content": {_JSON: {"schema": _schema(operation.body)}}}
    elif operation.name == "put_file":
        made["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": {}}}}
    return made


def _places(operation: Operation) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _schema(PLACES[name])}
        for name in operation.places
    ]


def _query(operation: Operation) -> list[dict[str, Any]]:
    if operation.query is None:
        return []
    return [
        {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "schema": _schema(field.type),
        }
        for field in msgspec.structs.fields(operation.query)
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if operation.returns is not None:
        made[str(operation.status)] = {
            "description": "done", "content": {_JSON: {"schema": _schema(operation.returns)}},
        }  # fmt: skip
        if type(None) in getattr(operation.returns, "__args__", ()):
            made["204"] = {"description": "nothing is to be done"}
    elif operation.name == "events":
        made["200"] = {"description": "lines as they come", "content": {"text/event-stream": {"schema": {}}}}
    elif operation.name == "put_file":
        made["200"] = made["201"] = {
            "description": "kept",
            "content": {_JSON: {"schema": {"type": "object"}}},
        }
    else:
        made[str(operation.status)] = {"description": "done"}
    problem = {_JSON: {"schema": _schema(Problem)}}
    for status, what in _REFUSALS.items():
        made[str(status)] = {"description": what, "content": problem}
    return made


def _schema(kind: Any) -> dict[str, Any]:
    (found,), _ = msgspec.json.schema_components([kind], ref_template="#/components/schemas/{name}")
    return dict(found)
