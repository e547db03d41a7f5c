"""The words of a corpus, and the tensors that are made of them."""
