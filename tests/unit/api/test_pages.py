"""A list begins where the page before said, and nowhere else: a place that is none is refused by its door."""

from __future__ import annotations

import pytest

from fixtures.house import House

LISTS = [
    ("/tasks", "cursor", "task"),
    ("/runs", "cursor", "run"),
    ("/workflows/any/runs", "cursor", "run"),
    ("/usage/entries", "cursor", "entry"),
    ("/keys", "cursor", "key"),
    ("/webhooks/deliveries", "cursor", "msg"),
    ("/v1/files", "after", "file"),
    ("/v1/batches", "after", "batch"),
]
REST = "33npsf34zafqxw7z128ap2h5r6"  # of an id


@pytest.mark.parametrize(("path", "name", "prefix"), LISTS, ids=[path for path, *_ in LISTS])
def test_a_place_that_no_page_told_is_refused_and_said_how_to_mend(
    house: House, path: str, name: str, prefix: str
) -> None:
    other = "task" if prefix != "task" else "run"
    for given in ("garbage", "", REST, f"{other}_{REST}", f"{prefix}_{REST[:-1]}", f"{prefix}_{REST.upper()}", "%27--"):
        found = house.ask("GET", f"{path}?{name}={given}")
        assert found.status == 400, given
        told = found.body["error"] if path.startswith("/v1/") else found.body
        assert (told["code"], told["param"]) == ("bad_request", name)
        assert "of the page before" in str(found.body)
    for limit in ("", "&limit=1"):
        assert house.ask("GET", f"{path}?{name}={prefix}_{REST}{limit}").status == 200


@pytest.mark.parametrize("given", ["garbage", "", "-1", "1.5", "9" * 19, "%D9%A1"])
def test_the_audit_trails_places_are_numbers(house: House, given: str) -> None:
    found = house.ask("GET", f"/audit?cursor={given}")
    assert (found.status, found.body["code"], found.body["param"]) == (400, "bad_request", "cursor")
    assert "next_cursor of the page before" in found.body["mend"]


def test_a_list_is_read_to_its_end_by_the_places_it_tells(house: House) -> None:
    made = {house.ask("POST", "/keys", {"name": f"paged-{at}", "role": "viewer"}).body["id"] for at in range(3)}
    seen: list[str] = []
    for path, rows, name in (("/keys", "keys", "id"), ("/audit", "records", "seq")):
        cursor, seen = "", []
        for _ in range(500):
            page = house.ask("GET", f"{path}?limit=2{cursor}").body
            seen += [str(row[name]) for row in page[rows]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        else:
            pytest.fail(f"{path} has no end")
        assert len(seen) == len(set(seen)) > 2, path
        assert path == "/audit" or made <= set(seen)
