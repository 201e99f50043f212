"""docs/reference/commands.md: every command with its options, from click's own description of them."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

from xtalgrid_nets import cli as train
from xtalgrid_server.cli import main as server
from xtalgrid_worker import cli as worker

from .text import plain, table

PROGRAMS = {"xtalgrid": server.main, "xtalgrid-worker": worker.main, "xtalgrid-train": train.main}

HEAD = """# Commands

Three programs: [`xtalgrid`](#xtalgrid) is the server side, [`xtalgrid-worker`](#xtalgrid-worker) scores images, and
[`xtalgrid-train`](#xtalgrid-train) makes and judges networks (all but `adapt`, `import marco` and its help needs the
extra `train`). Each explains itself with `--help`. [Exit codes](../configuration.md#exit-codes); error messages say
what to do. `_` and `-` in a command's name are the same: `create-work` is `create_work`.

## Shell completion

bash, zsh and fish complete commands and options. Put this into `~/.bashrc`; for `~/.zshrc` write `zsh_source`:

    eval "$(_XTALGRID_COMPLETE=bash_source xtalgrid)"

The other two programs have `_XTALGRID_WORKER_COMPLETE` and `_XTALGRID_TRAIN_COMPLETE`. For fish:
`_XTALGRID_COMPLETE=fish_source xtalgrid > ~/.config/fish/completions/xtalgrid.fish`.
"""


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, a group before its commands."""
    for name, program in PROGRAMS.items():
        yield from _below(name, program)


def _below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for part in sorted(command.commands):
            yield from _below(f"{name} {part}", command.commands[part])


def page() -> str:
    """Write the page."""
    return "\n\n".join([HEAD.strip(), *(_section(name, command) for name, command in commands())]) + "\n"


def _section(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=name, show_default=True, terminal_width=10_000)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    parts = [f"{'#' * (2 if ' ' not in name else 3)} {name}", f"`{usage}`", plain(command.help or "")]
    options = [
        (f"`{names.replace('[%Y-%m-%d]', 'YYYY-MM-DD')}`", _sentence(said))
        for option in command.get_params(context)
        if isinstance(option, click.Option) and "--help" not in option.opts
        for names, said in [option.get_help_record(context) or ("", "")]
        if names
    ]
    if options:
        parts.append(table(("option", ""), options))
    if isinstance(command, click.Group):
        parts.append(
            "Commands: " + ", ".join(f"[`{part}`](#{_anchor(f'{name} {part}')})" for part in sorted(command.commands))
        )
    return "\n\n".join(parts)


def _sentence(said: str) -> str:
    """Rewrite click's ``Cores.  [default: 1; 1<=x<=64]`` as ``Cores. (default `1`; 1 to 64)``."""
    extra = re.search(r"(?:^|  )\[([^\[\]]+)\]$", said)
    if extra is None:
        return plain(said)
    text, parts = said[: extra.start()], [_default_or_range(part) for part in extra[1].split("; ")]
    shown = "; ".join(part for part in parts if part)
    return f"{plain(text)} ({shown})".strip() if shown else plain(text)


def _default_or_range(part: str) -> str:
    if part in ("default: (dynamic)", 'default: ""'):  # the help text gives it, or there is none
        return ""
    if part.startswith("default: "):
        return f"default `{part.removeprefix('default: ')}`"
    for pattern, words in (
        (r"(\S+)<=x<=(\S+)", r"\1 to \2"),
        (r"(\S+)<x<=(\S+)", r"above \1, at most \2"),
        (r"(\S+)<=x<(\S+)", r"from \1, below \2"),
        (r"x>=(\S+)", r"at least \1"),
        (r"x>(\S+)", r"above \1"),
    ):
        part = re.sub(f"^{pattern}$", words, part)
    return part


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")
