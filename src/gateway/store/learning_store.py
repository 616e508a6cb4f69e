"""What is learned of deployments, in SQL: outcomes by hour of every process, and feedback by call."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import delete, func, select

from gateway.routing.learning import DAY, OUTCOMES_KEPT, DayOfRatings, Feedback, HourOfOutcomes, Outcomes
from gateway.store.dialect import insert_into
from gateway.store.engine import Database
from gateway.store.learning_tables import deployment_outcome, feedback


class SqlLearningStore:
    """See ``routing.learning.OutcomeStore`` and ``FeedbackStore``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_outcomes(self, hour: int, outcomes: dict[str, Outcomes]) -> None:
        table = deployment_outcome
        with self._database.begin() as connection:
            for model, told in sorted(outcomes.items()):
                values = {name: getattr(told, name) for name in ("answered", "failed", "micros", "measured")}
                connection.execute(
                    insert_into(connection, table)
                    .values(model=model, hour=hour, **values)
                    .on_conflict_do_update(
                        index_elements=[table.c.model, table.c.hour],
                        set_={name: table.c[name] + value for name, value in values.items()},
                    )
                )
            connection.execute(delete(table).where(table.c.hour < hour - 2 * OUTCOMES_KEPT))

    def outcomes(self, since: int) -> Sequence[HourOfOutcomes]:
        table = deployment_outcome
        with self._database.read() as connection:
            return [
                HourOfOutcomes(row.model, row.hour, Outcomes(row.answered, row.failed, row.micros, row.measured))
                for row in connection.execute(select(table).where(table.c.hour >= since))
            ]

    def ratings(self, since: int) -> Sequence[DayOfRatings]:
        day = feedback.c.at - feedback.c.at % DAY
        query = (
            select(feedback.c.model, day.label("day"), func.count().label("ratings"), func.sum(feedback.c.score))
            .where(feedback.c.at >= since)
            .group_by(feedback.c.model, day)
        )
        with self._database.read() as connection:
            return [DayOfRatings(*row) for row in connection.execute(query)]

    def keep(self, given: Feedback) -> None:
        values = {name: getattr(given, name) for name in given.__struct_fields__}
        with self._database.begin() as connection:
            connection.execute(
                insert_into(connection, feedback)
                .values(values)
                .on_conflict_do_update(
                    index_elements=[feedback.c.entry_id],
                    set_={name: values[name] for name in ("score", "comment", "at")},
                )
            )
