"""Active speaker and audio levels: from the plane's notices to what clients are told."""

from __future__ import annotations

from typing import Any

import trio

from actors.kernel.feed import Told
from protocol import codec, events
from protocol.commands import CloseProducer, Join
from protocol.messages import SpeakerNoted
from protocol.notices import AudioLevels, Level
from tests.control.stage import Client, Stage, joined, staged


async def meeting(stage: Stage) -> tuple[Client, Client, str, str]:
    """Two people with a microphone each."""
    ann, bob = await joined(stage, "ann"), await joined(stage, "bob")
    microphones = [await one.produce(await one.transport("send"), "audio") for one in (ann, bob)]
    return ann, bob, *microphones


async def hear(stage: Stage, steps: int, worker: int = 0, **levels: int) -> None:
    """Every 200 ms a notice with these levels in dBov."""
    told = tuple(Level(producer=one, level=-level) for one, level in levels.items())
    for _ in range(steps):
        await trio.sleep(0.2)  # virtual time
        stage.plane.inject(AudioLevels(room="room", worker=worker, levels=told))
        await stage.settle()


async def speakers(stage: Stage) -> list[str]:
    found = await stage.events_of()
    return [one.peer for one in found if isinstance(one, events.ActiveSpeakerChanged)]


def subscribe(stage: Stage, client: Client) -> list[Told]:
    told: list[Told] = []
    stage.runtime().feed.subscribe(client.peer, told.append)
    return told


async def test_who_speaks_is_told_and_journaled_with_its_grounds(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        ann, bob, hers, his = await meeting(stage)
        told = subscribe(stage, bob)
        await hear(stage, 5, **{hers: -20})
        await hear(stage, 10, **{his: -15})
        assert await speakers(stage) == [ann.peer, bob.peer]
        names = [one.notification.name for one in told]
        assert names.count("activeSpeaker") == 2
        log = await stage.log_of()
        places = [at for at, one in enumerate(log) if one.type == "ActiveSpeakerChanged"]
        for place in places:
            cause = log[log[place].cause - 1]
            message = codec.decode(cause.type, cause.version, cause.data)
            assert isinstance(message, SpeakerNoted)
        change = (await stage.events_of())[-1]
        assert (change.before, change.level, change.before_level) == (hers, -15, -70)
        # Levels themselves are not written down: that would be most of the log.
        assert not [one for one in log if one.type == "AudioLevels"]
        await stage.check_rebuilt()


async def test_levels_are_told_once_a_second_and_silence_at_once(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        ann, bob, hers, his = await meeting(stage)
        told = subscribe(stage, bob)
        await hear(stage, 25, **{hers: -20, his: -40})
        levels = [one for one in told if one.notification.name == "audioLevels"]
        assert 5 <= len(levels) <= 6
        assert levels[-1].notification.data == {
            "levels": [
                {"producer": hers, "peer": ann.peer, "level": -20},
                {"producer": his, "peer": bob.peer, "level": -40},
            ]
        }
        assert levels[-1].passing
        assert levels[-1].position == stage.runtime().feed.published
        await hear(stage, 1)
        assert told[-1].notification.data == {"levels": []}


async def test_a_lone_host_costs_its_viewers_no_levels(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        host, viewer = await joined(stage, "host"), await joined(stage, "viewer")
        microphone = await host.produce(await host.transport("send"), "audio")
        told = subscribe(stage, viewer)
        await hear(stage, 20, **{microphone: -20})
        assert [one.notification.name for one in told] == ["activeSpeaker"]


async def test_who_joins_is_told_who_speaks_and_who_has_gone_speaks_no_more(
    autojump_clock: Any,
) -> None:
    async with staged() as (stage, _):
        ann, _bob, hers, his = await meeting(stage)
        await hear(stage, 5, **{hers: -20})
        answer = await stage.met(Join(room="room", name="cid"))
        assert answer.joined.active_speaker == hers
        await stage.met(CloseProducer(peer=ann.peer, producer=hers))
        answer = await stage.met(Join(room="room", name="dan"))
        assert answer.joined.active_speaker is None
        # What the plane heard before it knew is about nobody.
        await hear(stage, 3, **{hers: -20})
        await hear(stage, 8, **{his: -30})
        assert (await speakers(stage))[-1] == _bob.peer


async def test_levels_of_a_room_that_is_gone_are_dropped(autojump_clock: Any) -> None:
    async with staged() as (stage, _):
        stage.plane.inject(AudioLevels(room="gone", worker=0, levels=()))
        await stage.settle()
        stage.check_calm()
