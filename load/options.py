"""What a load test shall do."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from load.mass import Conditions
from protocol.orders import SrtpProfile

VideoCodec = Literal["VP8", "H264"]


class LoadOptions(Struct, frozen=True, kw_only=True):
    """Options of one run; the command line fills them in."""

    url: str
    room: str = "load"
    """Name of the room; with several rooms, `-1`, `-2` … follow it."""
    rooms: int = 1
    publishers: int = 1
    """In each room."""
    viewers: int = 10
    """In each room."""
    duration_s: float = 30.0
    """Of the steady time, from when all have joined."""
    ramp_s: float | None = None
    """Over which viewers come; None: a hundred a second."""
    bitrate_bps: int = 1_500_000
    """Payload bits a second of a publisher's video; with simulcast, of all its layers."""
    frame_rate: float = 30.0
    codec: VideoCodec | None = "VP8"
    """None: no video."""
    audio: bool = True
    simulcast: bool = False
    even_split: bool = True
    churn_per_s: float = 0.0
    """Viewers a second who leave, each followed by a new one."""
    viewer_conditions: Conditions = Conditions()
    publisher_conditions: Conditions = Conditions()
    feedback_interval_ms: float = 100.0
    transport_cc: bool = True
    """Viewers negotiate transport-cc, so that the server can estimate their bandwidth."""
    token: str | None = None
    secret: str | None = None
    """The server's: a token is made of it for each room."""
    join_timeout_s: float = 15.0
    joins_at_once: int = 50
    """Viewers that may be about to join at a time."""
    seed: int = 1
    signaling: Literal["reprise", "janus"] = "reprise"
    srtp_profile: SrtpProfile | None = None
    """The only one that clients offer; None: all, and the server chooses."""
    watch_pids: tuple[int, ...] = ()
    """Processes of the server on this machine whose CPU time and memory are told."""

    @property
    def room_names(self) -> tuple[str, ...]:
        """All rooms."""
        if self.rooms == 1:
            return (self.room,)
        return tuple(f"{self.room}-{index + 1}" for index in range(self.rooms))

    @property
    def viewers_total(self) -> int:
        """In all rooms."""
        return self.rooms * self.viewers

    @property
    def ramp_total_s(self) -> float:
        """Over which viewers come."""
        return self.viewers_total / 100 if self.ramp_s is None else self.ramp_s


class LoadFailed(Exception):
    """The test cannot go on; the message is one line that says why."""
