"""The journal's file: what it promises where the disk does not take it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway.errors import Unavailable
from gateway.store.journal_file import JournalFile
from gateway.store.journal_folder import lines_of, orphans

LINE = b"x" * 99


def test_a_full_disk_stops_what_begins_and_takes_what_ends(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path, segment_bytes=4096)
    in_the_way = tmp_path / f"{journal.name}.1"
    in_the_way.mkdir()
    opened = (4096 - 4096 // 16) // 100
    for _ in range(opened):
        journal.write(LINE, opens=True)
    with pytest.raises(Unavailable, match="journal of calls cannot be written"):
        journal.write(LINE, opens=True)
    assert not journal.healthy
    with pytest.raises(Unavailable):
        journal.check()
    for _ in range(2):
        journal.write(LINE, opens=False)
    journal.mend()
    assert not journal.healthy, "nothing has changed"
    in_the_way.rmdir()
    journal.mend()
    journal.check()
    assert journal.write(LINE, opens=True)[0] == 1
    journal.close()
    assert len(list(lines_of(tmp_path, journal.name))) == opened + 3


def test_segments_go_once_nobody_needs_them_and_not_before(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path, segment_bytes=1000)
    first = journal.write(LINE, opens=True)
    while journal.write(LINE, opens=False)[0] < 2:
        pass
    journal.settled([], (2, 0))
    assert (tmp_path / f"{journal.name}.0").exists(), "a call that began in it is under way"
    assert not journal.seal()
    journal.settled([first[0]], (2, 0))
    assert sorted(path.suffix for path in tmp_path.glob(f"{journal.name}.*")) == [".2", ".lock"]
    assert journal.seal()
    with pytest.raises(Unavailable, match="journal"):
        journal.write(LINE, opens=True)
    journal.close()


def test_only_a_dead_journal_is_an_orphan(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path)
    assert list(orphans(tmp_path)) == []
    journal.close()
    assert list(orphans(tmp_path)) == [journal.name]


@pytest.mark.parametrize("strict", [False, True])
def test_whoever_waits_hears_when_it_is_on_the_disk(tmp_path: Path, strict: bool) -> None:
    journal = JournalFile(tmp_path, strict=strict)

    async def many() -> None:
        for _ in range(3):
            journal.write(LINE, opens=True)
            await asyncio.gather(*(journal.synced() for _ in range(10)))

    asyncio.run(many())
    journal.close()
    with pytest.raises(Unavailable):
        asyncio.run(journal.synced())
