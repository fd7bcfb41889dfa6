"""Behaviours: changes of mind, numbered, so that old sessions still verify.

A decider that decides otherwise than before, on purpose, would not say again what old logs say. So
the change gets the next number here; rooms that are opened from then on have it in their settings,
which are in the log; and the decider asks for it:

    if NAME in state.settings.behaviours:
        …  # as decided now
    else:
        …  # as sessions before it were decided

What is no change of mind needs no number: a new command or event, a fault that broke an invariant
(its log shows `ActorFailed`). Numbers are never given again. A number and the old branch may go
once no log that is kept has been written without it.
"""

from __future__ import annotations

SPREAD_OVER_WORKERS = 1
"""Transports of a room go to the least loaded worker; before, all went to its first one."""

SPATIAL_LAYERS_REST = 2
"""Of a stream with spatial layers inside (SVC) its publisher believes the highest to be wanted at
first, and demand counts layers; before, the stream was one encoding, wanted or not."""

CURRENT: tuple[int, ...] = (SPREAD_OVER_WORKERS, SPATIAL_LAYERS_REST)
"""All numbers that newly opened rooms have, rising."""
