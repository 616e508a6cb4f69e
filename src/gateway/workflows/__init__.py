"""Task types and the three workflows of the platform."""
