"""prunemap: the best-suited pruning scheme per layer, pruned, retrained and compiled to a faster native program."""

__version__ = "0.1.0"
