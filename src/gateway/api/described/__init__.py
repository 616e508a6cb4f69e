"""What each door takes and gives, as ``GET /openapi.json`` tells it; the query parameters are read by it too."""
