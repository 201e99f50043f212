"""What all pages share, and the one who looks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from xtalgrid_core.errors import ImagerError

from ..config import Config
from ..domain.images import ImageRow
from ..domain.log import log
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.plates import Counts, Inspection
from ..ledger.store import Ledger
from ..steps.new_crystals import NewCrystal
from .auth.authentication import GUEST, Doors, Visitor
from .auth.cookies import FORMS, new_word
from .auth.forms import check_form, read_form
from .cache.memory import Remembered
from .pages.index import PlateIndex
from .pages.maps import ClassMaps
from .pages.operations import Gauges
from .pages.pictures import Thumbnails
from .pages.scoring import Scoring, keys
from .rendering import renderer

_LARGEST_ID = 2**63 - 1
LARGEST_NUMBER = 2**31 - 1


class Site:
    """Everything that the pages of one configuration are made of."""

    def __init__(self, config: Config, ledger: Ledger, imager: ImagerDatabase) -> None:
        self.config, self.ledger, self.imager = config, ledger, imager
        self.doors = Doors(config, ledger)
        self.index = PlateIndex(ledger.plates)
        self.counts = Remembered[dict[Inspection, Counts]](ledger.plates)
        self.crystals = Remembered[list[NewCrystal]](ledger.plates)
        self.scoring = Scoring(config, ledger, imager)
        self.thumbnails = Thumbnails(config)
        self.maps = ClassMaps(config)
        self.gauges = Gauges(config, ledger, imager)
        self.keys = keys(config)
        self.render = renderer()
        self._row = lru_cache(maxsize=20_000)(self._read_row)  # the ledger's image rows never change

    def image(self, image_id: int) -> ImageRow:
        """The image of an id.

        Raises
        ------
        HTTPException
            404 when there is none.
        """
        return self._row(image_id)

    def _read_row(self, image_id: int) -> ImageRow:
        row = self.ledger.views.image(image_id) if 0 < image_id <= _LARGEST_ID else None
        if row is None:
            raise HTTPException(404, "There is no such image.")
        return row

    def mates(self, image: ImageRow) -> list[str]:
        """Names of an image's UV mates, as the imager database has them; none while it does not answer."""
        try:
            return [
                name for name in self.imager.mates(image.inspect_id, self.config.viewer.uv) if name != image.image_name
            ]
        except ImagerError as error:
            log.warning("viewer: no UV images: %s", error)
            return []


@dataclass(frozen=True, slots=True)
class Look:
    """One request: the site, and who looks."""

    site: Site
    request: Request
    visitor: Visitor

    def page(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """A page for this visitor, with the signature that its forms carry."""
        word = self.request.cookies.get(FORMS, "")
        is_new = not 20 <= len(word) <= 64
        word = new_word() if is_new else word
        text = self.site.render(
            template,
            visitor=self.visitor,
            form_token=self.site.doors.signer.form(word, self.visitor.name),
            has_sign_in=self.site.doors.has_form,
            here=self.address,
            keys=self.site.keys,
            **values,
        )
        answer = HTMLResponse(text, status)
        if is_new:
            answer.set_cookie(FORMS, word, httponly=True, samesite="strict", secure=self.site.config.viewer.https)
        return answer

    @property
    def address(self) -> str:
        """This page's address with its query."""
        raw = self.request.scope.get("raw_path") or self.request.url.path.encode()
        query = self.request.url.query
        return raw.decode("ascii", "replace") + (f"?{query}" if query else "")

    def check(self, form: Form, *, review: bool = False) -> None:
        """See that a form is ours, and that this visitor may change something.

        Raises
        ------
        HTTPException
            403 when one of the two is not so.
        """
        check_form(self.request, form.text("form_token"), self.visitor, self.site.doors.signer)
        if not self.visitor.may_score:
            raise HTTPException(403, "Guests look and change nothing: sign in first.")
        if review and not self.visitor.may_review:
            raise HTTPException(403, f"{self.visitor.name} may not approve or reject scores (viewer.reviewers).")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form that was sent."""

    fields: dict[str, list[str]]

    def text(self, name: str) -> str:
        """A field's first value, empty where there is none."""
        return self.fields.get(name, [""])[0]

    def numbers(self, name: str) -> list[int]:
        """A field's values that are ids."""
        return [int(v) for v in self.fields.get(name, []) if v.isascii() and v.isdigit() and len(v) <= 18]


class NotSignedIn(Exception):
    """Somebody who did not sign in asks for what guests are not shown."""


def _look(request: Request) -> Look:
    site: Site = request.app.state.site
    visitor = site.doors.visitor(request)
    if visitor == GUEST and not site.config.viewer.guests:
        raise NotSignedIn
    return Look(site, request, visitor)


def _look_at_door(request: Request) -> Look:
    site: Site = request.app.state.site
    return Look(site, request, site.doors.visitor(request))


async def _form(request: Request) -> Form:
    return Form(dict(await read_form(request)))


Looks = Annotated[Look, Depends(_look)]
"""Whoever may look at pages."""
AtDoor = Annotated[Look, Depends(_look_at_door)]
"""Anybody: for the sign-in page."""
Sent = Annotated[Form, Depends(_form)]


def to(address: str) -> RedirectResponse:
    """Go on to another page after a form."""
    return RedirectResponse(address, 303)


def download(data: bytes, kind: str, name: str) -> Response:
    """A file to keep; `name` may be anything a database holds."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in name)[:120]
    return Response(data, media_type=kind, headers={"Content-Disposition": f'attachment; filename="{safe}"'})


Values = dict[str, Any]
