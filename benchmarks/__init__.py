"""Questions of how good and how fast, each answered beside named peers on the same work."""
