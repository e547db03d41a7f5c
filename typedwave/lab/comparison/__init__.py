"""Runs compared: means over seeds, tests, and what can be said."""
