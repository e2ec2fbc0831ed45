"""From file to file: the stages ``train`` and ``prune``, and recipes that say in YAML all that a run needs."""
