"""The online half: what a request needs, from the user to the answer, and what it changes."""
