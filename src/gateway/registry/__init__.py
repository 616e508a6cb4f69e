"""What models, versions, aliases and prompts exist."""
