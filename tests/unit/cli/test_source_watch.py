"""``serve --dev`` starts anew when the code changes, and only then."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.cli.source_watch import SourceWatch


def test_it_notices_what_happens_to_python_files(tmp_path: Path) -> None:
    room = tmp_path / "room"
    room.mkdir()
    file = room / "a.py"
    file.write_text("x = 1")
    watch = SourceWatch(tmp_path)
    assert not watch.changed()
    os.utime(file, ns=(1, 1))
    assert watch.changed()
    assert not watch.changed()
    (room / "b.py").write_text("y = 1")
    assert watch.changed()
    (room / "b.py").rename(room / "c.py")
    assert watch.changed()
    (room / "c.py").unlink()
    assert watch.changed()
    deeper = tmp_path / "new" / "room"
    deeper.mkdir(parents=True)
    (deeper / "d.py").write_text("z = 1")
    assert watch.changed()
    os.utime(deeper / "d.py", ns=(1, 1))
    assert watch.changed()
    (deeper / "d.py").unlink()
    deeper.rmdir()
    assert watch.changed()
    assert not watch.changed()


def test_it_does_not_mind_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    watch = SourceWatch(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("x")
    assert not watch.changed()
