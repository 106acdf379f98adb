"""HTTP in, HTTP out: the routes, what may pass them, and everything a client sees."""
