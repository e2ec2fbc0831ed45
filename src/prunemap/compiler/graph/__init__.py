"""The typed graph: what an op is, what it means in NumPy, what is legal, and what is known of its tensors."""
