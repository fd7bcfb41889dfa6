"""Run all benchmarks, one after another, and print what they measure: `make bench`.

Each also runs alone, with options of its own: `python -m bench.store --help`.
"""

import subprocess
import sys

from bench.machine import machine

MODULES = ("bench.store", "bench.actors", "bench.replay", "bench.crowd", "bench.first_frame")
WRITERS = ("bench.forwarding", "bench.two_cores", "bench.janus")
"""They write bench/results.md, each its section."""
EXAMPLES = ("packet_cost", "fanout_cost")


def run(title: str, *command: str) -> int:
    """Run one benchmark under a heading; its exit code."""
    print(f"\n## {title}\n", flush=True)
    return subprocess.run(command, check=False).returncode


def main() -> int:
    """Run everything; the number of benchmarks that failed."""
    print(machine(), flush=True)
    failed = 0
    for name in MODULES:
        failed += bool(run(name, sys.executable, "-O", "-m", name))
    for name in WRITERS:
        failed += bool(run(name, sys.executable, "-m", name, "--write"))
    manifest = ("--manifest-path", "media/native/Cargo.toml")
    for name in EXAMPLES:
        command = ("cargo", "run", "--quiet", "--release", *manifest, "--example", name)
        failed += bool(run(f"native {name}", *command))
    return failed


if __name__ == "__main__":
    sys.exit(main())
