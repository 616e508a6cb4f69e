"""The doors of the engine: submit, and run what the doorbell names."""
