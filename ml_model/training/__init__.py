"""Training: the only rooms that import TensorFlow, and with network.py, the architecture, the only ones with Keras."""
