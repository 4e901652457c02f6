"""Activations to weights: stage configs, schedules and metrics, all pure; then the Learner."""
