"""What users did and what they were shown: the event store, the fold, the log of answers."""
