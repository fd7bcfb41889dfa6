"""The typed stub of the native module says what the module has."""

from __future__ import annotations

import subprocess
import sys


def test_the_stub_agrees_with_the_native_module() -> None:
    # mypy's own checker: names, signatures and defaults, in both directions.
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "media._native", "--concise"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
