"""The commands ``xtalgrid user``, the people who may sign in to the viewer, and ``projects``, what they see."""

from __future__ import annotations

import sys

import click
from msgspec.structs import replace

from xtalgrid_core.command_group import CommandGroup, say
from xtalgrid_core.errors import XtalgridError

from ..config import Config
from ..reports.projects import project_lines, projects, seen_by
from ..steps.step import user as account
from ..steps.system import System
from ..web.auth.authentication import LONGEST_NAME, name_problem
from ..web.auth.passwords import hash_password, password_problem
from .options import log_access, with_config
from .printing import json_option, print_found


@click.group("user", cls=CommandGroup)
def users() -> None:
    """Manage the people who sign in to the viewer with a password (viewer.sign_in = "users")."""


@users.command()
@click.argument("name")
@click.option("--stdin", "piped", is_flag=True, help="Read the password from standard input, one line.")
@with_config
def add(config: Config, name: str, piped: bool) -> None:
    """Add the user NAME, or change their password, which ends their sessions and tokens."""
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
@with_config
def remove(config: Config, name: str) -> None:
    """Remove NAME's access, tokens too. Their scores are kept."""
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
@with_config
def list_users(config: Config, as_json: bool) -> None:
    """List the users, with who set their password and when (UTC)."""
    with System(config) as system:
        listed = system.ledger.users.all()
    rows = [{"name": name, "password_set_by": who, "at": at} for name, who, at in listed]
    lines = (f"{name:{LONGEST_NAME}}  password set by {who}, {at:%Y-%m-%d %H:%M}" for name, who, at in listed)
    print_found(rows, lines if rows else ["no users; `xtalgrid user add NAME` adds one"], as_json)


@users.command()
@click.option("--off", "name", help="Switch NAME's notifications off.")
@json_option
@with_config
def notifications(config: Config, name: str | None, as_json: bool) -> None:
    """List who is told of new crystals, how often and where; a webhook's address is a secret, so its kind is shown."""
    with System(config) as system:
        notices = system.ledger.notices
        chosen = {who: own for who, own in notices.settings().items() if own.since}
        if name is not None:
            if name not in chosen:
                raise XtalgridError(f"{name} gets no notifications; see `xtalgrid user notifications`")
            notices.save(name, replace(chosen[name], since=None))
            log_access(config, "notifications", user=name, when="off")
            say(f"{name} gets no notifications any more; they can switch them on again")
            return
    rows = [
        {"name": who, "when": own.when, "mail": own.address, "webhook": own.kind if own.url else ""}
        for who, own in chosen.items()
    ]
    lines = [
        f"{row['name']:{LONGEST_NAME}}  {row['when']:<8}  {row['mail']}  {row['webhook']}".rstrip() for row in rows
    ]
    print_found(rows, lines or ["nobody has switched notifications on"], as_json)


@click.command("projects")
@click.option("--person", help="List the plates that this person sees.")
@json_option
@with_config
def projects_command(config: Config, person: str | None, as_json: bool) -> None:
    """List the projects with their plates and people, and what of viewer.people_file cannot be used."""
    with System(config) as system:
        if person is not None:
            seen = seen_by(config, system.ledger, person)
            print_found(seen, seen or [f"{person} sees no plate"], as_json)
            return
        found = projects(config, system.ledger)
    has_any = bool(found.projects or found.problems)
    print_found(found, project_lines(found) if has_any else ["no plates and no projects"], as_json)
