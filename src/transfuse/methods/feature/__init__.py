"""Transfer of features: the backbone stays frozen, new layers on top are fitted."""
