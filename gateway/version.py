"""The version of what runs."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTION = "reprise-sfu"


def version() -> str:
    """Version of the installed distribution; `0.0.0+source` when none is installed."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0.0.0+source"
