"""Training, storing and serving the built-in models."""
