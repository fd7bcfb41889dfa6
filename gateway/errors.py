"""What keeps a command from doing its work, told to the person who typed it."""

from __future__ import annotations


class StartupError(Exception):
    """The server cannot start or go on. `str()` is one line: what is wrong, and what to do."""
