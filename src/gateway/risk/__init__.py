"""Market data, features, scenarios and risk measures."""
