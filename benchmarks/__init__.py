"""One question a file; each measures a running service beside its floor or a peer, in one run."""
