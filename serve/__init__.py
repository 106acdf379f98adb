"""Everything that runs on Ray: one thin deployment per component, bound by `serve/app.py`."""
