"""Prepared statements: they do what the same statement does, and find a run's steps by index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from fixtures.money_kit import open_database
from gateway.store import step_statements
from gateway.store.engine import Database
from gateway.store.prepared import Prepared
from gateway.store.step_statements import HAND_OUT_OF_RUN, add_events
from gateway.store.tables import counter, event, step


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = open_database(f"sqlite:///{tmp_path / 'gateway.db'}")
    yield made
    made.close()


def test_rows_are_those_of_the_statement_itself(database: Database) -> None:
    query = select(step).where(step.c.limited == bindparam("limited"))
    with database.begin() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        row = {"task_id": "t", "run_id": "r", "step_id": "s", "position": 0, "task_type": "work", "spec": "{}"}
        more = {"queue": "cpu", "state": "ready", "created_at": 1, "limited": True, "progress": 0.5}
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        connection.execute(insert(step).values(row | more))
        ordinary = [dict(found._mapping) for found in connection.execute(query, {"limited": True})]
        assert Prepared(query).all(connection, limited=True) == ordinary
        assert ordinary[0]["limited"] is True
        assert Prepared(query).one(connection, limited=False) is None
        connection.rollback()


def test_an_error_is_sqlalchemys(database: Database) -> None:
    add = Prepared(insert(counter).values(name=bindparam("a_name"), value=bindparam("a_value")))
    with database.begin() as connection:
        add.run(connection, a_name="once", a_value=1)
    with pytest.raises(IntegrityError), database.begin() as connection:
        add.run(connection, a_name="once", a_value=2)
    with database.read() as connection:
        assert connection.scalar(select(counter.c.value).where(counter.c.name == "once")) == 1


def test_so_many_events_at_once(database: Database) -> None:
    values = {
        f"{name}_{at}": value
        for at in range(3)
        for name, value in {
            "id": at + 1, "type": "t", "run_id": None, "task_id": None, "owner": "o", "payload": "{}", "created_at": at
        }.items()
    }  # fmt: skip
    with database.begin() as connection:
        add_events(3).run(connection, **values)
        assert [row.created_at for row in connection.execute(select(event).order_by(event.c.id))] == [0, 1, 2]


def test_the_steps_of_a_run_are_found_without_looking_at_those_of_others(database: Database) -> None:
    with database.begin() as connection:
        made = HAND_OUT_OF_RUN._for(connection)
        given = HAND_OUT_OF_RUN._given(made, {"of_run": "r", "now": 1, "most": 9, "new_lease": 2})
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {made.text}", tuple(given))]
    assert plan
    assert not [line for line in plan if "step_by_state" in line or line.startswith("SCAN step")], plan


def test_every_statement_can_be_compiled(database: Database) -> None:
    found = [one for one in vars(step_statements).values() if isinstance(one, Prepared)]
    assert len(found) > 10
    with database.read() as connection:
        for one in found:
            assert one._for(connection).text
