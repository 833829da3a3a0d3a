"""Which candidates are worth trying, and which of them fit into the budget."""
