"""Shared by all experiments: one run is one folder."""
