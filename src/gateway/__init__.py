"""The Gnanam AI Gateway: one door to every model.

Importing this package has no effect and costs nothing; ``ARCHITECTURE.md`` draws the rooms.
"""

__version__ = "0.1.0"
