"""Making many objects that will stay, without looking for garbage among them meanwhile."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Let no garbage be looked for within: it would cost more than the objects themselves.

    For tens of milliseconds, because it holds for the whole process.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
