"""The command ``xtalgrid user``: who may sign in to the viewer, where it keeps its own users."""

from __future__ import annotations

import sys

import click

from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..steps.step import user as account
from ..steps.system import System
from ..web.auth.authentication import LONGEST_NAME, why_no_name
from ..web.auth.passwords import LONGEST, SHORTEST, hashed


def greeting(config: Config, host: str, port: int) -> str:
    """What `serve` says when it starts: where the viewer is, and who one is there."""
    ways = {
        "local": f"from this machine you are {account()}; others look and change nothing",
        "users": "people sign in with a password (`xtalgrid user add NAME`)",
        "proxy": f"the web server says who people are ({config.viewer.user_header})",
    }
    return f"http://{host}:{port}/  {ways[config.viewer.sign_in]}"


@click.group("user")
def users() -> None:
    """People who sign in to the viewer with a password (viewer.sign_in = "users")."""


@users.command()
@click.argument("name")
@click.option("--stdin", "piped", is_flag=True, help="Read the password from standard input, one line.")
@click.pass_context
def add(ctx: click.Context, name: str, piped: bool) -> None:
    """Let NAME sign in, or give them a new password, which ends their sessions."""
    config: Config = ctx.obj()
    name = name.strip()
    if why := why_no_name(config, name):
        raise XtalgridError(why)
    password = (
        sys.stdin.readline().rstrip("\r\n")
        if piped
        else click.prompt("Password", hide_input=True, confirmation_prompt=True)
    )
    if not SHORTEST <= len(password) <= LONGEST:
        raise XtalgridError(f"the password has {len(password)} characters; take at least {SHORTEST}, at most {LONGEST}")
    with System(config) as system:
        system.ledger.visits.set_password(name, hashed(password), account())
    click.echo(f"{name} can sign in" + ("" if config.viewer.sign_in == "users" else '; set viewer.sign_in = "users"'))


@users.command()
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Let NAME sign in no more. Their scores stay."""
    with System(ctx.obj()) as system:
        if not system.ledger.visits.password(name):
            raise XtalgridError(f"there is no user {name}; `xtalgrid user list` shows them")
        system.ledger.visits.set_password(name, "", account())
    click.echo(f"{name} cannot sign in any more")


@users.command("list")
@click.pass_context
def list_users(ctx: click.Context) -> None:
    """Who may sign in, and who gave them their password when (UTC)."""
    with System(ctx.obj()) as system:
        for name, who, at in system.ledger.visits.users():
            click.echo(f"{name:{LONGEST_NAME}}  password by {who}, {at:%Y-%m-%d %H:%M}")
