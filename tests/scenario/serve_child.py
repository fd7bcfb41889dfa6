"""`reprise serve` with a stand-in for the media plane, so that it needs no native code."""

from __future__ import annotations

import os
import sys

from gateway import cli, serve, upkeep
from tests.contract.plane_harness import stand_in_command

PLANE_FAILS = "REPRISE_TEST_PLANE_FAILS"
"""In the environment: the last words of a plane that does not start."""
UPKEEP_S = "REPRISE_TEST_UPKEEP_S"
"""In the environment: seconds before the first upkeep of the log."""


def command(path):
    last_words = os.environ.get(PLANE_FAILS)
    return stand_in_command(path, *(("--fail", last_words) if last_words else ()))


if __name__ == "__main__":
    upkeep.FIRST_S = float(os.environ.get(UPKEEP_S, upkeep.FIRST_S))
    whole = serve.main
    serve.main = lambda settings: whole(settings, plane=command)
    sys.exit(cli.run())
