"""Graphs: the intermediate representation and the passes that rewrite it, none of which knows a backend."""
