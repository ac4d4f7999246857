"""A foreign `.h5` -> a Keras network, without running any code that the file may hold.

The network's description is checked here before Keras sees it: only Keras's own layers pass, and none of these that
loads code or other files.
"""

import inspect
import json
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras


class ModelFileError(Exception):
    """A file that cannot become a bundle. `str()` says why, and what to do or which options would help."""


DEEPEST = 60
"""Levels of nesting in the description; a model in a model in a model has about 25."""

CARRY_CODE = {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
READ_FILES = {"TextVectorization", "StringLookup", "IntegerLookup"}
_PARTS = (
    keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.activations,
    keras.dtype_policies, keras.quantizers, keras.random,
)  # fmt: skip
_KNOWN = {
    name for part in _PARTS for name, value in vars(part).items() if inspect.isclass(value) or inspect.isfunction(value)
} | {"Sequential", "Functional", "Model", "Policy", "__keras_tensor__", "__tuple__"}
ALLOWED = _KNOWN - CARRY_CODE - READ_FILES


def load(path: Path) -> keras.Model:
    """The network in `path`, a `.h5` of Keras 2 or 3 that holds a whole model. Raises ModelFileError."""
    text = _description(path)
    description = _parsed(path, text)
    for part in _parts(path, description):
        _judge(path, part)
    try:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "model.h5"  # Keras goes by the ending, which the file may lack
            shutil.copyfile(path, copy)
            if _mend(path, description):
                with h5py.File(copy, "r+") as file:
                    file.attrs["model_config"] = json.dumps(description)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # on the habits of Keras 2
                model = keras.saving.load_model(copy, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises of every kind on what it cannot rebuild
        raise ModelFileError(f"Keras cannot rebuild the network in {path}: {first_line(error)}") from error
    return model


def first_line(error: Exception) -> str:
    """The first line of `error`; Keras and TensorFlow write pages."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _description(path: Path) -> str:
    """The JSON that describes the network, from the file's attributes."""
    if not path.is_file():
        raise ModelFileError(f"There is no file {path}.")
    try:
        file = h5py.File(path, "r")
    except OSError:
        hint = ""
        with path.open("rb") as opened:
            if opened.read(2) == b"PK":
                hint = " It looks like the .keras format: open it in Keras and save it with model.save('name.h5')."
        raise ModelFileError(f"{path} is not an HDF5 file, or it is damaged.{hint}") from None
    with file:
        try:
            _refuse_other_files(path, file)
            text = file.attrs.get("model_config")
        except (OSError, RuntimeError, KeyError) as error:
            raise ModelFileError(f"{path} is damaged: {first_line(error)}") from error
    if text is None:
        raise ModelFileError(
            f"{path} does not hold a whole model, at most its weights. Save it with model.save('name.h5') "
            "instead of model.save_weights()."
        )
    try:
        return text.decode() if isinstance(text, bytes) else str(text)
    except UnicodeDecodeError:
        raise ModelFileError(f"The description of the network in {path} is damaged.") from None


def _refuse_other_files(path: Path, file: h5py.File) -> None:
    """HDF5 can point into other files of this machine."""
    waiting, seen = [file["/"]], set()
    while waiting:
        group = waiting.pop()
        if group in seen:  # groups may hold each other
            continue
        seen.add(group)
        for name in group:
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise ModelFileError(f"{path} points to another file, and is not read.")
            item = group.get(name)
            if isinstance(item, h5py.Group):
                waiting.append(item)
            elif isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                raise ModelFileError(f"{path} points to another file, and is not read.")


def _parsed(path: Path, text: str) -> dict[str, Any]:
    try:
        description = json.loads(text)
    except RecursionError:
        raise ModelFileError(f"The network in {path} is nested too deep.") from None
    except ValueError:
        description = None
    if not isinstance(description, dict) or "class_name" not in description:
        raise ModelFileError(f"The description of the network in {path} is damaged.")
    return description


def _parts(path: Path, value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    """Every JSON object in `value`, itself first."""
    if depth > DEEPEST:
        raise ModelFileError(f"The network in {path} is nested too deep.")
    if isinstance(value, dict):
        yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _parts(path, child, depth + 1)


def _judge(path: Path, part: dict[str, Any]) -> None:
    """Raises ModelFileError for an object that is not Keras's own, or that holds code."""
    if part.get("data_format") == "channels_first":
        raise ModelFileError(f"The network in {path} wants channels first, which processors do not compute.")
    if "class_name" not in part:
        return
    name, module, registered = part["class_name"], part.get("module"), part.get("registered_name")
    if name in CARRY_CODE or name == "__lambda__":
        title = "a Lambda layer" if "lambda" in name.lower() else f"a layer {name}"
        raise ModelFileError(f"{path} holds {title}, that is program code, which is not run. Rebuild it without.")
    if name == "function":  # an activation by name
        name, module = part.get("config"), None
    own_module = module is None or (isinstance(module, str) and module.split(".")[0] == "keras")
    own_name = registered is None or registered == name or registered == part["class_name"]
    if not isinstance(name, str) or name not in ALLOWED or not own_module or not own_name:
        raise ModelFileError(
            f"{path} needs {str(name)[:80]!r}, which is no layer or part of Keras that can be imported. "
            "Only networks of Keras's own layers can."
        )


def _mend(path: Path, description: dict[str, Any]) -> bool:
    """Remove what Keras 2 wrote, Keras 3 rejects and nothing depends on; returns whether there was any."""
    mended = False
    for part in _parts(path, description):
        if part.get("class_name") == "DepthwiseConv2D" and part.get("config", {}).get("groups") == 1:
            del part["config"]["groups"]
            mended = True
    return mended
