"""The model-based test of generations, live items and answers, a module for each kind of rule."""
