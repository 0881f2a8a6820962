"""One module per file format: how its tensors are read, lazily, and written."""
