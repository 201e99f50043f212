"""Where all pictures are made: how many pixels at once, whose turn it is, and who is sent away."""

from __future__ import annotations

import asyncio
import threading

import pytest
from starlette.requests import Request

from xtalgrid_core.errors import Busy
from xtalgrid_core.images import MAX_PIXELS
from xtalgrid_server.web import picture_pool, proxies
from xtalgrid_server.web.picture_pool import PicturePool

LARGE = MAX_PIXELS


class Asked:
    """Pictures that clients ask a pool for, and when each was made; making waits until it is allowed."""

    def __init__(self, maps: int = 1) -> None:
        self.pool, self.made = PicturePool(maps), list[str]()
        self.may_go = threading.Semaphore(0)
        self.gone: dict[str, asyncio.Event] = {}
        self.working, self.most = 0, 0
        self._lock = threading.Lock()

    def ask(self, client: str, name: str, pixels: int, is_map: bool = False) -> asyncio.Task[str]:
        left = self.gone[name] = asyncio.Event()

        async def receive():
            await left.wait()
            return {"type": "http.disconnect"}

        scope = {"type": "http", "headers": [], proxies._REACHED: proxies.Reached(None, (), (), False, client)}

        def work() -> str:
            with self._lock:
                self.working += pixels
                self.most = max(self.most, self.working)
            self.may_go.acquire()
            with self._lock:
                self.working -= pixels
                self.made.append(name)
            return name

        return asyncio.create_task(self.pool.make(Request(scope, receive), pixels, work, is_map=is_map))


async def let_all_go(asked: Asked, tasks: list[asyncio.Task[str]]) -> list[str | BaseException]:
    await asyncio.sleep(0.1)
    for _ in tasks:
        asked.may_go.release()
        await asyncio.sleep(0.02)
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_large_pictures_are_made_one_by_one_and_a_small_one_beside_them():
    async def run():
        asked = Asked()
        tasks = [asked.ask("a", f"large {n}", LARGE) for n in range(5)]
        await asyncio.sleep(0.1)
        small = asked.ask("a", "small", 1_000_000)
        await asyncio.sleep(0.1)
        asked.may_go.release(2)
        await asyncio.wait_for(small, 5)
        assert await let_all_go(asked, tasks) == [f"large {n}" for n in range(5)]
        assert asked.most <= LARGE + 6_000_000 and "small" in asked.made[:2]

    asyncio.run(run())


def test_each_client_has_its_turn():
    async def run():
        asked = Asked()
        many = [asked.ask("attacker", f"a{n}", LARGE) for n in range(30)]
        await asyncio.sleep(0.1)
        one = asked.ask("honest", "h", LARGE)
        await let_all_go(asked, [*many, one])
        assert asked.made.index("h") == 1

    asyncio.run(run())


def test_when_the_queue_is_full_those_who_have_most_in_it_are_sent_away(monkeypatch):
    monkeypatch.setattr(picture_pool, "_MOST_WAITING", 10)

    async def run():
        asked = Asked()
        many = [asked.ask("attacker", f"a{n}", LARGE - n) for n in range(30)]
        await asyncio.sleep(0.1)
        one = asked.ask("honest", "h", LARGE)
        answers = await let_all_go(asked, [*many, one])
        assert answers[-1] == "h"
        assert sum(isinstance(answer, Busy) for answer in answers) == 20

    asyncio.run(run())


def test_who_waits_too_long_is_told_to_come_again(monkeypatch):
    monkeypatch.setattr(picture_pool, "_PATIENCE", 0.2)

    async def run():
        asked = Asked()
        first, second = asked.ask("a", "1", LARGE), asked.ask("b", "2", LARGE)
        with pytest.raises(Busy):
            await second
        asked.may_go.release(2)
        assert await first == "1"
        assert await asked.ask("c", "3", LARGE) == "3"

    asyncio.run(run())


def test_nothing_is_made_for_who_is_gone():
    async def run():
        asked = Asked()
        first, second = asked.ask("a", "1", LARGE), asked.ask("b", "2", LARGE)
        await asyncio.sleep(0.05)
        asked.gone["2"].set()
        with pytest.raises(Busy):
            await second
        asked.may_go.release(2)
        await first
        assert asked.made == ["1"]

    asyncio.run(run())


def test_class_maps_leave_room_for_other_pictures():
    async def run():
        asked = Asked(maps=1)
        maps = [asked.ask("a", f"map {n}", 7_000_000, is_map=True) for n in range(4)]
        await asyncio.sleep(0.1)
        other = asked.ask("a", "other", 8_000_000)
        await asyncio.sleep(0.1)
        assert asked.working == 15_000_000  # one map and the other picture
        await let_all_go(asked, [*maps, other])

    asyncio.run(run())
