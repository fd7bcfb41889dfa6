"""`reprise serve` with a stand-in for the media plane, so that it needs no native code."""

from __future__ import annotations

import os
import sys

from gateway import cli, serve
from tests.contract.plane_harness import stand_in_command

PLANE_FAILS = "REPRISE_TEST_PLANE_FAILS"
"""In the environment: the last words of a plane that does not start."""


def command(path):
    last_words = os.environ.get(PLANE_FAILS)
    return stand_in_command(path, *(("--fail", last_words) if last_words else ()))


if __name__ == "__main__":
    whole = serve.main
    serve.main = lambda settings: whole(settings, plane=command)
    sys.exit(cli.run())
