"""The demo: a film catalogue that anyone can install, served on this machine."""
