"""No transfer: what the target's labels alone can do."""
