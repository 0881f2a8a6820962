"""How good a model is: zero-shot classification, retrieval, and a linear probe, in numpy whatever the framework."""
