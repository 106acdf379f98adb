"""Load on a running service, by HTTP alone: arrivals in, latencies and a verdict out."""
