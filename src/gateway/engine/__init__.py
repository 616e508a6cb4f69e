"""The decisions of durable execution: states, leases, fences, release of dependents."""
