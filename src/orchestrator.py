"""The workflow orchestrator as a script: ``python src/orchestrator.py [--dev] …``.

The same as ``ai-gateway orchestrate …``, from any directory, without installing this project (its
requirements must be there: ``make setup``, or ``pip install -r requirements.txt``).
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    if find_spec("typer") is None:
        sys.exit("the requirements are not installed for this Python: run `make setup`, then .venv/bin/python instead")
    from gateway.cli.main import main

    main(["orchestrate", *sys.argv[1:]])
