"""What all pages share, and the request that a page answers."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Protocol, TypedDict, TypeVar
from urllib.parse import quote, urlsplit

from fastapi import Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from xtalgrid_core.errors import Busy, ImagerError

from ..config import Config
from ..domain.images import ImageRow
from ..domain.light import Mate
from ..imager.crystaltrak.database import ImagerDatabase
from ..ledger.corrections import Correction
from ..ledger.plates import Inspection
from ..ledger.shapes import ScoredImage
from ..ledger.store import Ledger
from ..ledger.tokens import Token
from ..reports.fluorescence import CrystalInUV, in_uv
from ..steps.new_crystals import NewCrystal
from ..steps.visibility import Sight, Visibility
from ..storage.access_log import AccessLog
from .auth.authentication import GUEST, Authentication, Visitor
from .auth.cookies import FORMS, new_nonce, read_cookie
from .auth.forms import check_form, local_address, read_form
from .cache.imager import ImagerQuestions
from .cache.memory import MemoryCache
from .pages.alignment import Alignments
from .pages.conditions import Searches
from .pages.counts import PlateCounts
from .pages.index import PlateEntry, PlateIndex
from .pages.maps import ClassMaps
from .pages.marking import Marking
from .pages.operations import PipelineMonitor
from .pages.pictures import Thumbnails
from .pages.scoring import PersonScoring, score_keys
from .picture_pool import PicturePool
from .proxies import reached, root_of
from .rendering import renderer
from .threads import FileThreads

_LARGEST_ID = 2**63 - 1
LARGEST_NUMBER = 2**31 - 1

_ROW_SECONDS = 15.0
"""For how long the row of an image is remembered: once corrected, it has another plate, which other people see."""

_IN_UV = 2_000
"""Scores whose crystals' UV images are remembered; looking at one takes some tenths of a second."""


class OfPlate(Protocol):
    """An image, or anything else of one plate."""

    @property
    def barcode(self) -> str:
        """The plate's barcode."""


P = TypeVar("P", bound=OfPlate)


class Site:
    """Everything that the pages of one configuration need.

    `all_plates` and `any_image` know what not everybody may see: pages ask `PageRequest` instead.
    """

    def __init__(self, config: Config, ledger: Ledger, imager: ImagerDatabase) -> None:
        self.config, self.ledger, self.imager = config, ledger, imager
        self.questions = ImagerQuestions(imager)
        self.authentication = Authentication(config, ledger)
        self.access_log = AccessLog(config)
        self.visibility = Visibility(config, ledger)
        self.all_plates = PlateIndex(ledger.plates)
        self.counts = MemoryCache[dict[Inspection, PlateCounts]](ledger.plates)
        self.hurried = MemoryCache[list[tuple[Correction, int]]](ledger.plates)
        self.searches = Searches(ledger)
        self.crystals = MemoryCache[list[NewCrystal]](ledger.plates)
        self.scoring = PersonScoring(config, ledger, imager, self.questions, self.access_log)
        self.files = FileThreads()
        self.marking = Marking(config, ledger, self.access_log, self.files)
        self.pictures = PicturePool(config.viewer.map_processes)
        self.thumbnails = Thumbnails(config)
        self.maps = ClassMaps(config)
        self.alignments = Alignments(config)
        self.monitor = PipelineMonitor(config, ledger, imager, self.questions)
        self.keys = score_keys(config)
        self.render = renderer()
        self._in_uv: dict[tuple[int, tuple[str, ...]], CrystalInUV | None] = {}
        self._row = lru_cache(maxsize=20_000)(self._read_row)

    @property
    def has_notifications(self) -> bool:
        """Whether people can have themselves told of new crystals."""
        alerts = self.config.alerts
        return bool(alerts.smtp_host and alerts.domains) or self.config.webhooks.people

    def any_image(self, image_id: int) -> ImageRow:
        """Return an image by its id, whoever may see it.

        Raises
        ------
        HTTPException
            404 if there is none.
        """
        return self._row(image_id, int(time.monotonic() / _ROW_SECONDS))

    def _read_row(self, image_id: int, _: int) -> ImageRow:
        row = self.ledger.images.row(image_id) if 0 < image_id <= _LARGEST_ID else None
        if row is None:
            raise no_image()
        return row

    def fluorescence(self, score: ScoredImage, mates: Sequence[Mate]) -> CrystalInUV | None:
        """Return what a score's crystals look like in UV light, if they have a UV image; it is looked at once.

        A picture that could not be read is tried again. None too while the pictures' share does not respond.
        """
        key = score.score_id, tuple(mate.name for mate in mates)
        if key in self._in_uv:
            return self._in_uv[key]
        try:
            found = self.files.read_soon(in_uv, self.config, score, mates)
        except Busy:
            return None
        if found is None or not found.unread:
            while len(self._in_uv) >= _IN_UV:
                self._in_uv.pop(next(iter(self._in_uv)), None)
            self._in_uv[key] = found
        return found

    def mates(self, image: ImageRow) -> list[Mate]:
        """Return an image's mates in UV and other light; none while the imager database is down."""
        try:
            mates = self.questions.ask(lambda: self.imager.mates(image.inspect_id))
        except ImagerError:
            return []
        return [mate for mate in mates if mate.name != image.image_name]


class CookieScope(TypedDict):
    """To which requests a browser adds a cookie."""

    path: str
    secure: bool


@dataclass(frozen=True, slots=True)
class PageRequest:
    """One request: the site, the HTTP request, and the person who sends it.

    `token` is the name of the token with which a program of theirs sends it; empty: they do, with a browser.
    """

    site: Site
    http: Request
    visitor: Visitor
    token: str = ""

    def render(self, template: str, status: int = 200, **values: object) -> HTMLResponse:
        """Render a page for this visitor, with the token that its forms carry."""
        nonce = read_cookie(self.http, FORMS)
        is_new = not 20 <= len(nonce) <= 64
        nonce = new_nonce() if is_new else nonce
        text = self.site.render(
            template,
            visitor=self.visitor,
            form_token=self.site.authentication.signer.form_token(nonce, self.visitor.name),
            has_sign_in_form=self.site.authentication.has_sign_in_form,
            has_sessions=self.site.authentication.has_sessions,
            has_notifications=self.site.has_notifications,
            sight=self.sight,
            current_address=self.address,
            root=root_of(self.http),
            imager=self.site.questions.state(),
            keys=self.site.keys,
            **values,
        )
        response = HTMLResponse(text, status)
        if is_new:
            response.set_cookie(FORMS, nonce, httponly=True, samesite="strict", **self.cookie_scope)
        return response

    def log(self, act: str, result: str = "ok", who: str = "", **details: Any) -> None:
        """Write to the log of access what this visitor, or `who`, did."""
        details |= {"token": self.token} if self.token else {}
        self.site.access_log.write(act, who or self.visitor.name, self.client, result, **details)

    @property
    def sight(self) -> Sight:
        """What this visitor may see."""
        return self.site.visibility.sight(self.visitor.name, self.visitor.groups)

    def plates(self) -> list[PlateEntry]:
        """Return the plates that this visitor may see, the one inspected last first."""
        return self.visible(self.site.all_plates.all())

    @property
    def barcodes(self) -> frozenset[str] | None:
        """The plates that this visitor may see; None: all."""
        return None if self.sight.everything else frozenset(entry.barcode for entry in self.plates())

    def inspections(self, barcode: str) -> list[tuple[int, datetime]]:
        """Return (number, date) of a plate's inspections, oldest first; none if this visitor may not see it."""
        return self.site.all_plates.inspections(barcode) if self.sight.sees(barcode) else []

    def image(self, image_id: int) -> ImageRow:
        """Return an image by its id; raises HTTPException 404 if there is none that this visitor may see."""
        row = self.site.any_image(image_id)
        if not self.sight.sees(row.barcode):
            raise no_image()
        return row

    def sees_image(self, image_id: int) -> bool:
        """Whether there is an image of this id that this visitor may see."""
        try:
            self.image(image_id)
        except HTTPException:
            return False
        return True

    def score(self, score_id: int) -> ScoredImage:
        """Return a score by its id; raises HTTPException 404 if there is none that this visitor may see."""
        scores = self.visible(self.site.ledger.scores.by_id([score_id])) if 0 < score_id <= _LARGEST_ID else []
        if not scores:
            raise HTTPException(404, "There is no such score.")
        return scores[0]

    def visible(self, found: Iterable[P], *, mine: bool = False) -> list[P]:
        """Return those of some images, or of anything else with a barcode, that this visitor may see.

        With `mine`, only those of their own projects.
        """
        sight = self.sight
        if sight.everything and not mine:
            return list(found)
        shows = sight.is_mine if mine else sight.sees
        return [one for one in found if shows(one.barcode)]

    def wants_mine(self, of: str) -> bool:
        """Whether a list is of this visitor's own projects alone, where they can choose, unless `of` is ``all``."""
        return of != "all" and self.sight.can_choose

    @property
    def client(self) -> str:
        """Address of the visitor's computer, as far as trusted web servers tell; empty if unknown."""
        return reached(self.http).client

    def redirect(self, address: str) -> RedirectResponse:
        """Send the browser to another page of the viewer after a form."""
        return RedirectResponse(root_of(self.http) + address, 303)

    @property
    def cookie_scope(self) -> CookieScope:
        """Where browsers send our cookies: below the viewer's path, if that is known."""
        return {"path": reached(self.http).root or "/", "secure": self.site.config.viewer.is_https}

    @property
    def address(self) -> str:
        """The page's address with its query, below the viewer's path: of a form, that of the page it was on."""
        if self.http.method not in ("GET", "HEAD"):
            page = urlsplit(self.http.headers.get("referer", ""))
            path = page.path.removeprefix(reached(self.http).root or "")
            return local_address(path + (f"?{page.query}" if page.query else ""))
        raw = self.http.scope.get("raw_path") or self.http.url.path.encode()
        query = self.http.url.query
        return raw.decode("ascii", "replace") + (f"?{query}" if query else "")

    @property
    def session(self) -> str:
        """The name of the browser's session, which lasts until the browser is closed."""
        return self.site.authentication.signer.browser(read_cookie(self.http, FORMS))

    def check_origin(self, form: Form) -> None:
        """Check that a form is ours; raises HTTPException 403 if it is not."""
        authentication, viewer = self.site.authentication, self.site.config.viewer
        check_form(self.http, form.text("form_token"), self.visitor, authentication.signer, viewer.is_https)

    def check_form(self, form: Form, *, review: bool = False) -> None:
        """Check that a form is ours, and that this visitor may change something.

        Raises
        ------
        HTTPException
            403 if it is not, or they may not.
        """
        self.check_origin(form)
        if not self.visitor.may_score:
            raise HTTPException(403, "Guests cannot change anything: sign in first.")
        if review and not self.visitor.may_review:
            raise HTTPException(403, f"{self.visitor.name} may not approve or reject scores (viewer.reviewers).")


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form that was sent."""

    fields: dict[str, list[str]]

    def text(self, name: str) -> str:
        """Return a field's first value; an empty string if there is none."""
        return self.fields.get(name, [""])[0]

    def numbers(self, name: str) -> list[int]:
        """Return those values of a field that are ids."""
        return [int(v) for v in self.fields.get(name, []) if v.isascii() and v.isdigit() and len(v) <= 18]


def no_image() -> HTTPException:
    """Return the error for an image that is not there, or that this visitor may not see: they are told the same."""
    return HTTPException(404, "There is no such image.")


def no_plate(barcode: str, inspection: object = None) -> HTTPException:
    """Return the error for a plate, or an inspection of it, as `no_image` does."""
    at = "" if inspection is None else f" with an inspection {inspection}"
    return HTTPException(404, f"There is no plate {barcode}{at}.")


def no_mark() -> HTTPException:
    """Return the error for a mark, as `no_image` does."""
    return HTTPException(404, "There is no such mark; GET /api/marks/BARCODE/INSPECTION lists them.")


def _check_plate(request: PageRequest, values: Mapping[str, Any]) -> None:
    if not request.sight.sees(values["barcode"]):
        raise no_plate(values["barcode"], values.get("inspection"))


def _check_mark(request: PageRequest, values: Mapping[str, Any]) -> None:
    mark = values["mark"]
    row = request.site.ledger.marks.row_with_key(mark) if mark.isalnum() else None
    if row is None or not request.sees_image(row.image_id):
        raise no_mark()


GUARDS: dict[str, Callable[[PageRequest, Mapping[str, Any]], object]] = {
    "barcode": _check_plate,
    "image_id": lambda request, values: request.image(values["image_id"]),
    "other_id": lambda request, values: request.image(values["other_id"]),
    "mark": _check_mark,
    "score_id": lambda request, values: request.score(values["score_id"]),
}
"""What checks each part of an address that names a plate: a page with such a part is not reached without it."""


def check_address(request: PageRequest) -> None:
    """Check that a person may see what an address names (`GUARDS`); raises HTTPException 404 if not."""
    if request.site.visibility.is_limited:
        parts = request.http.path_params
        for part in parts.keys() & GUARDS.keys():
            GUARDS[part](request, parts)


class NotSignedIn(Exception):
    """A guest asks for a page that only people who signed in may view."""


def _open_request(request: Request) -> PageRequest:
    site: Site = request.app.state.site
    return PageRequest(site, request, site.authentication.visitor(request))


def as_person(request: Request, token: Token) -> PageRequest:
    """Return a program's request as the person's whose token it sends; of their groups only the file's are known."""
    return PageRequest(request.app.state.site, request, Visitor(token.who), token.label)


def _allowed_request(request: Request) -> PageRequest:
    site: Site = request.app.state.site
    token = site.authentication.tokens.of(request) if request.method == "GET" else None
    opened = as_person(request, token) if token else _open_request(request)
    if opened.visitor == GUEST and (site.visibility.is_limited or not site.config.viewer.guests):
        raise NotSignedIn
    check_address(opened)
    return opened


async def _form(request: Request) -> Form:
    return Form(dict(await read_form(request)))


AllowedRequest = Annotated[PageRequest, Depends(_allowed_request)]
"""A request by somebody who may view pages, and may see what the address names (`GUARDS`)."""
OpenRequest = Annotated[PageRequest, Depends(_open_request)]
"""A request by anybody: for the sign-in page."""
PostedForm = Annotated[Form, Depends(_form)]


def download(data: bytes, kind: str, name: str) -> Response:
    """Send a file for download; `name` may be any text from a database."""
    return Response(data, media_type=kind, headers=attachment(name))


def attachment(name: str) -> dict[str, str]:
    """Return the header of a file for download; `name` may be any text from a database.

    Letters of all alphabets stay (RFC 6266), or files of two plates would have one name.
    """
    whole = "".join(c if c in "._-" or unicodedata.category(c)[0] in "LMN" else "_" for c in name[-120:])
    safe = "".join(c if c.isascii() else "_" for c in whole)
    more = "" if whole == safe else f"; filename*=UTF-8''{quote(whole)}"
    return {"Content-Disposition": f'attachment; filename="{safe}"{more}'}
