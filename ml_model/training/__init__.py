"""Training: the only rooms that import Keras and TensorFlow."""
