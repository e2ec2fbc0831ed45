"""Training with zeros held: data in batches, one epoch after the other, its log, and state to go on from."""
