"""The bounded queue in front of each actor."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors.kernel.mailbox import LETTERS_MAX, REQUESTS_MAX, Mailbox, MailboxClosed, MailboxFull


async def test_letters_come_out_in_order_and_in_batches() -> None:
    mailbox: Mailbox[int] = Mailbox()
    for number in range(5):
        mailbox.post_nowait(number, request=False)
    assert len(mailbox) == 5
    assert await mailbox.receive(3) == [0, 1, 2]
    assert await mailbox.receive(3) == [3, 4]
    assert len(mailbox) == 0


async def test_receiving_waits_for_a_letter(autojump_clock: Any) -> None:
    mailbox: Mailbox[int] = Mailbox()
    received: list[list[int]] = []

    async def receive() -> None:
        received.append(await mailbox.receive(3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await trio.sleep(1)
        assert received == []
        mailbox.post_nowait(7, request=False)
        mailbox.post_nowait(8, request=False)
    assert received == [[7, 8]]


async def test_a_wait_that_is_cancelled_loses_no_letter(autojump_clock: Any) -> None:
    mailbox: Mailbox[int] = Mailbox()
    with trio.move_on_after(1):
        await mailbox.receive(1)
    mailbox.post_nowait(7, request=False)
    with trio.CancelScope() as scope:
        scope.cancel()
        await mailbox.receive(1)
    assert await mailbox.receive(1) == [7]


def test_requests_leave_room_for_what_the_house_says() -> None:
    mailbox: Mailbox[int] = Mailbox(requests_max=2, letters_max=3)
    mailbox.post_nowait(0, request=True)
    mailbox.post_nowait(1, request=True)
    with pytest.raises(MailboxFull):
        mailbox.post_nowait(2, request=True)
    mailbox.post_nowait(3, request=False)
    with pytest.raises(MailboxFull):
        mailbox.post_nowait(4, request=False)
    assert mailbox.close() == [0, 1, 3]
    assert REQUESTS_MAX < LETTERS_MAX


async def test_a_closed_mailbox_gives_back_what_is_left_and_takes_no_more() -> None:
    mailbox: Mailbox[int] = Mailbox()
    mailbox.post_nowait(1, request=True)
    assert mailbox.close() == [1]
    assert mailbox.close() == []
    with pytest.raises(MailboxClosed):
        mailbox.post_nowait(2, request=False)


async def test_some_letters_can_be_taken_out_of_turn() -> None:
    mailbox: Mailbox[int] = Mailbox()
    for number in range(6):
        mailbox.post_nowait(number, request=False)
    assert mailbox.take_nowait(lambda number: number % 2 == 1) == [1, 3, 5]
    assert mailbox.take_nowait(lambda number: number > 9) == []
    assert await mailbox.receive(9) == [0, 2, 4]
