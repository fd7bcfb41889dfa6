"""Which release made an export."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def reprise_version() -> str:
    """The version of this program."""
    try:
        return version("reprise-sfu")
    except PackageNotFoundError:  # run from its sources
        return "unknown"
