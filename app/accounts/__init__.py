"""Who calls, what they may do."""
