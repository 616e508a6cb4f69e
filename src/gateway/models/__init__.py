"""What an AI model is to this house: shapes and ports, no behaviour."""
