"""Long logs to measure with: a room of some people in which something happens all the time.

Drawn from a seed and decided by the deciders, so they fold and verify. The course is that of real
rooms: scores of every stream about once a second, now and then a layer, a pause, a keyframe, a
viewer who leaves and another who comes.
"""

from random import Random

from protocol.commands import PauseConsumer, RequestConsumerKeyFrame, ResumeConsumer
from protocol.notices import ConsumerScore, KeyFrameRequested, LayersChanged, ProducerScore
from tests.replay.sessions import Session

BUSY, CALM = 0.8, 0.02
"""How likely it is that a stream's score is another within a second."""


def long_session(
    *,
    people: int,
    envelopes: int = 0,
    seconds: int = 0,
    publishers: int = 2,
    seed: int = 1,
    change: float = BUSY,
) -> Session:
    """A session of at least so many envelopes and seconds."""
    session = Session("long", seed=seed)
    random = Random(seed)
    hosts = [session.join(f"host {n}") for n in range(publishers)]
    producers = []
    for host in hosts:
        sending = session.transport(host)
        producers += [session.produce(host, sending, kind) for kind in ("audio", "video")]
    viewers = {}

    def come():
        viewer = session.join("viewer")
        receiving = session.transport(viewer, "recv")
        viewers[viewer] = [session.consume(viewer, receiving, each) for each in producers]

    for _ in range(people - publishers):
        come()
    begin_ns = session.at_ns
    while session.position < envelopes or session.at_ns < begin_ns + seconds * 1_000_000_000:
        session.wait(1)
        for producer in producers:
            if change == BUSY or random.random() < change:
                score = ProducerScore(producer=producer, scores=(random.randrange(5, 11),))
                session.to_producer(producer, score)
        for viewer in list(viewers):
            _second(session, random, viewer, viewers[viewer], change)
        if random.random() < 0.02 * change / BUSY:
            gone = random.choice(list(viewers))
            del viewers[gone]
            session.leave(gone)
            come()
        if random.random() < 0.1 * change / BUSY:
            producer = random.choice(producers)
            asked = KeyFrameRequested(producer=producer, encoding=0, requests=2)
            session.to_producer(producer, asked)
    return session


def _second(session, random, viewer, consumers, change):
    """Let a second of a viewer pass."""
    for consumer in consumers:
        if random.random() < change:
            score = ConsumerScore(
                consumer=consumer, score=random.randrange(11), producer_score=random.randrange(11)
            )
            session.to_consumer(consumer, score)
    chance = random.random()
    consumer = random.choice(consumers)
    if chance < 0.02:
        session.to_consumer(
            consumer, LayersChanged(consumer=consumer, spatial_layer=1, temporal_layer=2)
        )
    elif chance < 0.03:
        session.ask(PauseConsumer(peer=viewer, consumer=consumer))
        session.ask(ResumeConsumer(peer=viewer, consumer=consumer))
    elif chance < 0.04:
        session.ask(RequestConsumerKeyFrame(peer=viewer, consumer=consumer))
