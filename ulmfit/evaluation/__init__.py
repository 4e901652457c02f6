"""Answers -> evidence: scores with intervals, calibration, baselines, and the report that shows them."""
