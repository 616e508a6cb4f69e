"""What happened, in order, for those who may know."""
