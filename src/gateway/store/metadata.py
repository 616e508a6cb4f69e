"""What all tables of the one schema are registered in."""

from __future__ import annotations

from sqlalchemy import MetaData

metadata = MetaData()
