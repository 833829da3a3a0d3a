"""Transfer of relations: not rows or weights are carried over but how things relate to each other."""
