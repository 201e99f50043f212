"""`/api/scores`: programs score drops in the name of the person whose token they send, and undo that."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

from xtalgrid_core.errors import ImagerError
from xtalgrid_core.outcomes import Outcome

from ...ledger.database import now
from ...ledger.tokens import Scope
from ..pages.scoring import PERSON_OUTCOMES, RefusedScoreError, TypedScore, person_outcome
from ..programs import READ_REFUSALS, WRITE_REFUSALS, AnyProgram, JSONRoute, Program, ScoringProgram
from ..query_parameters import kind_of
from .api_drops import MOST, DropGiven, Given, Id, Key, image_of

router = APIRouter(prefix="/api", route_class=JSONRoute)

WITHDRAWN = "withdrawn"
"""In place of an outcome: takes the person's score back."""

_OLDEST = timedelta(days=30)


def _text(value: object) -> object:
    """Check that a time is text; pydantic alone takes numbers too."""
    if value is not None and not isinstance(value, str):
        raise ValueError("Input should be text, such as 2026-11-29T10:00:00Z")
    return value


class ScoreGiven(DropGiven):
    """A person's score of a drop: of the image with this id, or of a barcode, inspection and well."""

    key: Key = Field(description="Your name for this score, such as a UUID: sent again, it is not recorded again")
    outcome: Annotated[str, Field(max_length=60)] | None = Field(
        default=None, description=f"One of: {', '.join(PERSON_OUTCOMES)}; or {WITHDRAWN}, which takes the score back"
    )
    code: Annotated[str, Field(max_length=2)] | None = Field(
        default=None, description="In place of the outcome: the lab's two-character code"
    )
    score_id: Id | None = Field(
        default=None,
        description="The ARTscore that the person saw; none: they scored without seeing one",
    )
    at: Annotated[AwareDatetime | None, BeforeValidator(_text)] = Field(
        default=None, description="When it was given, with a time zone; default: now"
    )


class ScoresGiven(Given):
    """Scores, in the order in which they were given."""

    scores: Annotated[list[ScoreGiven], Field(min_length=1, max_length=MOST)]


class KeysToUndo(Given):
    """The keys of scores to undo, the last one first."""

    keys: Annotated[list[Key], Field(min_length=1, max_length=MOST)]


class ScoreResult(BaseModel):
    """What became of one score. It is recorded if `refused` is null."""

    key: str
    refused: str | None = Field(default=None, description="Why it was not recorded, and will not be")
    warning: str | None = Field(default=None, description="What else you should know, though it is recorded")
    repeated: bool = Field(default=False, description="Whether it was recorded when it was sent before")
    image_id: int | None = None
    outcome: str | None = Field(
        default=None, description=f"The person's score of the image from then on; {WITHDRAWN}: they have none"
    )


class ScoreResults(BaseModel):
    """What became of each score, in the order sent."""

    accepted: int
    refused: int
    results: list[ScoreResult]


class TokenInUse(BaseModel):
    """The token that this request was sent with."""

    who: str = Field(description="The person in whose name it acts")
    name: str
    scope: Scope
    expires: datetime


@router.get("/token", responses=READ_REFUSALS)
def token(program: AnyProgram) -> TokenInUse:
    """Describe the token that is sent."""
    about = program.token
    return TokenInUse(who=about.who, name=about.label, scope=about.scope, expires=about.expires_at.replace(tzinfo=UTC))


@router.post("/scores", responses=WRITE_REFUSALS)
def scores(program: ScoringProgram, body: ScoresGiven) -> ScoreResults:
    """Record scores in a person's name. Each is accepted or refused for itself; those of a key are recorded once."""
    received = now()
    return _results((given.key, partial(_score, program, given, received)) for given in body.scores)


@router.post("/scores/undo", responses=WRITE_REFUSALS)
def undo(program: ScoringProgram, body: KeysToUndo) -> ScoreResults:
    """Undo scores by their keys, so that the person's score before each is valid again. Sent again, it does no more."""
    received = now()
    return _results((key, partial(_undo, program, key, received)) for key in body.keys)


def _results(wanted: Iterable[tuple[str, Callable[[], ScoreResult]]]) -> ScoreResults:
    """Record scores one after the other; a score that is refused stops no other."""
    results = []
    for key, record in wanted:
        try:
            results.append(record())
        except RefusedScoreError as error:
            results.append(ScoreResult(key=key, refused=str(error)))
    refused = sum(result.refused is not None for result in results)
    return ScoreResults(accepted=len(results) - refused, refused=refused, results=results)


def _score(program: Program, given: ScoreGiven, received: datetime) -> ScoreResult:
    key, value = program.key(given.key), _value(program, given)
    outcome, code = person_outcome(value, program.site.keys)
    at = received if given.at is None else given.at.astimezone(UTC).replace(tzinfo=None)
    if received - at > _OLDEST:
        raise RefusedScoreError(
            f"It was given more than {_OLDEST.days} days ago: `xtalgrid import-scores` takes such scores, with their "
            "dates."
        )
    image_id = image_of(program, given)
    known = program.site.ledger.corrections.with_key(key)
    if known is not None and (known.image_id, known.outcome, known.code) != (image_id, outcome, code):
        raise RefusedScoreError("You have sent another score with this key: give each score a key of its own.")
    ago = (received - at).total_seconds()
    return _take(program, given.key, TypedScore(key, image_id, value, given.score_id, ago), received)


def _undo(program: Program, name: str, received: datetime) -> ScoreResult:
    scored = program.site.ledger.corrections.with_key(program.key(name))
    if scored is None or not program.asked.sees_image(scored.image_id):
        raise RefusedScoreError(f"{program.who} has no score with this key.")
    typed = TypedScore(program.key(name, "undone"), scored.image_id, undoes=scored.key)
    return _take(program, name, typed, received)


def _take(program: Program, name: str, typed: TypedScore, received: datetime) -> ScoreResult:
    corrections, warning = program.site.ledger.corrections, None
    repeated = corrections.with_key(typed.key) is not None
    try:
        program.site.scoring.take(
            typed, program.who, program.client, received, program.session, token=program.token.label
        )
    except ImagerError as error:
        warning = str(error)
    now_valid = corrections.with_key(typed.key)
    outcome = now_valid.outcome if now_valid else None
    return ScoreResult(
        key=name, warning=warning, repeated=repeated, image_id=typed.image, outcome=str(outcome or WITHDRAWN)
    )


def _value(program: Program, given: ScoreGiven) -> str:
    """Return what the viewer calls the score that is given; empty for a withdrawal."""
    if (given.outcome is None) == (given.code is None):
        raise RefusedScoreError("Give either outcome or code.")
    if given.outcome == WITHDRAWN:
        return ""
    if given.outcome is not None:
        if given.outcome not in PERSON_OUTCOMES:
            choices = ", ".join((*PERSON_OUTCOMES, WITHDRAWN))
            raise RefusedScoreError(f"A person cannot give the outcome {given.outcome!r}; choose from: {choices}.")
        return kind_of(Outcome(given.outcome))
    config = program.site.config
    codes = {key.code or config.score_code(key.outcome) or "": key.value for key in program.site.keys}
    if not given.code or given.code not in codes:
        raise RefusedScoreError(f"No score has the code {given.code!r}; choose from: {', '.join(sorted(codes))}.")
    return codes[given.code]
