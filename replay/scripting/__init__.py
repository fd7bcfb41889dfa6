"""Scripts: what the clients of a recorded session did, for others to play."""
