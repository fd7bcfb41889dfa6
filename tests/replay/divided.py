"""A meeting whose one viewer has a narrow way for a while: for charts of how it was divided.

    session, names = divided_session()
    store(directory, session)
    measure(directory, session, names)

Every second has what each consumer was sent by the layer that it had, and what the way was
estimated at, as a plane would have measured it.
"""

from __future__ import annotations

from pathlib import Path

from protocol.commands import SetPriority
from protocol.notices import BandwidthEstimated, LayersChanged
from replay.telemetry import Entity
from replay.telemetry_seconds import METRICS
from tests.replay.measured import CARRIED, CONSUMED, key_frame, store_frames
from tests.replay.sessions import S, Session

ROOM = "meeting"
AUDIO_BPS = 32_000
LAYER_BPS = (160_000, 600_000, 2_200_000)
WIDE_BPS, NARROW_BPS = 4_000_000, 900_000
NARROWED_S, WIDENED_S, END_S = 20, 45, 70
LAYERS: dict[str, tuple[tuple[int, int | None], ...]] = {
    "speaker": ((0, 2), (NARROWED_S + 1, 1), (WIDENED_S + 3, 2)),
    "screen": ((0, 1), (NARROWED_S + 1, 0), (WIDENED_S + 6, 1)),
    "other": ((0, 1), (NARROWED_S + 1, None), (WIDENED_S + 2, 0), (WIDENED_S + 9, 1)),
}
"""Spatial layers of each video from a second on."""
PRIORITIES = {"speaker": 3, "screen": 2, "other": 1}


def divided_session() -> tuple[Session, dict[str, str]]:
    """The session, and the ids of `transport`, `audio` and each video of `LAYERS`."""
    session = Session(ROOM, seed=5)
    names: dict[str, str] = {}
    produced = {}
    for who, videos in (("Ann", ("speaker", "screen")), ("Bob", ("other",))):
        peer = session.join(who)
        sending = session.transport(peer)
        produced |= {video: session.produce(peer, sending) for video in videos}
        if who == "Ann":
            produced["audio"] = session.produce(peer, sending, "audio")
    viewer = session.join("Vera")
    names["transport"] = session.transport(viewer, "recv")
    for what, producer in produced.items():
        names[what] = session.consume(viewer, names["transport"], producer)
    for video, priority in PRIORITIES.items():
        if priority != 1:
            asked = SetPriority(peer=viewer, consumer=names[video], priority=priority)
            session.ask(asked)
    changes = [(at_s, video, layer) for video, steps in LAYERS.items() for at_s, layer in steps]
    for at_s, bitrate_bps in ((0, WIDE_BPS), (NARROWED_S, NARROW_BPS), (WIDENED_S, WIDE_BPS)):
        changes.append((at_s, "", bitrate_bps))
    begin_ns = session.at_ns
    for at_s, video, value in sorted(changes, key=lambda each: each[:2]):
        session.wait((begin_ns + at_s * S - session.at_ns) / S)
        if not video:
            assert value is not None
            session.tell(
                f"transport/{names['transport']}",
                BandwidthEstimated(
                    transport=names["transport"], bitrate_bps=value, limit="delay", wanted_bps=None
                ),
            )
            continue
        reason = "preferred" if at_s == 0 else "bandwidth"
        changed = LayersChanged(
            consumer=names[video], spatial_layer=value, temporal_layer=None, reason=reason
        )
        session.to_consumer(names[video], changed)
    session.wait((begin_ns + END_S * S - session.at_ns) / S)
    session.close()
    names["begin_ns"] = str(begin_ns)
    return session, names


def layer_at(video: str, second: int) -> int | None:
    """The layer that a video has in a second of the measured time."""
    return [layer for at_s, layer in LAYERS[video] if at_s <= second][-1]


def measure(directory: Path, session: Session, names: dict[str, str]) -> Path:
    """Write the telemetry of it."""
    begin_ns = int(names["begin_ns"])
    frames = []
    for second in range(END_S):
        narrow = NARROWED_S <= second < WIDENED_S
        carried = CARRIED | {"estimated_bps": NARROW_BPS if narrow else WIDE_BPS}
        rows = {
            Entity("transport", names["transport"]): carried,
            Entity("consumer", names["audio"]): CONSUMED | {"bitrate_bps": AUDIO_BPS},
        }
        for video in LAYERS:
            layer = layer_at(video, second)
            bitrate_bps = 0 if layer is None else LAYER_BPS[layer]
            rows[Entity("consumer", names[video])] = CONSUMED | {"bitrate_bps": bitrate_bps}
        assert all(set(row) <= set(METRICS[entity.kind]) for entity, row in rows.items())
        frames.append((begin_ns + second * S + S // 2, key_frame(rows, second)))
    store_frames(directory, session.room, frames)
    return directory
