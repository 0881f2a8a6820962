"""Evaluation of a model in numpy, whatever the framework: zero-shot classification, retrieval and linear probe."""
