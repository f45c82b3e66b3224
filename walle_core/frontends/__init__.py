"""Model formats: each module turns a file into a Graph. Which one reads a file is decided by `Frontend.sniff`."""
