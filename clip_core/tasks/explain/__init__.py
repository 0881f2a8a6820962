"""Explanations of a score: the regions of the image and the words of the text that it depends on. Internal."""
