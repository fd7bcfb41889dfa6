"""What an envelope is about, for the eye: a handful of categories by the name of its type.

Types of later releases find their place by the same words.
"""

from __future__ import annotations

import functools
import re

CATEGORIES = ("people", "connection", "media", "quality", "house", "trouble")
"""In the order of their numbers."""
PEOPLE, CONNECTION, MEDIA, QUALITY, HOUSE, TROUBLE = range(len(CATEGORIES))

_TROUBLE = frozenset(("CommandRefused", "ActorFailed", "OrderRefused", "ChildFailed", "PlaneLost"))
_RULES = (
    (QUALITY, re.compile(r"Score|Layer|KeyFrame|Fr[eo]*ze|Bitrate|Bandwidth|Quality|Telemetry")),
    (PEOPLE, re.compile(r"Peer|^Join$|^Resume$|^Leave$|^SocketLost$")),
    (CONNECTION, re.compile(r"Transport|Ice|Dtls|Plane")),
    (MEDIA, re.compile(r"Produce|Consume|Streaming")),
)


@functools.cache
def category_of(type_name: str) -> int:
    """The number of a type's category."""
    if type_name in _TROUBLE:
        return TROUBLE
    return next((number for number, rule in _RULES if rule.search(type_name)), HOUSE)
