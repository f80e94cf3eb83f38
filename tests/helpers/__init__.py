"""Helpers of the tests: servers, processes, damage, synthetic data."""
