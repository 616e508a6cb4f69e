"""Pages for people, shipped in the wheel."""
