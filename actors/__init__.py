"""Rooms, transports, producers and consumers as actors: pure deciders and the kernel that runs them."""
