"""WebSocket signaling, HTTP, tokens, the pages, settings, and the wiring of it all."""
