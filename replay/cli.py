"""`reprise replay`: look at the event log from outside, while a server runs or afterwards.

Every command leaves the log untouched, but `archive` and `prune`, which need a log that no server
holds. `forget` leaves it untouched too, and destroys keys beside it. Errors are one line on stderr
with exit code 1; a damaged log is shown as far as it is sound, and then is such an error.
"""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "rooms": "List the rooms in the log.",
    "show": "Show the messages and events of a room in their order.",
    "state": "Show a room's whole state at an instant.",
    "diff": "Show what changed in a room between two instants.",
    "find": "Find the first position at which an expression over the state holds.",
    "why": "Tell why something happened, and what came of it.",
    "what-if": "Tell what would have been decided with other settings.",
    "export": "Write the log in formats that other tools read.",
    "stats": "Tell who took part, when media began, and what went wrong.",
    "archive": "Move sessions that are over into compressed files.",
    "prune": "Remove old sessions for good.",
    "forget": "Make the personal data of one person unreadable.",
    "verify": "Verify that a log is whole, and that today's code decides the same.",
    "capture": "Have a live server freeze the flight recorder of a room.",
    "recordings": "List the frozen recordings of a room.",
}
"""By name, in the order of the help; each stands in the module of its name."""


_ELSEWHERE: dict[str, str] = {}
"""Modules of commands that are not in `replay.commands`, by name."""


def add_command(name: str, module: str, about: str) -> None:
    """Add a command that stands in another module, under its own name; it is imported when called.

    For what needs more than this package may import.
    """
    _ELSEWHERE[name] = module
    _COMMANDS[name] = about


class _Commands(click.Group):
    """Imports a command when it is asked for: the command line must start quickly."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module = cmd_name.replace("-", "_")
        found = importlib.import_module(_ELSEWHERE.get(cmd_name, f"replay.commands.{module}"))
        command: click.Command = getattr(found, module)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Commands)
def replay() -> None:
    """Look at what happened in a session, event by event."""
