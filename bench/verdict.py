"""What a storm or a race found: figures, and what does not hold."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Verdict:
    """``figures`` for the report, ``broken`` for what does not hold."""

    figures: dict[str, Any] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)

    def hold(self, fact: bool, otherwise: str) -> None:
        if not fact:
            self.broken.append(otherwise)

    def tell(self, path: str = "", *, broken: str = "") -> int:
        """Prints the report as JSON, to a file too where one is named; 0 if everything held, or, with what was
        ``broken`` on purpose, if something did not."""
        report = (
            json.dumps({"control": broken, **self.figures, "broken": self.broken[:20]}, indent=1, ensure_ascii=False)
            + "\n"
        )
        sys.stdout.write(report)
        if path:
            Path(path).write_text(report)
        return int(bool(self.broken) != bool(broken))
