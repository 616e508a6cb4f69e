"""The stories of a call; a newcomer reads these first."""
