"""Waking those who wait for something to change."""

from __future__ import annotations

import asyncio
import threading

from model_platform_server.services.platform import Changes

NEVER, SOON = 600.0, 30.0


def test_what_changes_between_looking_and_waiting_is_not_missed() -> None:
    changes = Changes()

    async def reader() -> None:
        with changes.watched() as watch:
            other = threading.Thread(target=changes.notify)
            other.start()
            other.join()
            await asyncio.wait_for(watch.wait(NEVER), SOON)

    asyncio.run(reader())


def test_each_who_waits_is_woken_and_waits_for_the_next_change_after_it() -> None:
    changes = Changes()

    async def reader() -> None:
        with changes.watched() as one, changes.watched() as another:
            for _ in range(2):
                changes.tell()
                await asyncio.wait_for(one.wait(NEVER), SOON)
            await asyncio.wait_for(another.wait(NEVER), SOON)
            waiting = asyncio.ensure_future(another.wait(NEVER))
            await asyncio.sleep(0)
            assert not waiting.done()
            changes.notify()
            await asyncio.wait_for(waiting, SOON)

    asyncio.run(reader())


def test_who_has_left_is_told_nothing_and_time_ends_a_wait() -> None:
    changes = Changes()

    async def reader() -> None:
        with changes.watched() as watch:
            await watch.wait(0.0)
        changes.notify()
        await asyncio.sleep(0)

    asyncio.run(reader())
    changes.notify()


def test_the_reconciler_is_not_woken_by_what_it_wrote_itself() -> None:
    changes = Changes()
    changes.tell()
    assert not changes.reconciler.is_set()
    changes.notify()
    assert changes.reconciler.is_set()
