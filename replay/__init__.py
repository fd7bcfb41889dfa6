"""The event store and everything that reads it."""
