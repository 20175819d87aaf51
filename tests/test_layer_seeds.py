"""Seeds of Dropout, AlphaDropout and GaussianNoise: their random numbers, whatever the seed of the model."""

import numpy as np
import pytest
from same_bits import same_weights

import fastnn
from fastnn import callbacks, layers

X = np.random.default_rng(1).normal(size=(150, 4))
Y = X.sum(axis=1)
RANDOM = [layers.Dropout, layers.AlphaDropout, layers.GaussianNoise]


def compiled(model):
    """A model whose weights do not depend on its seed."""
    draws = np.random.default_rng(2)
    model.set_weights([draws.normal(size=w.shape) for w in model.get_weights()])
    model.compile("adam", "mse")
    return model


def trained(random_layer, model_seed, epochs=3):
    """A model with a random layer, trained on batches of 32 rows."""
    stack = [fastnn.Input((4,)), layers.Dense(9, "tanh"), random_layer, layers.Dense(1)]
    model = compiled(fastnn.Sequential(stack, seed=model_seed))
    model.fit(X, Y, epochs=epochs, shuffle=False, verbose=0)
    return model


@pytest.mark.parametrize("kind", RANDOM)
def test_the_seed_of_a_layer_takes_the_place_of_the_models(kind):
    first = trained(kind(0.3, seed=5), 1)
    assert same_weights(first, trained(kind(0.3, seed=5), 2))
    assert not same_weights(first, trained(kind(0.3, seed=6), 1))
    assert not same_weights(first, trained(kind(0.3), 1))
    assert not same_weights(first, trained(kind(0.3), 5))
    assert not same_weights(trained(kind(0.3), 1), trained(kind(0.3), 2))


@pytest.mark.parametrize("kind", RANDOM)
def test_files_and_clones_keep_the_seed(kind, tmp_path):
    model = trained(kind(0.3, seed=2**63 - 1), 1, epochs=2)
    model.save(tmp_path / "m.safetensors")
    loaded = fastnn.load_model(tmp_path / "m.safetensors")
    clone = compiled(fastnn.models.clone_model(model))
    assert loaded.layers[1].seed == clone.layers[1].seed == 2**63 - 1
    for continued in (model, loaded):
        continued.fit(X, Y, epochs=1, shuffle=False, verbose=0)
    clone.fit(X, Y, epochs=3, shuffle=False, verbose=0)
    assert same_weights(model, loaded) and same_weights(model, clone)


def test_a_resumed_fit_draws_the_same(tmp_path):
    class Stop(callbacks.Callback):
        at = 2

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == self.at:
                raise KeyboardInterrupt

    stop = Stop()
    expected, cut = trained(layers.Dropout(0.3, seed=5), 1, 4), trained(layers.Dropout(0.3, seed=5), 1, 0)
    with pytest.raises(KeyboardInterrupt):
        cut.fit(X, Y, epochs=4, shuffle=False, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path), stop])
    resumed, stop.at = trained(layers.Dropout(0.3, seed=5), 3, 0), None
    resumed.fit(X, Y, epochs=4, shuffle=False, verbose=0, callbacks=[callbacks.BackupAndRestore(tmp_path), stop])
    assert same_weights(expected, resumed)


def kernel_moves(first, second):
    """Whether a kernel that takes the difference of two layers' outputs is trained: not where they are the same."""
    x = fastnn.Input((4,))
    model = fastnn.Model(x, layers.Dense(1)(layers.Subtract()([first(x), second(x)])), seed=1)
    model = compiled(model)
    before = model.get_weights()[0]
    model.fit(X, Y, epochs=2, verbose=0)
    return not np.array_equal(before, model.get_weights()[0])


def test_layers_of_one_seed_draw_the_same_and_calls_of_one_layer_do_not():
    assert not kernel_moves(layers.Dropout(0.3, seed=5), layers.Dropout(0.3, seed=5))
    assert kernel_moves(layers.Dropout(0.3, seed=5), layers.Dropout(0.3, seed=6))
    assert kernel_moves(layers.Dropout(0.3), layers.Dropout(0.3))
    for shared in (layers.Dropout(0.3, seed=5), layers.Dropout(0.3)):
        assert kernel_moves(shared, shared)


@pytest.mark.parametrize("kind", RANDOM)
def test_a_seed_is_a_whole_number(kind):
    for wrong in ("x", -1, 1.5, True, 2**63):
        with pytest.raises(ValueError, match="seed must be a whole number"):
            kind(0.5, seed=wrong)
    assert kind(0.5).seed is None
