"""What may go into and come out of a model, and why it answered so."""
