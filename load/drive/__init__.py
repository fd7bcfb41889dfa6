"""Plays a recorded session's script with live synthetic clients, and says what went otherwise."""
