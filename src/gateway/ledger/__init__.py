"""What each call cost, what may still be spent."""
