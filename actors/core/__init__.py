"""The pure half of the actors: `decide`, `evolve` and the state of each kind."""
