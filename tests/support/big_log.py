"""A big log: one hour of a session with many viewers, made quickly by the real deciders and codec.

    python -m tests.support.big_log DIRECTORY [--envelopes N] [--viewers N] [--room ROOM]

Viewers come in the first third, watch sound and picture, and most stay; all the while the media
plane tells scores, layers and keyframes of them. Some things go wrong: refusals, lost ICE, lost
sockets, a silent publisher, a storm of keyframes. The same arguments give the same log.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random
from typing import Any

from protocol.commands import Leave, PauseConsumer
from protocol.ids import Address, transport_address
from protocol.messages import SocketLost
from protocol.notices import (
    ConsumerScore,
    IceStateChanged,
    KeyFrameRequested,
    LayersChanged,
    ProducerActivityChanged,
    ProducerScore,
)
from replay.rehearsal import Step
from tests.replay.sessions import START_NS, Session, room_settings, store

HOUR_NS = 3600 * 1_000_000_000
SECOND_NS = 1_000_000_000


class Crowd(Session):
    """A session whose timers never fire, so that thousands of actors cost nothing to wait on."""

    def _run(
        self, address: Address, message: Any, correlation: str | None, cause: int | None = None
    ) -> list[Step]:
        self.at_ns += 1_000
        steps = self._rehearsal.run(address, message, self.at_ns)
        for step in steps:
            self._record(step, correlation, cause)
        return steps


def big_session(
    envelopes: int = 1_000_000, *, viewers: int = 1000, room: str = "arena", seed: int = 7
) -> Session:
    """One hour of a room with `viewers`; at least `envelopes` long, and not much longer."""
    random = Random(seed)
    session = Crowd(room, seed=seed, settings=room_settings(peers_max=viewers + 10))
    host = session.join("Ann")
    sending = session.transport(host)
    sound = session.produce(host, sending, "audio")
    picture = session.produce(host, sending, "video")
    arrivals = sorted(random.randrange(2 * SECOND_NS, HOUR_NS // 3) for _ in range(viewers))
    watching: list[tuple[str, str, tuple[str, str]]] = []
    per_join = _arrive(session, arrivals.pop(0), "viewer 0", watching, (sound, picture))
    rest = max(0, envelopes - session.position - per_join * len(arrivals))
    ticks = max(1, rest * 2 // 3)
    step_ns = (HOUR_NS - 10 * SECOND_NS) // ticks
    storm = range(ticks * 7 // 10, ticks * 7 // 10 + min(60, ticks // 20 + 1))
    silence = ticks * 8 // 10
    at_ns = START_NS + 2 * SECOND_NS
    tick = 0
    while session.position < envelopes:
        at_ns += step_ns
        tick += 1
        while arrivals and START_NS + arrivals[0] <= at_ns:
            number = viewers - len(arrivals)
            _arrive(session, arrivals.pop(0), f"viewer {number}", watching, (sound, picture))
        session.at_ns = max(session.at_ns, at_ns)
        if tick in storm:
            asked = KeyFrameRequested(producer=picture, encoding=0, requests=random.randint(1, 40))
            session.to_producer(picture, asked)
        elif tick in (silence, silence + 40):
            active = tick != silence
            session.to_producer(picture, ProducerActivityChanged(producer=picture, active=active))
        else:
            _happen(session, random, watching, picture)
    return session


def _arrive(
    session: Session,
    at_ns: int,
    name: str,
    watching: list[tuple[str, str, tuple[str, str]]],
    producers: tuple[str, str],
) -> int:
    before = session.position
    session.at_ns = max(session.at_ns, START_NS + at_ns)
    viewer = session.join(name)
    receiving = session.transport(viewer, "recv")
    consumers = [session.consume(viewer, receiving, producer) for producer in producers]
    watching.append((viewer, receiving, (consumers[0], consumers[1])))
    return session.position - before


def _happen(
    session: Session,
    random: Random,
    watching: list[tuple[str, str, tuple[str, str]]],
    picture: str,
) -> None:
    """One small thing: mostly a score of someone's picture."""
    index = random.randrange(len(watching))
    viewer, transport, consumers = watching[index]
    chance = random.random()
    if chance < 0.80:
        score = 10 - min(10, int(random.expovariate(1.1)))
        scored = ConsumerScore(consumer=consumers[1], score=score, producer_score=10)
        session.to_consumer(consumers[1], scored)
    elif chance < 0.93:
        layer = random.choice((0, 1, 2))
        changed = LayersChanged(consumer=consumers[1], spatial_layer=layer, temporal_layer=None)
        session.to_consumer(consumers[1], changed)
    elif chance < 0.985:
        scores = ProducerScore(producer=picture, scores=(random.randint(7, 10),))
        session.to_producer(picture, scores)
    elif chance < 0.998:
        scored = ConsumerScore(consumer=consumers[0], score=random.randint(6, 10), producer_score=9)
        session.to_consumer(consumers[0], scored)
    elif chance < 0.9990:
        session.ask(PauseConsumer(peer="p_nobody", consumer=consumers[0]))
    elif chance < 0.9995:
        address = transport_address(transport)
        for state in ("disconnected", "connected"):
            changed_ice = IceStateChanged(transport=transport, state=state, remote=None)
            session.tell(address, changed_ice)
    elif chance < 0.9997 and len(watching) > 10:
        session.tell(Address("room"), SocketLost(peer=viewer, attachment=1))
    elif chance < 0.9999 and len(watching) > 10:
        session.ask(Leave(peer=viewer))
        watching[index] = watching[-1]
        watching.pop()


def make(directory: Path, envelopes: int, *, viewers: int = 1000, room: str = "arena") -> Path:
    """Write a big session into the event log of a directory; return it."""
    return store(directory, big_session(envelopes, viewers=viewers, room=room))


def main() -> None:
    """Make one from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--envelopes", type=int, default=1_000_000)
    parser.add_argument("--viewers", type=int, default=1000)
    parser.add_argument("--room", default="arena")
    options = parser.parse_args()
    make(options.directory, options.envelopes, viewers=options.viewers, room=options.room)


if __name__ == "__main__":
    main()
