"""Doorbells that the broker does not take are rung as soon as it answers, and hold nobody up meanwhile."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from gateway.cli.embedded_broker import start_broker
from gateway.engine.rows import Doorbell
from gateway.tasks.celery_app import CeleryExecutor, make_celery
from gateway.tasks.doorbells import BrokerAway, Ringer

BELLS = [Doorbell(f"task_{number}", 1, "cpu", 5) for number in range(4)]


class Broker:
    """Takes doorbells unless it is away; knows who asked."""

    def __init__(self) -> None:
        self.away = False
        self.takes = 10**9
        self.taken: list[Doorbell] = []
        self.asked_by: list[str] = []

    def take(self, bell: Doorbell) -> None:
        self.asked_by.append(threading.current_thread().name)
        if self.away or len(self.taken) >= self.takes:
            raise BrokerAway("ConnectionRefusedError")
        self.taken.append(bell)


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        time.sleep(0.005)


def resting() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "doorbells"]


def test_what_the_broker_does_not_take_is_rung_once_it_answers() -> None:
    broker = Broker()
    broker.takes = 1
    ringer = Ringer(broker.take, pause=0.01)
    ringer.ring(BELLS[:3])
    assert broker.taken == BELLS[:1]
    mine = broker.asked_by.count("MainThread")
    ringer.ring(BELLS[3:])
    assert broker.asked_by.count("MainThread") == mine, "whoever rings while it is away is not held up"
    until(lambda: len(broker.asked_by) > 5)
    broker.takes = 10**9
    until(lambda: len(broker.taken) == len(BELLS))
    assert broker.taken == BELLS
    until(resting)


def test_after_one_outage_comes_the_next() -> None:
    broker = Broker()
    ringer = Ringer(broker.take, pause=0.01)
    rung: list[Doorbell] = []
    for bell in BELLS:
        broker.away = True
        ringer.ring([bell])
        rung.append(bell)
        broker.away = False
        until(lambda: broker.taken == rung)
    until(resting)
    ringer.ring(BELLS[:1])
    assert broker.asked_by[-1] == "MainThread"
    assert broker.taken == [*BELLS, BELLS[0]]


def test_what_the_sweep_has_handed_out_anew_is_let_go() -> None:
    broker = Broker()
    broker.away = True
    ringer = Ringer(broker.take, pause=0.01, keep=0.05)
    ringer.ring(BELLS)
    until(resting)
    broker.away = False
    ringer.ring(BELLS[:1])
    assert broker.taken == BELLS[:1]


def test_many_threads_ring_through_an_outage_and_none_is_lost_or_doubled() -> None:
    broker = Broker()
    broker.away = True
    ringer = Ringer(broker.take, pause=0.001)
    bells = [Doorbell(f"task_{number}", 1, "cpu", 5) for number in range(400)]

    def some(first: int) -> None:
        for bell in bells[first::8]:
            ringer.ring([bell])

    threads = [threading.Thread(target=some, args=(first,)) for first in range(8)]
    for number, thread in enumerate(threads):
        thread.start()
        if number == 4:
            broker.away = False
    for thread in threads:
        thread.join()
    until(resting)
    assert sorted(bell.task_id for bell in broker.taken) == sorted(bell.task_id for bell in bells)


def test_a_valkey_that_was_away_has_the_doorbells_once_it_is_back(tmp_path: Path) -> None:
    broker = start_broker(tmp_path, os.environ, tmp_path / "broker.log")
    assert broker is not None
    try:
        assert broker.wait()
        app = make_celery(broker.url)
        executor = CeleryExecutor(app)
        executor.ring(BELLS[:1])
        broker.child.stop()  # with the first: it keeps nothing
        executor.ring(BELLS[1:])
        broker.child.start()
        assert broker.wait()
        until(resting, 30)
        with app.connection() as line, line.SimpleQueue("cpu") as queue:
            rung = [queue.get(timeout=10).payload[0] for _ in BELLS[1:]]
        assert rung == [[bell.task_id, bell.token] for bell in BELLS[1:]]
    finally:
        broker.child.stop()
