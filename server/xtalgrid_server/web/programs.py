"""Requests of programs that change something: JSON of a bounded size, sent with a token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
from fastapi import Depends, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

from xtalgrid_core.lines import one_line

from ..ledger.tokens import Token
from .site import PageRequest, Site, as_person, check_address

MAX_BYTES = 64 * 1024

HOW_TO_SEND = (
    "Send a token in the header Authorization: Bearer xtalgrid_…, never in the address. People make tokens at /tokens "
    "in the viewer, and operators with `xtalgrid token add NAME`."
)

_MOST_PROBLEMS = 5


class Problem(BaseModel):
    """Why a request was refused; `text` says what to do."""

    title: str = Field(examples=["Please sign in"])
    text: str


Responses = dict[int | str, dict[str, Any]]


def _refusals(**descriptions: str) -> Responses:
    return {int(status[1:]): {"model": Problem, "description": text} for status, text in descriptions.items()}


READ_REFUSALS = _refusals(
    _401="Without a token that works, where one is needed",
    _421="The host name is not the viewer's",
    _422="Not as described here",
    _429="Too many wrong tokens; see Retry-After",
    _503="The ledger does not respond, or the viewer has too much to do; see Retry-After",
)
NOT_FOUND = _refusals(_404="There is none")
WRITE_REFUSALS = READ_REFUSALS | _refusals(
    _400="The body is not JSON",
    _403="The token only reads",
    _413=f"The body is larger than {MAX_BYTES // 1024} kB",
    _415="The body is not said to be JSON",
)


@dataclass(frozen=True, slots=True)
class Program:
    """A program that sends a person's token. It sees what the person sees: `asked` is its request as theirs."""

    token: Token
    asked: PageRequest

    @property
    def site(self) -> Site:
        """The site that it asks."""
        return self.asked.site

    @property
    def client(self) -> str:
        """Address of its computer."""
        return self.asked.client

    @property
    def who(self) -> str:
        """The person's name."""
        return self.token.who

    @property
    def session(self) -> str:
        """The name of its scores' session in the ledger, which no browser has."""
        return self.site.authentication.signer.browser(f"token {self.token.id}")

    def key(self, *parts: str) -> str:
        """Return what the ledger calls what this person's programs call so; no browser's key can be the same."""
        return hashlib.sha256(msgspec.json.encode(("program", self.who, *parts))).hexdigest()[:32]


def _sender(request: Request) -> Program:
    site: Site = request.app.state.site
    token = site.authentication.tokens.of(request)
    if token is None:
        raise HTTPException(401, HOW_TO_SEND, {"WWW-Authenticate": "Bearer"})
    return Program(token, as_person(request, token))


Sender = Annotated[Program, Depends(_sender)]


def _any_program(program: Sender) -> Program:
    check_address(program.asked)
    return program


def _scoring_program(program: Sender) -> Program:
    if program.token.scope != "score":
        text = f"The token {program.token.label!r} only reads. Make one that scores, at /tokens in the viewer."
        raise HTTPException(403, text)
    check_address(program.asked)
    return program


AnyProgram = Annotated[Program, Depends(_any_program)]
"""A request with a token, whose person may see what the address names."""
ScoringProgram = Annotated[Program, Depends(_scoring_program)]
"""The same with a token that may score. A browser's cookies give no right here, so other sites' pages have none."""


class JSONRoute(APIRoute):
    """A route whose body is JSON of at most `MAX_BYTES`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler of a request."""
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            body = b""
            async for part in request.stream():
                body += part
                if len(body) > MAX_BYTES:
                    raise HTTPException(413, f"Send at most {MAX_BYTES // 1024} kB at a time.")
            kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if body and kind != "application/json":
                raise HTTPException(415, "Send JSON, with the header Content-Type: application/json.")
            request._body = body  # where starlette keeps a body that was read
            return await handle(request)

        return bounded


def validation_text(error: RequestValidationError) -> str:
    """Say in a line what is wrong with a request, and where."""
    problems = error.errors()
    said = [f"{_place(one['loc'])}: {one['msg'].removeprefix('Value error, ')}" for one in problems[:_MOST_PROBLEMS]]
    more = len(problems) - len(said)
    text = "; ".join(said) + (f"; and {more} more" if more > 0 else "")
    return one_line(f"Nothing was done. {text} (/docs describes every field).")[:2000]


def _place(loc: tuple[str | int, ...]) -> str:
    """Return where a problem is, such as ``scores.0.key``; of a parameter, its name."""
    return ".".join(str(part) for part in loc[1:]) or str(loc[0])
