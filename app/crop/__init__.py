"""Experiments with the hybrid crop models: noise, few seasons, unseen places, against a truth that is known."""
