"""A year of calls in the ledger's tables, made by SQL: what the gateway's own entering of them would have left."""

from __future__ import annotations

from sqlalchemy import text

from gateway.ledger.usage_ask import DIMENSIONS, SUMS
from gateway.ledger.usage_time import DAY, HOUR
from gateway.store.engine import Database
from gateway.store.many_rows import insert_rows
from gateway.store.tables import usage_series
from gateway.store.usage_rollups import series_id

YEAR = 365 * DAY
_KEYS = 100
_MODELS = (
    ("gpt-4", "openai"),
    ("gpt-4o", "openai"),
    ("claude", "anthropic"),
    ("mistral", "mistral"),
    ("risk", "local"),
)
_TAGS = ("", "nightly", "project=alpha,nightly")
_OUTCOMES = ("completed", "cancelled")
#: So many entries are made in one transaction.
_PART = 500_000

_ENTRIES = """
INSERT INTO entry (entry_id, cause, hold_id, kind, principal, key_id, team, model, provider, upstream_model,
  input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, inference_micros, rows, cost,
  basis, price_card, outcome, config_epoch, request_id, tags, at)
SELECT 'entry_' || lpad(n::text, 26, '0'), 'req-' || n, 'hold_' || lpad(n::text, 26, '0'), kind, principal, key_id,
  team, model, provider, model, 50 + n % 997, 20 + n % 211, n % 7, 0, n % 5, 0, 0, 1000000 + n % 9973 * 1000, basis,
  'configured 2026-01-01 (benchmark)', outcome, '7fc37178ca4c', 'req-' || n, tags, :start + n * :step
FROM generate_series(CAST(:first AS bigint), :last) AS n JOIN made_series ON number =
  (n * 7919 + n / 97) % :keys * :models * :tags * 2 + (n * 31 + n / 7) % :models * :tags * 2
  + n / 13 % :tags * 2 + (n % 50 = 0)::int
"""
_POSTINGS = """
INSERT INTO posting SELECT entry_id, account, amount FROM entry, LATERAL
  (VALUES ('caller:' || principal, cost), ('provider:' || provider, -cost)) AS halves(account, amount)
WHERE at > :since AND at <= :until ORDER BY entry_id
"""
_BALANCES = "INSERT INTO balance SELECT account, sum(amount), count(*) FROM posting GROUP BY account"
#: In the order of SUMS.
_SUMMED = """
INSERT INTO {table} (series_id, {unit}, {sums})
SELECT series_id, at / :width, count(*), count(*), sum(input_tokens), sum(output_tokens), sum(cached_tokens),
  sum(cache_write_tokens), sum(reasoning_tokens), sum(inference_micros), sum(rows), sum(cost)
FROM entry JOIN made_series USING (key_id, model, outcome, tags) GROUP BY series_id, at / :width
"""


def fill(database: Database, number: int, start: int) -> None:
    """Enters so many calls, evenly over the year that begins at ``start`` (microseconds)."""
    _make_series(database)
    step = YEAR // number
    kinds = {"keys": _KEYS, "models": len(_MODELS), "tags": len(_TAGS)}
    for first in range(1, number + 1, _PART):
        last = min(first + _PART - 1, number)
        made = {"first": first, "last": last, "start": start, "step": step}
        span = {"since": start + (first - 1) * step, "until": start + last * step}
        with database.begin() as connection:
            connection.execute(text(_ENTRIES), {**made, **kinds})
            connection.execute(text(_POSTINGS), span)
    with database.begin() as connection:
        connection.execute(text(_BALANCES))
        for table, unit, width in (("usage_hour", "hour", HOUR), ("usage_day", "day", DAY)):
            query = _SUMMED.format(table=table, unit=unit, sums=", ".join(f'"{name}"' for name in SUMS))
            connection.execute(text(query), {"width": width})
        connection.execute(text("DROP TABLE made_series"))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))  # as PostgreSQL does by itself within minutes


def _make_series(database: Database) -> None:
    made = [
        (f"user-{key % 40}", f"key-{key}", f"team-{key % 8}", model, provider, "", "llm", outcome, "provider", tags)
        for key in range(_KEYS)
        for model, provider in _MODELS
        for tags in _TAGS
        for outcome in _OUTCOMES
    ]
    columns = ("series_id", *DIMENSIONS)
    with database.begin() as connection:
        insert_rows(connection, usage_series, columns, [(series_id(series), *series) for series in made])
        connection.execute(text("CREATE TABLE made_series (number bigint PRIMARY KEY, LIKE usage_series)"))
        for number, series in enumerate(made):
            values = {"number": number, "of": series_id(series)}
            connection.execute(
                text("INSERT INTO made_series SELECT :number, * FROM usage_series WHERE series_id = :of"), values
            )
