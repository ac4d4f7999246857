"""What the site is measured against: a network behind Flask, as it is usually written.

`python benchmarks/yardstick.py MODEL.h5 PORT`: Keras, full decode, `model.predict`, nothing stored, nobody
asked for a password, on Flask's own server with its threads.
"""

import sys

import keras
import numpy as np
from flask import Flask, Response, jsonify, request
from PIL import Image

app = Flask(__name__)
model = keras.models.load_model(sys.argv[1], compile=False)
_, height, width, _ = model.input_shape


@app.post("/predict")
def predict() -> Response:
    """The answer for the picture `file`. The network takes grey values 0..255."""
    picture = Image.open(request.files["file"].stream).convert("L").resize((width, height))
    pixels = np.asarray(picture, dtype=np.float32).reshape(1, height, width, 1)
    probability = float(model.predict(pixels, verbose=0)[0, 0])
    return jsonify(prediction="Pneumonia" if probability > 0.5 else "Normal", probability=probability)


if __name__ == "__main__":
    app.run(port=int(sys.argv[2]), threaded=True)
