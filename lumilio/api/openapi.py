"""The OpenAPI 3.1 document, made from the route table and the pydantic models."""

import inspect
import re
from collections.abc import Sequence
from typing import Any, assert_never

from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from lumilio import __version__
from lumilio.api.context import Access
from lumilio.api.routes import Files, Route
from lumilio.api.schemas import ProblemDocument

_REF = "#/components/schemas/{model}"
_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_JSON = "application/json"
_BINARY = {"type": "string", "format": "binary"}
FILE_HEADERS = {
    "X-Content-Hash": "BLAKE3 of the file, 64 hexadecimal digits: refused when the bytes differ",
    "X-File-Modified": "RFC 3339: when the file was last modified; outside 1678 to 2261 it counts as unknown",
}

DOCUMENT: web.AppKey[dict[str, Any]] = web.AppKey("openapi", dict)


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document as JSON-ready values."""
    models = {model for route in routes for model in _models(route)} | {ProblemDocument}
    ordered = sorted(models, key=lambda model: model.__name__)
    references, definitions = models_json_schema([(model, _mode(model)) for model in ordered], ref_template=_REF)
    names = {model: references[(model, _mode(model))] for model in ordered}
    paths: dict[str, Any] = {}
    for route in routes:
        path = _PARAMETER.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lumilio",
            "version": __version__,
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _mode(model: type[BaseModel]) -> Any:
    return "validation" if model.model_config.get("extra") == "forbid" else "serialization"


def _models(route: Route) -> list[type[BaseModel]]:
    found = [model for model in (route.body, route.query) if model is not None]
    return found + [
        model for model in route.answers.values() if isinstance(model, type) and issubclass(model, BaseModel)
    ]


def _operation(route: Route, names: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": (inspect.getdoc(route.handler) or "").split("\n\n")[0].replace("\n", " "),
        "x-access": route.access.value,
        "parameters": _parameters(route),
        "responses": {str(status): _answer(model, names) for status, model in route.answers.items()}
        | {
            "default": {
                "description": "A problem",
                "content": {"application/problem+json": {"schema": names[ProblemDocument]}},
            }
        },
    }
    if route.access is not Access.PUBLIC:
        operation["security"] = [{"bearer": []}]
    if route.multipart is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"multipart/form-data": {"schema": _multipart(route.multipart)}},
        }
    elif route.raw:
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": _BINARY}}}
    elif route.body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": names[route.body]}}}
    return operation


def _multipart(files: Files) -> dict[str, Any]:
    match files:
        case "one":
            file: dict[str, Any] = _BINARY
        case "many":
            told = "; ".join(f"{name}: {text}" for name, text in FILE_HEADERS.items())
            file = {"type": "array", "items": _BINARY, "description": f"Headers that each part may have: {told}"}
        case _:
            assert_never(files)
    return {
        "type": "object",
        "required": ["file"],
        "properties": {"repository_id": {"type": "string", "format": "uuid"}, "file": file},
    }


def _parameters(route: Route) -> list[dict[str, Any]]:
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(route.path)
    ]
    if route.query is not None:
        schema = route.query.model_json_schema(mode="validation")
        required = schema.get("required", [])
        for name, field in schema["properties"].items():
            parameters.append(
                {"name": name, "in": "query", "required": name in required, "schema": _inlined(field, schema)}
            )
    parameters += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in route.headers.items()
    ]
    return parameters


def _inlined(field: Any, schema: dict[str, Any]) -> Any:
    if isinstance(field, dict):
        if "$ref" in field:
            return schema["$defs"][field["$ref"].rsplit("/", 1)[-1]]
        return {key: _inlined(value, schema) for key, value in field.items()}
    if isinstance(field, list):
        return [_inlined(item, schema) for item in field]
    return field


def _answer(model: type[BaseModel] | str | None, names: dict[Any, Any]) -> dict[str, Any]:
    if model is None:
        return {"description": "Done"}
    if isinstance(model, str):
        return {"description": "The bytes", "content": {model: {"schema": _schema_of_media(model)}}}
    summary = (inspect.getdoc(model) or "").replace("\n", " ")
    return {"description": summary, "content": {_JSON: {"schema": names[model]}}}


def _schema_of_media(media_type: str) -> dict[str, Any]:
    if media_type == _JSON:
        return {"type": "object"}
    return {"type": "string"} if media_type.startswith("text/") else _BINARY


async def openapi_document(request: web.Request) -> web.Response:
    """This document."""
    return web.json_response(request.app[DOCUMENT])
