"""SQL: one schema, one repository a room, SQLite or PostgreSQL."""
