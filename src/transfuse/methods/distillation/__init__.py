"""Distillation: what a model says teaches another, which is smaller, quicker or one's own."""
