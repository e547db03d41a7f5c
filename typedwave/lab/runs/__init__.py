"""Experiments, the folders they are kept in, and the files in those."""
