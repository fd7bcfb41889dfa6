"""Layer counts in scalability modes (W3C webrtc-svc, 7): `L3T3_KEY` has three of each sort."""

import re

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
