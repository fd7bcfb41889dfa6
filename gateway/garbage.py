"""How often the control process looks for garbage: rarely, for what it holds is there to stay.

Python's cycle collector walks over all objects that it was not told to leave alone, again and
again while they become more. A thousand viewers are more than half a million of them, none of them
garbage: with the interpreter's own thresholds a third of the time in which they join went there,
with pauses of a quarter of a second.
"""

from __future__ import annotations

import gc

THRESHOLDS = (50_000, 10, 2)
"""Objects made and not yet freed between two looks at the young ones; looks at the young between
two at the middle-aged, and so on. Some six hundred objects are a viewer, so all are looked at once
for some 1,600 viewers that come; what goes away in cycles is kept no longer than that."""


def settle() -> None:
    """Take what is loaded for permanent, and look rarely from now on. Call it once, early."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
