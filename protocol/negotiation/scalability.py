"""Layer counts in scalability modes (W3C webrtc-svc, 7): `L3T3_KEY` has three of each sort."""

import re
from collections.abc import Sequence

import msgspec

_MODE = re.compile(r"[LS]([1-9]\d?)T([1-9]\d?)", re.ASCII)


class ScalabilityMode(msgspec.Struct, frozen=True):
    """How many layers one encoding has."""

    spatial_layers: int = 1
    temporal_layers: int = 1


def parse_scalability_mode(name: str | None) -> ScalabilityMode:
    """Return the layer counts that a mode's name begins with; one of each for any other name."""
    found = _MODE.match(name or "")
    return ScalabilityMode(int(found[1]), int(found[2])) if found else ScalabilityMode()


def top_spatial_layer(modes: Sequence[str | None]) -> int | None:
    """Return the highest spatial layer inside of an only encoding, if it has more than one.

    `modes` are those of a producer's encodings; with several, layers are encodings (simulcast).
    """
    layers = parse_scalability_mode(modes[0]).spatial_layers if len(modes) == 1 else 1
    return layers - 1 if layers > 1 else None
