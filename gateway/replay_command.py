"""`reprise replay` with the one command of it that needs clients of its own."""

from __future__ import annotations

from replay.cli import add_command, replay

add_command(
    "drive",
    "gateway.drive_command",
    "Play the clients of a session against a running server.",
)

__all__ = ["replay"]
