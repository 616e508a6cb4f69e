"""Shapes of request and answer bodies."""
