"""The files beside the weights in each library's form: configuration, tokenizer, preprocessing. Internal."""
