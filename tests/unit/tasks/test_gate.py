"""How many steps a process has in hand: few of those that compute, unless they are over in no time."""

from __future__ import annotations

from gateway.tasks.gate import Gate


def entered(gate: Gate[str], *names: str, computes: bool = True) -> list[str]:
    for name in names:
        gate.enter(name, computes=computes)
    return gate.admitted()


def some(prefix: str, count: int) -> list[str]:
    return [f"{prefix}{at}" for at in range(count)]


def test_of_those_that_compute_a_few_are_in_hand() -> None:
    gate = Gate[str](32)
    assert entered(gate, *some("c", 20)) == some("c", 8)
    gate.leave(computes=True)
    assert gate.admitted() == ["c8"]
    assert gate.admitted() == []


def test_those_that_wait_for_models_are_as_many_as_may_be_of_all() -> None:
    gate = Gate[str](32)
    assert entered(gate, *some("c", 20)) == some("c", 8)
    assert entered(gate, *some("w", 40), computes=False) == some("w", 24)
    gate.leave(computes=False)
    assert gate.admitted() == ["w24"]


def test_with_each_that_is_over_in_no_time_there_may_be_one_more() -> None:
    gate = Gate[str](10)
    assert entered(gate, *some("c", 30)) == some("c", 8)
    for _ in range(8):
        gate.leave(computes=True)
        gate.noted(long=False)
    assert len(gate.admitted()) == 10


def test_one_that_takes_long_makes_it_few_again() -> None:
    gate = Gate[str](32)
    for _ in range(30):
        gate.noted(long=False)
    assert len(entered(gate, *some("c", 40))) == 32
    gate.noted(long=True)
    for _ in range(24):
        gate.leave(computes=True)
    assert gate.admitted() == []
    gate.leave(computes=True)
    assert gate.admitted() == ["c32"]


def test_first_come_first_served() -> None:
    gate = Gate[str](2)
    gate.enter("a", computes=True)
    gate.enter("b", computes=False)
    gate.enter("c", computes=True)
    assert gate.admitted() == ["a", "b"]
    gate.leave(computes=False)
    assert gate.admitted() == ["c"]


def test_a_process_with_room_for_less_has_less() -> None:
    assert entered(Gate[str](3), *some("c", 5)) == some("c", 3)


def test_nobody_is_in_line_once_it_is_emptied() -> None:
    gate = Gate[str](1)
    assert entered(gate, "a", "b") == ["a"]
    gate.empty()
    gate.leave(computes=True)
    assert gate.admitted() == []
