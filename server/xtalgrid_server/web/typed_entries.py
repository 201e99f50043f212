"""What a page's script kept until the viewer has stored it: entries taken in order, each with an answer of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec
from fastapi import HTTPException
from fastapi.responses import JSONResponse

from xtalgrid_core.errors import ImagerError, LedgerError

from ..ledger.database import now
from .auth.authentication import LONGEST_NAME
from .pages.scoring import RefusedScoreError
from .site import Form, PageRequest


def take_entries(
    request: PageRequest, form: Form, name: str, kind: Any, take: Callable[[Any, datetime], None]
) -> JSONResponse:
    """Take the entries in the form's field `name`, a list of type `kind`; each is stored once, however often it comes.

    The answer has a line for each: its key, why it was refused (it will always be), and what else the person should
    know of it.

    Parameters
    ----------
    take
        Stores an entry, received at a time (UTC). `RefusedScoreError` refuses it, `ImagerError` is a warning.
    """
    if request.visitor.name != form.text("who"):  # the session ended, or somebody else signed in
        raise HTTPException(401, f"Sign in as {form.text('who')[:LONGEST_NAME]} to save these {name}.")
    request.check_form(form)
    received = now()
    try:
        entries = msgspec.json.decode(form.text(name), type=kind)
    except msgspec.MsgspecError as error:
        raise HTTPException(422, f"These {name} cannot be read: {error}.") from error
    results = []
    for entry in entries:
        refused = warning = ""
        try:
            if not request.sees_image(entry.image):
                raise RefusedScoreError("There is no such image.")
            take(entry, received)
        except RefusedScoreError as error:
            refused = str(error)
        except ImagerError as error:
            warning = str(error)
        except LedgerError as error:  # those before this one are stored, and known by their keys next time
            raise HTTPException(503, str(error)) from error
        results.append({"key": entry.key, "refused": refused, "warning": warning})
    return JSONResponse({"results": results})
