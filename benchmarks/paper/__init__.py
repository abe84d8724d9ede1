"""The evaluation of the paper, rebuilt in the simulator so that anyone can run it again."""
