"""The outbox keeps order and bounds, and tells its writer's fate."""

import pytest
import trio

from gateway.outbox import Outbox


async def test_frames_are_sent_in_order_and_the_end_waits_for_them():
    outbox, sent = Outbox(1000), []

    async def send(frame):
        await trio.lowlevel.checkpoint()
        sent.append(frame)

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
    outbox = Outbox(1000, frames_max=10)

    async def send(frame):
        await trio.sleep(1)

    for _ in range(10):
        outbox.put(b"x")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outbox.write, send)
        await outbox.wait_space()
        assert trio.current_time() == 4  # the fifth of ten is under way
        outbox.close()
        await outbox.wait_sent()
        assert trio.current_time() == 10


async def test_what_was_dropped_is_not_sent(autojump_clock):
    outbox, sent = Outbox(1000), []

    async def send(frame):
        await trio.sleep(1)
        sent.append(frame)

    async with trio.open_nursery() as nursery:
        for number in range(3):
            outbox.put(bytes([number]))
        nursery.start_soon(outbox.write, send)
        await trio.sleep(0.5)
        assert outbox.half_sent
        outbox.drop()
        assert outbox.put(b"too late")
        await outbox.wait_sent()
        assert not outbox.half_sent
    assert sent == [b"\x00"]


async def test_a_writer_that_fails_leaves_nobody_waiting():
    outbox = Outbox(1000)

    async def send(frame):
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

    async def send(frame):
        await trio.sleep_forever()

    outbox.put(b"x")
    with trio.move_on_after(1):
        await outbox.write(send)
    assert outbox.half_sent
