"""Who decides: the local controller of a worker (pure) and the shell that carries it out."""
