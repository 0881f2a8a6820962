"""CLIP for TensorFlow, on Keras 3. The package is reserved: its model classes are not written yet."""
