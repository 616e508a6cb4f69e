"""Notices that the code changed, for ``serve --dev``: looks at the times of files and folders it knows, and lists a
folder again only when the folder itself changed."""

from __future__ import annotations

import os
from pathlib import Path


class SourceWatch:
    """``changed`` says whether a Python file under ``root`` came, went or was written since it was last asked."""

    def __init__(self, root: Path) -> None:
        self._folders: dict[str, int] = {}
        self._files: dict[str, int] = {}
        self._look_into(str(root))

    def changed(self) -> bool:
        """Asks the file system."""
        before = dict(self._files)
        for folder, seen in list(self._folders.items()):
            now = _stamp(folder)
            if now != seen:  # a name in it came or went
                self._forget(folder)
                if now:
                    self._look_into(folder)
        for file in self._files:
            self._files[file] = _stamp(file)
        return self._files != before

    def _look_into(self, folder: str) -> None:
        self._folders[folder] = _stamp(folder)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != "__pycache__" and entry.path not in self._folders:
                        self._look_into(entry.path)
                elif entry.name.endswith(".py"):
                    self._files[entry.path] = entry.stat().st_mtime_ns

    def _forget(self, folder: str) -> None:
        del self._folders[folder]
        for file in [name for name in self._files if os.path.dirname(name) == folder]:
            del self._files[file]


def _stamp(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
