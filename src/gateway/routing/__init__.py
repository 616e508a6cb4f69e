"""Which deployment answers: pure planning over catalogue, health and policy."""
