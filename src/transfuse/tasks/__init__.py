"""What is asked of a model: one file a kind of task."""
