"""Merging: fitted models of one backbone become one, without training."""
