"""`reprise serve`, as far as the command line knows it: settings in, exit code out."""

from __future__ import annotations

import click

from gateway.options import with_settings
from gateway.settings import Settings


@click.command(
    epilog="Flags win over the environment, the environment over the TOML file. SIGTERM or Ctrl-C"
    " stops it cleanly; a second one at once."
)
@with_settings
def serve(settings: Settings) -> int:
    """Run the server: signaling, pages and the media plane."""
    from gateway.garbage import settle  # noqa: PLC0415 - --help need not load the server
    from gateway.serve import main  # noqa: PLC0415 - as above

    settle()
    return main(settings)
