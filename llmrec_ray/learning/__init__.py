"""Events in, what the score adds up out: neighbours and popularity."""
