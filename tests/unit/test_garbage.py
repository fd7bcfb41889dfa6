"""How rarely the control process looks for garbage, and that it still finds it."""

import subprocess
import sys

CHILD = """
import gc, weakref
from gateway.garbage import THRESHOLDS, settle

class Knot:
    def __init__(self):
        self.own = self

looks = []
settle()
assert gc.get_freeze_count() > 1_000, gc.get_freeze_count()
gc.callbacks.append(lambda phase, info: phase == "stop" and looks.append(info["generation"]))
kept = [[] for _ in range(THRESHOLDS[0] - 5_000)]
assert looks == [], looks
lost = weakref.ref(Knot())
kept += [[] for _ in range(10_000)]
assert looks == [0], looks
assert lost() is None
while 2 not in looks:
    kept += [[] for _ in range(10_000)]
    assert len(kept) < 2_000_000, looks
"""


def test_many_objects_are_made_before_garbage_is_looked_for_and_it_is_found():
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
