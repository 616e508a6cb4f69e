"""What the guards ``pii`` and ``secrets`` know by name, in the order in which one shape goes before another."""

from __future__ import annotations

PERSONAL_DATA = ("email", "iban", "card", "aadhaar", "ssn", "nino", "pan", "phone", "ip", "birth_date")
CREDENTIALS = ("private_key", "api_key", "token", "cloud", "bearer", "url_password", "assigned")
