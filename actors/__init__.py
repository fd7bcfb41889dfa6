"""Rooms, transports, producers and consumers as actors: pure deciders, and what runs them."""
