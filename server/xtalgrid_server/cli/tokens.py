"""The command ``xtalgrid token``: tokens with which programs read and score in people's names."""

from __future__ import annotations

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..ledger.tokens import SCOPES
from ..steps.step import user as account
from ..steps.system import System
from ..web.auth.authentication import LONGEST_NAME, Authentication, name_problem
from ..web.auth.tokens import DAYS, USUAL_DAYS
from .options import check_account, log_access, with_config
from .printing import json_option, print_found


@click.group("token", cls=CommandGroup)
def tokens() -> None:
    """Manage the tokens with which programs use the viewer's JSON addresses in people's names (docs/api.md)."""


@tokens.command()
@click.argument("name")
@click.argument("label", default="")
@click.option("--scope", type=click.Choice(SCOPES), default="read", show_default=True, help="What it may do.")
@click.option(
    "--days", type=click.IntRange(*DAYS), default=USUAL_DAYS, show_default=True, help="For how many days it works."
)
@with_config
def add(config: Config, name: str, label: str, scope: str, days: int) -> None:
    """Make a token of the person NAME, called LABEL, and print it. It is kept nowhere: this is the only time."""
    name = name.strip()
    if problem := name_problem(config, name):
        raise XtalgridError(problem)
    check_account(config.home)
    with System(config) as system:
        if config.viewer.sign_in == "users" and not system.ledger.users.password(name):
            raise XtalgridError(f"there is no user {name}; see `xtalgrid user list`")
        text = Authentication(config, system.ledger).tokens.make(name, label, scope, days, account())
        label = system.ledger.tokens.working(name)[-1].label
    log_access(config, "token-add", user=name, token=label, scope=scope, days=days)
    say(f"{label!r} may {'read and score' if scope == 'score' else scope} as {name} for {days} days:", err=True)
    say(text)


@tokens.command()
@click.argument("name")
@click.argument("label", required=False)
@with_config
def remove(config: Config, name: str, label: str | None) -> None:
    """Remove the token of NAME that is called LABEL, or all of NAME's: it ends at once."""
    with System(config) as system:
        removed = system.ledger.tokens.remove(name, label)
    if not removed:
        raise XtalgridError(f"{name} has no token {label or ''}".rstrip() + "; see `xtalgrid token list`")
    for each in removed:
        log_access(config, "token-remove", user=name, token=each)
        say(f"the token {each!r} of {name} works no more")


@tokens.command("list")
@click.argument("name", default="")
@json_option
@with_config
def list_tokens(config: Config, name: str, as_json: bool) -> None:
    """List the tokens that work, of NAME or of everybody; times are UTC."""
    with System(config) as system:
        working = system.ledger.tokens.working(name)
    rows = [
        {
            "name": one.who,
            "label": one.label,
            "scope": one.scope,
            "made_by": one.made_by,
            "made_at": one.made_at,
            "expires_at": one.expires_at,
            "used_at": one.used_at,
        }
        for one in working
    ]
    lines = (
        f"{one.who:{LONGEST_NAME}}  {one.label}  {one.scope}, made by {one.made_by}, until {one.expires_at:%Y-%m-%d}, "
        + (f"last used {one.used_at:%Y-%m-%d %H:%M}" if one.used_at else "never used")
        for one in working
    )
    print_found(rows, lines if rows else ["no tokens; `xtalgrid token add NAME` makes one"], as_json)
