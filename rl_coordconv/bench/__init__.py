"""Benchmarks that measure all candidates side by side in one run."""
