"""`/api/openapi.json`: what the JSON addresses take and return, in OpenAPI; `/docs`: the same as a page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from fastapi import APIRouter, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse

from ..proxies import root_of
from ..site import AllowedRequest
from . import api, api_marks, api_scores

router = APIRouter()

_ROUTES = [*api.router.routes, *api_scores.router.routes, *api_marks.router.routes]
_SCHEME = "token"


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter of an address, or a field of what it returns; `default` is empty if there is none."""

    name: str
    kind: str
    text: str
    default: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """One address: its method, its parameters, and the objects in what it takes and returns, by name.

    `takes` is empty if it takes no body.
    """

    method: str
    path: str
    text: str
    parameters: list[Field]
    takes: str
    returns: str
    objects: dict[str, list[Field]]


@router.get("/api/openapi.json")
def openapi(request: Request) -> dict[str, Any]:
    """Describe the JSON addresses."""
    version, servers = metadata.version("xtalgrid"), [{"url": root_of(request) or "/"}]
    description = get_openapi(title="xtalgrid viewer", version=version, routes=_ROUTES, servers=servers)
    description["components"]["securitySchemes"] = {_SCHEME: {"type": "http", "scheme": "bearer"}}
    for methods in description["paths"].values():
        for method, about in methods.items():
            # Guests read too, where the lab lets them.
            about["security"] = [{_SCHEME: []}] if method != "get" else [{_SCHEME: []}, {}]
    return description


@router.get("/docs", response_class=HTMLResponse)
def docs(request: AllowedRequest) -> HTMLResponse:
    """Describe the JSON addresses for people who write programs."""
    return request.render("docs.html", addresses=list(_addresses(openapi(request.http))))


def _addresses(description: Mapping[str, Any]) -> Iterator[Address]:
    schemas = description.get("components", {}).get("schemas", {})
    for path, methods in description["paths"].items():
        for method, about in methods.items():
            returned = about["responses"]["200"]["content"]["application/json"]["schema"]
            parameters = [_field(each["name"], each["schema"], each) for each in about.get("parameters", ())]
            body = about.get("requestBody")
            taken = body["content"]["application/json"]["schema"] if body else {}
            objects = dict(_objects(taken, schemas)) | dict(_objects(returned, schemas))
            text, takes = about.get("description", ""), _kind(taken) if body else ""
            yield Address(method.upper(), path, text, parameters, takes, _kind(returned), objects)


def _objects(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[tuple[str, list[Field]]]:
    """Yield a schema's object and those inside of it."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        properties = schemas[name]["properties"]
        yield name, [_field(each, of, of) for each, of in properties.items()]
        for of in properties.values():
            yield from _objects(of, schemas)
    for inside in (schema.get("items"), *schema.get("anyOf", ())):
        if inside:
            yield from _objects(inside, schemas)


def _field(name: str, schema: Mapping[str, Any], about: Mapping[str, Any]) -> Field:
    default = schema.get("default")
    return Field(name, _kind(schema), about.get("description", ""), "" if default is None else str(default))


def _kind(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if "additionalProperties" in schema:
        return f"{_kind(schema['additionalProperties'])} by name"
    return str(schema.get("format") or schema.get("type", ""))
