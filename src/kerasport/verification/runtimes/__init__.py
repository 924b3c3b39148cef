"""The runtimes that converted models run in."""
