"""The built-in stream operators, each registered as a plugin's are."""
