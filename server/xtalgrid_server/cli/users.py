"""The command ``xtalgrid user``: the people who may sign in to the viewer, if it has its own users."""

from __future__ import annotations

import sys

import click

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..steps.step import user as account
from ..steps.system import System
from ..web.auth.authentication import LONGEST_NAME, name_problem
from ..web.auth.passwords import hash_password, password_problem
from .options import log_access
from .printing import json_option, print_json, print_lines


@click.group("user", cls=CommandGroup)
def users() -> None:
    """Manage the people who sign in to the viewer with a password (viewer.sign_in = "users")."""


@users.command()
@click.argument("name")
@click.option("--stdin", "piped", is_flag=True, help="Read the password from standard input, one line.")
@click.pass_context
def add(ctx: click.Context, name: str, piped: bool) -> None:
    """Add the user NAME, or change their password, which ends their sessions and tokens."""
    config: Config = ctx.obj()
    name = name.strip()
    if problem := name_problem(config, name):
        raise XtalgridError(problem)
    password = (
        sys.stdin.readline().rstrip("\r\n")
        if piped
        else click.prompt("Password", hide_input=True, confirmation_prompt=True)
    )
    if problem := password_problem(name, password):
        raise XtalgridError(f"the password was not taken: {problem}")
    with System(config) as system:
        system.ledger.users.set_password(name, hash_password(password), account())
    log_access(config, "user-add", user=name)
    say(f"{name} can sign in" + ("" if config.viewer.sign_in == "users" else '; set viewer.sign_in = "users"'))


@users.command()
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, name: str) -> None:
    """Remove NAME's access, tokens too. Their scores are kept."""
    config: Config = ctx.obj()
    with System(config) as system:
        removed = system.ledger.tokens.remove(name)
        if system.ledger.users.password(name):
            system.ledger.users.set_password(name, "", account())
        elif not removed:  # whom the lab's log-in knows may have tokens without a password
            raise XtalgridError(f"there is no user {name}; see `xtalgrid user list`")
    log_access(config, "user-remove", user=name)
    say(f"{name} can no longer sign in")


@users.command("list")
@json_option
@click.pass_context
def list_users(ctx: click.Context, as_json: bool) -> None:
    """List the users, with who set their password and when (UTC)."""
    with System(ctx.obj()) as system:
        listed = system.ledger.users.all()
    if as_json:
        print_json([{"name": name, "password_set_by": who, "at": at} for name, who, at in listed])
    else:
        print_lines(f"{name:{LONGEST_NAME}}  password set by {who}, {at:%Y-%m-%d %H:%M}" for name, who, at in listed)
