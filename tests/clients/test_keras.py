"""Keras: a model is fitted, evaluated, used for predictions and saved."""

from __future__ import annotations

import numpy as np
import pytest
from clients.inputs import inputs

from support.tolerances import FLOAT32

tensorflow = pytest.importorskip("tensorflow")

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def weights(folder, tmp_path_factory):
    """The checkpoint as tf_model.h5: the control no longer reads safetensors of PyTorch into TensorFlow."""
    import clip_tf

    path = tmp_path_factory.mktemp("weights")
    clip_tf.CLIPModel.from_pretrained(folder).save_pretrained(path, safe_serialization=False)
    return path


def arrays():
    return {name: tensor.numpy() for name, tensor in inputs().items()}


def keras_of(library):
    """Return the Keras of a library: transformers' classes are of Keras 2."""
    return pytest.importorskip("tf_keras" if library.__name__ == "transformers" else "keras")


def test_fit_minimizes_the_models_own_loss(agree, weights):
    def client(library, folder, out):
        model = library.TFCLIPModel.from_pretrained(weights)
        model.compile(optimizer=keras_of(library).optimizers.SGD(1e-3))
        history = model.fit(arrays(), batch_size=2, epochs=3, shuffle=False, verbose=0).history["loss"]
        assert history[-1] < history[0]
        model.save_pretrained(out, safe_serialization=False)
        again = library.TFCLIPModel.from_pretrained(out)
        return {
            "history": np.array(history),
            "evaluated": np.array(model.evaluate(arrays(), batch_size=2, verbose=0)),
            "predicted": dict(model.predict(arrays(), batch_size=2, verbose=0))["logits_per_image"],
            "loaded": again(arrays()).logits_per_image.numpy(),
        }

    agree(client, "clip_tf", **FLOAT32)


def test_a_loop_of_ones_own_trains(agree, weights):
    def client(library, folder, out):
        model = library.TFCLIPModel.from_pretrained(weights)
        optimizer = keras_of(library).optimizers.SGD(1e-2)

        @tensorflow.function
        def step(batch):
            with tensorflow.GradientTape() as tape:
                loss = tensorflow.reduce_mean(model(batch, return_loss=True, training=True).loss)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
            return loss

        losses = [step(arrays()).numpy() for _ in range(3)]
        return {"losses": losses, "logits": model(arrays()).logits_per_image.numpy()}

    agree(client, "clip_tf", **FLOAT32)
