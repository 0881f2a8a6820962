"""The files beside the weights, in the form of each library: configuration, tokenizer, preprocessing. Internal."""
