"""Meta-learning: many small tasks out of the sources teach how to learn another from a few examples."""
