"""The outbox keeps order and bounds, and tells its writer's fate."""

import pytest
import trio
import trio.testing

from gateway.outbox import BATCH_BYTES_MAX, Outbox
from gateway.pace import FLUSHES_PER_SECOND_MAX, TURN, Pace


async def test_frames_are_sent_in_order_and_the_end_waits_for_them():
    outbox, sent = Outbox(1000), []

    async def send(frames):
        await trio.lowlevel.checkpoint()
        sent.extend(frames)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            assert outbox.put(bytes([number]))
        nursery.start_soon(outbox.write, send)
        await outbox.wait_sent()
        assert sent == [bytes([number]) for number in range(5)]
        outbox.put(b"more")
        outbox.close()
    assert sent[-1] == b"more"


def test_bounds_are_kept_and_nothing_half_queued():
    by_bytes = Outbox(10)
    assert by_bytes.put(b"x" * 10)
    assert not by_bytes.put(b"x")
    by_number = Outbox(1000, frames_max=2)
    assert by_number.put("a")
    assert by_number.put("b")
    assert not by_number.put("c")


async def test_wait_space_waits_until_half_is_sent(autojump_clock):
    outbox = Outbox(10 * BATCH_BYTES_MAX, frames_max=10)

    async def send(frames):
        assert len(frames) == 1
        await trio.sleep(1)

    for _ in range(10):
        outbox.put(b"x" * BATCH_BYTES_MAX)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.write, send)
        await outbox.wait_space()
        assert trio.current_time() == 4  # the fifth of ten is under way
        outbox.close()
        await outbox.wait_sent()
        assert trio.current_time() == 10


async def test_wait_space_for_a_large_frame_waits_until_it_fits(autojump_clock):
    outbox = Outbox(10 * BATCH_BYTES_MAX)

    async def send(frames):
        await trio.sleep(1)

    for _ in range(5):
        assert outbox.put(b"x" * BATCH_BYTES_MAX)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.write, send)
        await outbox.wait_space(8 * BATCH_BYTES_MAX)
        assert trio.current_time() == 2  # two are left, the third is under way
        assert outbox.put(b"x" * 8 * BATCH_BYTES_MAX)
        await outbox.wait_space(11 * BATCH_BYTES_MAX)
        assert trio.current_time() == 2  # no wait makes room for more than there ever is
        assert not outbox.put(b"x" * 11 * BATCH_BYTES_MAX)
        outbox.close()


async def test_small_frames_leave_together(autojump_clock):
    outbox, batches = Outbox(1_000_000), []

    async def send(frames):
        batches.append(len(frames))

    for _ in range(3 * 64):
        outbox.put(b"x" * 1024)
    outbox.close()
    await outbox.write(send)
    assert batches == [64, 64, 64]


async def test_what_is_not_urgent_waits_for_its_turn_and_leaves_in_order(autojump_clock):
    pace, sent = Pace(), []
    outbox = Outbox(1000, pace=pace)

    async def send(frames):
        sent.append((trio.current_time(), *frames))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pace.run)
        nursery.start_soon(outbox.write, send)
        await trio.testing.wait_all_tasks_blocked()
        outbox.put(b"first", urgent=False)
        await trio.testing.wait_all_tasks_blocked()
        outbox.put(b"second", urgent=False)
        outbox.put(b"third", urgent=False)
        await trio.testing.wait_all_tasks_blocked()
        assert sent == [(0.0, b"first")]  # after quiet, at once
        await trio.sleep(1)
        assert sent[1:] == [(TURN / FLUSHES_PER_SECOND_MAX, b"second", b"third")]
        outbox.put(b"told", urgent=False)
        outbox.put(b"answered")
        await trio.testing.wait_all_tasks_blocked()
        assert sent[2:] == [(1.0, b"told", b"answered")]
        nursery.cancel_scope.cancel()


async def test_a_crowd_is_told_at_a_bounded_rate_and_nobody_twice_a_turn(autojump_clock):
    pace, told = Pace(), []
    boxes = [Outbox(1000, pace=pace) for _ in range(1000)]

    def writer(number):
        async def send(frames):
            told.append((number, len(frames)))

        return send

    async with trio.open_nursery() as nursery:
        for number, outbox in enumerate(boxes):
            nursery.start_soon(outbox.write, writer(number))
            for _ in range(20):
                outbox.put(b"x", urgent=False)
        nursery.start_soon(pace.run)
        await trio.sleep(0.1)
        assert 300 < len(told) <= 400 + TURN
        await trio.sleep(0.2)
        assert sorted(told) == [(number, 20) for number in range(1000)]
        nursery.cancel_scope.cancel()


async def test_what_was_dropped_is_not_sent(autojump_clock):
    outbox, sent = Outbox(1000), []

    async def send(frames):
        await trio.sleep(1)
        sent.extend(frames)

    async with trio.open_nursery() as nursery:
        outbox.put(bytes([0]))
        nursery.start_soon(outbox.write, send)
        await trio.sleep(0.5)
        for number in range(1, 3):
            outbox.put(bytes([number]))
        assert outbox.half_sent
        outbox.drop()
        assert outbox.put(b"too late")
        await outbox.wait_sent()
        assert not outbox.half_sent
    assert sent == [b"\x00"]


async def test_a_writer_that_fails_leaves_nobody_waiting():
    outbox = Outbox(1000)

    async def send(frames):
        raise trio.BrokenResourceError

    outbox.put(b"x")
    outbox.put(b"y")
    with pytest.raises(trio.BrokenResourceError):
        await outbox.write(send)
    with trio.fail_after(1):
        await outbox.wait_sent()
    assert outbox.half_sent


async def test_a_writer_that_is_stopped_amid_a_frame_says_so(autojump_clock):
    outbox = Outbox(1000)

    async def send(frames):
        await trio.sleep_forever()

    outbox.put(b"x")
    with trio.move_on_after(1):
        await outbox.write(send)
    assert outbox.half_sent
