"""The vocabulary: ids, RTP parameters, commands, events, orders, notices, frames. Pure.

Nothing here reads a clock, a socket or a source of randomness; every other package may import it.
"""
