"""Long work: jobs in batches, done by worker processes, each batch once, whatever is killed meanwhile."""
