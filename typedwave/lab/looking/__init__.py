"""What can be seen of a run: curves, what goes on in a network, and pictures of both."""
