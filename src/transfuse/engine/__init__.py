"""What methods share: jobs and the one engine that runs them, the trunk's cache, the training loop, the ledger."""
