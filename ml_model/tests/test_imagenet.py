"""The weights that training starts from."""

import numpy as np
import pytest

pytestmark = pytest.mark.training


def test_pretrained_weights_reach_every_layer():
    """ImageNet statistics in the network's normalisations match what its convolutions give on a picture-like input."""
    from ml_model import network
    from ml_model.training import imagenet

    model = network.build(64)
    before = {layer.name: [w.copy() for w in layer.get_weights()] for layer in model.layers}
    imagenet.load_into(model)
    for layer in model.layers:
        if layer.get_weights() and layer.name != network.HEAD and not layer.name.startswith("small"):
            changed = [not np.array_equal(a, b) for a, b in zip(before[layer.name], layer.get_weights(), strict=True)]
            assert all(changed), layer.name


def test_a_checkpoint_with_code_in_it_is_refused(tmp_path):
    import pickle

    from ml_model.training import imagenet

    class Harmful:
        def __reduce__(self):
            return print, ("harm",)

    path = tmp_path / "harm.pth"
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(pickle.UnpicklingError, match="does not belong"):
        imagenet.read_checkpoint(path)
