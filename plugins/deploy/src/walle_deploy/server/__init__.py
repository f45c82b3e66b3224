"""The deployment server: what is released to whom, on a database, and its HTTP."""
