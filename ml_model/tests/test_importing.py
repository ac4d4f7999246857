"""Networks that others trained: read, checked, converted or refused with a sentence."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ml_model import Classifier, bundle, phantom

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def importing():
    from ml_model.training import importing

    return importing


def network(kind: str):
    """A tiny untrained network of somebody else, with weights large enough to matter."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(4)
    size, channels = (None, 3) if kind == "any size" else (32, 3 if kind == "softmax" else 1)
    middle = [layers.Conv2D(8, 3, activation="relu"), layers.MaxPooling2D(), layers.Conv2D(8, 3, activation="relu")]
    flat = layers.GlobalAveragePooling2D() if kind in ("any size", "logit") else layers.Flatten()
    last = {
        "softmax": [layers.Dense(2, "softmax")],
        "two sigmoids": [layers.Dense(2, "sigmoid")],
        "two logits": [layers.Dense(2)],
        "logit": [layers.Dense(1)],
        "activation apart": [layers.Dense(1), layers.Activation("sigmoid")],
        "activation apart, logit": [layers.Dense(1), layers.Activation("linear")],
        "head of its own, logit": [layers.Dense(1)],
        "tanh": [layers.Dense(1, "tanh")],
        "softmax of one": [layers.Dense(1, "softmax")],
        "reshaped logits": [layers.Dense(1), layers.Reshape((1,))],
    }.get(kind, [layers.Dense(1, "sigmoid")])
    start = [layers.Rescaling(1 / 255)] if kind == "rescales itself" else []
    model = keras.Sequential([keras.Input((size, size, channels)), *start, *middle, flat, *last])
    if kind == "with branches":
        picture = keras.Input((32, 32, 1))
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(picture)
        x = layers.Add()([x, layers.Conv2D(8, 3, padding="same")(x)])
        x = layers.Concatenate()([layers.GlobalAveragePooling2D()(x), layers.GlobalMaxPooling2D()(x)])
        model = keras.Model(picture, layers.Dense(1, "sigmoid")(x))
    if kind == "in another":
        model = keras.Sequential([keras.Input((32, 32, 1)), keras.Sequential([*middle]), flat, *last])
    if kind.startswith("head of its own"):
        model = keras.Sequential([keras.Input((32, 32, 1)), *middle, keras.Sequential([flat, *last])])
    return model


@pytest.mark.parametrize(
    ("kind", "positive"),
    [
        ("sigmoid", "Pneumonia"),
        ("sigmoid", "Normal"),
        ("softmax", "Normal"),
        ("two sigmoids", "Pneumonia"),
        ("two logits", "Pneumonia"),
        ("logit", "Normal"),
        ("activation apart", "Normal"),
        ("any size", "Pneumonia"),
        ("rescales itself", "Pneumonia"),
        ("with branches", "Pneumonia"),
        ("in another", "Pneumonia"),
        ("activation apart, logit", "Pneumonia"),
        ("head of its own", "Pneumonia"),
        ("head of its own, logit", "Normal"),
    ],
)
def test_an_imported_network_answers_as_it_did(importing, tmp_path, kind, positive):
    model = network(kind)
    model.save(tmp_path / "Their Model.h5")
    size, channels = (40, 3) if kind == "any size" else (32, model.input_shape[-1])
    options = importing.Options(
        size=size if kind == "any size" else None,
        input_range=None if kind == "rescales itself" else "0-1",
        positive_label=positive,
        threshold=0.3,
    )
    folder = importing.import_model(tmp_path / "Their Model.h5", options, tmp_path / "trained")
    assert folder.name == "imported-their-model"
    classifier = Classifier(folder)
    assert (classifier.card.input_size, classifier.card.gate) == (size, None)
    assert classifier.card.operating_points["balanced"].threshold == 0.3
    scale = 1 if kind == "rescales itself" else 255
    for seed in range(3):
        pixels = classifier.prepare(phantom.draw(opacity=seed / 2, seed=seed))
        given = np.repeat(pixels[None].astype(np.float32), channels, axis=-1) / scale
        high = importing.expected_probability(
            np.asarray(model(given), np.float64), "linear" if kind.endswith(("logit", "logits")) else None
        )[0]
        output = classifier.run(pixels)
        assert output.probability == pytest.approx(high if positive == "Pneumonia" else 1 - high, abs=1e-4)
        assert output.activation_map.shape[0] >= 5
        assert np.isfinite(output.activation_map).all()
        assert 0 <= output.activation_map.min() <= output.activation_map.max() <= 1


def test_the_map_shows_the_place_that_raises_the_answer(importing, tmp_path):
    """A network that looks for brightness alone, shown one bright square."""
    import keras
    from keras import layers

    last = layers.Dense(1, "sigmoid")
    model = keras.Sequential(
        [keras.Input((32, 32, 1)), layers.AveragePooling2D(4), layers.GlobalAveragePooling2D(), last]
    )
    last.set_weights([np.array([[40.0]]), np.array([-3.0])])
    model.save(tmp_path / "bright.h5")
    options = importing.Options(input_range="0-1", positive_label="Pneumonia")
    classifier = Classifier(importing.import_model(tmp_path / "bright.h5", options, tmp_path / "trained"))
    pixels = np.zeros((32, 32, 1), np.uint8)
    pixels[4:8, 20:24] = 255
    shown = classifier.run(pixels).activation_map
    assert np.unravel_index(shown.argmax(), shown.shape) == (1, 5)
    assert shown.max() == pytest.approx(1, abs=1e-3)
    assert not classifier.run(np.zeros((32, 32, 1), np.uint8)).activation_map.any()


def test_all_that_the_file_leaves_open_is_asked_for_at_once(importing, tmp_path):
    network("any size").save(tmp_path / "open.h5")
    with pytest.raises(importing.ModelFileError) as refused:
        importing.import_model(tmp_path / "open.h5", importing.Options(), tmp_path / "trained")
    for option in ("--size", "--input-range", "--positive-label"):
        assert option in str(refused.value)
    assert "--channels" not in str(refused.value)
    assert not (tmp_path / "trained").exists()


def test_the_range_is_asked_for_unless_the_first_layer_tells_it(importing, tmp_path):
    import keras
    from keras import layers

    starts = {
        "zero to one": ([layers.Rescaling(1 / 255)], True),
        "minus one to one": ([layers.Rescaling(1 / 127.5, offset=-1)], True),
        "nested": ([keras.Sequential([layers.Rescaling([1 / 255], offset=[0.0])])], True),
        "already in range": ([layers.Rescaling(2.0, offset=-1)], False),
        "normalised": ([layers.Normalization(mean=0.5, variance=0.1)], False),
        "later": ([layers.Conv2D(2, 3), layers.Rescaling(1 / 255)], False),
    }
    for name, (start, told) in starts.items():
        last = [layers.GlobalAveragePooling2D(), layers.Dense(1, "sigmoid")]
        model = keras.Sequential([keras.Input((16, 16, 1)), *start, *last])
        options = importing.Options(positive_label="Pneumonia")
        model.save(tmp_path / "their.h5")
        model = keras.saving.load_model(tmp_path / "their.h5", compile=False)
        if told:
            assert importing.complete(model, options).input_range == "0-255", name
        else:
            with pytest.raises(importing.ModelFileError, match="--input-range"):
                importing.complete(model, options)
    picture = keras.Input((16, 16, 1))
    keras.Model(picture, layers.Dense(1)(layers.Flatten()(layers.Rescaling(1 / 255)(picture)))).save(
        tmp_path / "path.h5"
    )
    path = keras.saving.load_model(tmp_path / "path.h5", compile=False)
    assert importing.complete(path, options).input_range == "0-255"
    both = layers.Concatenate()([layers.Rescaling(1 / 255)(picture), picture])
    around = keras.Model(picture, layers.Dense(1)(layers.Flatten()(both)))
    with pytest.raises(importing.ModelFileError, match="--input-range"):
        importing.complete(around, options)


def test_half_precision_and_names_without_letters_are_told(importing, tmp_path):
    import keras
    from keras import layers

    half = layers.Conv2D(2, 3, dtype="mixed_float16")
    keras.Sequential([keras.Input((16, 16, 1)), half, layers.Flatten(), layers.Dense(1)]).save(tmp_path / "a.h5")
    options = importing.Options(input_range="0-1", positive_label="Pneumonia")
    with pytest.raises(importing.ModelFileError, match="computes in float16"):
        importing.import_model(tmp_path / "a.h5", options, tmp_path / "trained")
    with pytest.raises(importing.ModelFileError, match="choose one by --name"):
        importing.import_model(tmp_path / "модель.h5", options, tmp_path / "trained")


def test_code_and_links_are_refused_before_keras_sees_them(importing, tmp_path, monkeypatch):
    import h5py
    import keras
    from keras import layers

    inner = keras.Sequential([keras.Input((32, 32, 1)), layers.Lambda(lambda x: x * 2)])
    keras.Sequential([inner, layers.Flatten(), layers.Dense(1, "sigmoid")]).save(tmp_path / "code.h5")

    @keras.saving.register_keras_serializable("elsewhere")
    class Theirs(layers.Layer):
        def call(self, x):
            return x

    keras.Sequential([keras.Input((32, 32, 1)), Theirs(), layers.Flatten(), layers.Dense(1)]).save(tmp_path / "own.h5")
    network("sigmoid").save(tmp_path / "function.h5")
    with h5py.File(tmp_path / "function.h5", "r+") as file:
        text = file.attrs["model_config"]
        named = '"activation": {"module": "os", "class_name": "function", "config": "system"}'
        file.attrs["model_config"] = text.replace('"activation": "relu"', named)
    network("sigmoid").save(tmp_path / "link.h5")
    with h5py.File(tmp_path / "link.h5", "r+") as file:
        file["model_weights"]["elsewhere"] = h5py.ExternalLink("/etc/hosts", "/")
    monkeypatch.setattr(keras.saving, "load_model", lambda *args, **kwargs: pytest.fail("Keras saw it"))
    words = {"code.h5": "Lambda", "own.h5": "Theirs", "function.h5": "system", "link.h5": "another file"}
    for name, word in words.items():
        with pytest.raises(importing.ModelFileError, match=word):
            importing.import_model(tmp_path / name, importing.Options(), tmp_path / "trained")


def test_a_mobilenet_of_keras_2_is_read(importing, tmp_path):
    """It wrote the number of groups of a depthwise convolution, which Keras 3 does not take."""
    import h5py
    import keras
    from keras import layers

    start = [keras.Input((32, 32, 1)), layers.DepthwiseConv2D(3), layers.GlobalAveragePooling2D()]
    keras.Sequential([*start, layers.Dense(1, "sigmoid")]).save(tmp_path / "old.h5")
    with h5py.File(tmp_path / "old.h5", "r+") as file:
        description = json.loads(file.attrs["model_config"])
        for layer in description["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = 1
        file.attrs["model_config"] = json.dumps(description)
    options = importing.Options(input_range="0-1", positive_label="Pneumonia")
    assert Classifier(importing.import_model(tmp_path / "old.h5", options, tmp_path / "trained")).version


def described_as(path: Path, text: str) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = text


def test_what_is_no_such_network_is_refused_with_the_reason(importing, tmp_path):
    import keras
    from keras import layers

    (tmp_path / "text.h5").write_text("hello")
    network("sigmoid").save_weights(tmp_path / "only.weights.h5")
    flat = keras.Input((10,))
    keras.Model(flat, layers.Dense(1)(flat)).save(tmp_path / "flat.h5")
    wide = keras.Input((20, 30, 1))
    keras.Model(wide, layers.Dense(1)(layers.Flatten()(wide))).save(tmp_path / "wide.h5")
    many = keras.Input((20, 20, 1))
    keras.Model(many, layers.Dense(14, "sigmoid")(layers.Flatten()(many))).save(tmp_path / "many.h5")
    keras.Model([many, wide], layers.Flatten()(many)).save(tmp_path / "pair.h5")
    (tmp_path / "zip.h5").write_bytes(b"PK\3\4")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "many.h5").read_bytes()[:2000])
    described_as(tmp_path / "deep.h5", "[" * 100_000)
    described_as(tmp_path / "half.h5", "{")
    described_as(tmp_path / "odd.h5", '{"class_name": "Sequential", "config": {"layers": 3}}')
    nothing = network("sigmoid")
    nothing.layers[-1].set_weights([np.full_like(weights, np.nan) for weights in nothing.layers[-1].get_weights()])
    nothing.save(tmp_path / "nan.h5")
    for kind in ("tanh", "softmax of one", "reshaped logits"):
        network(kind).save(tmp_path / f"{kind}.h5")
    options = importing.Options(input_range="0-1", positive_label="Pneumonia")
    for name, reason in {
        "tanh.h5": "tanh of 1, which is no probability",
        "softmax of one.h5": "softmax of 1, which is no probability",
        "reshaped logits.h5": "outputs are no probabilities: they go from",
        "missing.h5": "no file",
        "text.h5": "not an HDF5 file",
        "zip.h5": r"\.keras format",
        "cut.h5": "damaged",
        "deep.h5": "nested too deep",
        "half.h5": "damaged",
        "odd.h5": "cannot rebuild",
        "nan.h5": "answers NaN",
        "only.weights.h5": "at most its weights",
        "flat.h5": "height, width",
        "wide.h5": "square",
        "many.h5": "one unit, or two",
        "pair.h5": "2 inputs",
    }.items():
        with pytest.raises(importing.ModelFileError, match=reason):
            importing.import_model(tmp_path / name, options, tmp_path / "trained")
    assert not list((tmp_path / "trained").glob("*"))


def test_a_name_is_taken_once(importing, tmp_path):
    network("sigmoid").save(tmp_path / "a.h5")
    options = importing.Options(input_range="0-1", positive_label="Pneumonia")
    importing.import_model(tmp_path / "a.h5", options, tmp_path / "trained")
    with pytest.raises(importing.ModelFileError, match="--name"):
        importing.import_model(tmp_path / "a.h5", options, tmp_path / "trained")
    importing.import_model(tmp_path / "a.h5", options, tmp_path / "trained", name="b")
    assert sorted(path.name for path in (tmp_path / "trained").iterdir()) == ["imported-a", "imported-b"]


@pytest.mark.parametrize("name", ["AM1CODES", "Mr-Imperium", "MuhammadHananAsghar"])
def test_real_networks_of_others_work(importing, tmp_path, xray_data, name):
    import keras

    file = xray_data / "keras_h5" / f"{name}.h5"
    options = importing.Options(input_range="0-1", positive_label="Pneumonia")
    folder = importing.import_model(file, options, tmp_path)
    classifier = Classifier(folder)
    assert (folder / bundle.KERAS_FILE).read_bytes() == file.read_bytes()
    model = keras.saving.load_model(shutil.copy(file, tmp_path / "copy.h5"), compile=False)
    right, pictures = [], []
    for label, kind in (("Normal", "NORMAL"), ("Pneumonia", "PNEUMONIA")):
        for path in sorted((xray_data / "chest_xray" / "train" / kind).iterdir())[::60][:20]:
            picture = classifier.read(path.read_bytes())
            finding = classifier.answer(picture)
            right.append(finding.label == label)
            pictures.append((classifier.prepare(picture.grey), finding.probability))
    assert np.mean(right) > 0.7
    given = np.stack([pixels for pixels, _ in pictures]).astype(np.float32) / 255
    outputs = model.predict(np.repeat(given, model.input_shape[-1], axis=-1), verbose=0).astype(np.float64)
    assert importing.expected_probability(outputs, None) == pytest.approx([p for _, p in pictures], abs=1e-4)


def test_the_folder_of_a_failed_import_is_removed(importing, tmp_path, monkeypatch):
    network("sigmoid").save(tmp_path / "a.h5")
    monkeypatch.setattr(importing, "LARGEST_DIFFERENCE", -1.0)
    options = importing.Options(input_range="0-1", positive_label="Pneumonia")
    with pytest.raises(importing.ModelFileError, match="answers differently"):
        importing.import_model(tmp_path / "a.h5", options, Path(tmp_path / "trained"))
    assert not list((tmp_path / "trained").iterdir())
