"""Every loss, update rule and option of the core: derivatives, NumPy twins, and the same bits everywhere."""

import numpy as np
import part_bits as parts
import pytest
from core_options import complete_loss
from derivatives import finite_difference

from fastnn import _core, ops, optimizers, reference

# The baseline rounds twice, so its bits differ.
FUSED = [isa for isa in _core.config()["isas"] if isa != "baseline"]
ROWS = slice(0, 40)
OPTIONS = [(loss, *case) for table in (parts.LOSSES, parts.LOGITS) for loss, case in table.items()]


@pytest.fixture(scope="module")
def hashes(run_per_isa):
    """Hashes of everything that tests/part_bits.py trains, by instruction set."""
    return {isa: computed["hashes"] for isa, computed in run_per_isa("part_bits.py", FUSED).items()}


@pytest.mark.parametrize("isa", FUSED)
def test_threads_change_no_bit(hashes, isa):
    assert {name for name, found in hashes[isa].items() if len(set(found)) != 1} == set()


def test_instruction_sets_change_no_bit(hashes):
    for name, found in hashes["scalar"].items():
        assert {isa: hashes[isa][name] for isa in FUSED} == dict.fromkeys(FUSED, found), name


def test_recipes_differ(hashes):
    """An option without effect would train the same weights as another recipe."""
    found = [values[0] for values in hashes["scalar"].values()]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(("loss", "targets", "last", "options"), OPTIONS)
def test_loss_gradient_is_the_derivative(loss, targets, last, options):
    rng = np.random.default_rng(2)
    y, weight = targets[:5], parts.WEIGHT[:5]
    logits = rng.normal(size=(5, 6))
    p = logits if options.get("from_logits") else _core.activation(last, logits)
    options = complete_loss(loss, options)
    _, gradient = _core.loss_and_gradient(loss, y, p, weight, True, **options)
    slopes = finite_difference(lambda q: _core.loss_and_gradient(loss, y, q, weight, False, **options)[0], p)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("loss", "targets", "last", "options"), OPTIONS)
def test_loss_equals_its_twin(loss, targets, last, options, dtype):
    rng = np.random.default_rng(3)
    p = rng.normal(size=(40, 6)).astype(dtype)
    if not options.get("from_logits"):
        p = _core.activation(last, p)
    arguments = (loss, targets[ROWS], p, parts.WEIGHT[ROWS])
    value, gradient = ops.loss_and_gradient(*arguments, **options)
    expected, slopes = reference.loss_and_gradient(
        *(np.asarray(a, float) if i else a for i, a in enumerate(arguments)), **options
    )
    tolerance = {"float32": 2e-6, "float64": 1e-12}[dtype]
    assert value == pytest.approx(expected, rel=tolerance)
    np.testing.assert_allclose(gradient, slopes, rtol=tolerance, atol=tolerance * np.abs(slopes).max())


@pytest.mark.parametrize("name", parts.ACTIVATIONS)
def test_activation_and_derivative_equal_their_twins(name):
    x = np.concatenate([np.linspace(-9.0, 9.0, 181) + 0.013, [-1e4, 1e4, -0.0, 1e-12]])
    options = {"negative_slope": 0.2, "max_value": 4.0, "threshold": 0.5} if name == "general_relu" else {}
    np.testing.assert_allclose(ops.activation(name, x, **options), reference.activation(name, x, **options), rtol=1e-14)
    slopes = ops.activation_gradient(name, x, np.ones_like(x), **options)
    expected = reference.activation_gradient(name, x, np.ones_like(x), **options)
    np.testing.assert_allclose(slopes, expected, rtol=1e-13, atol=1e-15)
    inner = x[:181]  # none of these is at a kink
    numeric = (ops.activation(name, inner + 1e-6, **options) - ops.activation(name, inner - 1e-6, **options)) / 2e-6
    np.testing.assert_allclose(slopes[:181], numeric, rtol=1e-6, atol=1e-9)
    single = ops.activation(name, x.astype(np.float32), **options)
    np.testing.assert_allclose(single, ops.activation(name, x.astype(np.float32).astype(float), **options), rtol=1e-7)


@pytest.mark.parametrize("name", parts.ACTIVATIONS)
def test_activations_keep_nan_and_have_limits_at_infinity(name):
    values = ops.activation(name, np.array([np.nan, np.inf, -np.inf]))
    limits = {
        "relu6": (6, 0),
        "general_relu": (np.inf, 0),
        "mish": (np.inf, 0),
        "softsign": (1, -1),
        "hard_sigmoid": (1, 0),
        "hard_silu": (np.inf, 0),
    }
    assert np.isnan(values[0])
    if name != "general_relu":  # which computes 0 * infinity
        assert tuple(values[1:]) == limits[name]


def gradients_of(network, targets, loss="mean_squared_error", options=None):
    fit = parts.make_fit(network, loss, targets, options or {}, rows=ROWS)
    return {(op, name): array for op, name, array in fit.gradients()}


def batch_loss(network, targets, loss="mean_squared_error", options=None):
    """Loss of the rows as one batch, with penalties."""
    fit = parts.make_fit(network, loss, targets, options or {}, rows=ROWS)
    fit.begin_epoch(0, 0, False, np.zeros(fit.n_steps))
    assert fit.n_steps == 1
    fit.run()
    return fit.loss_sum / 40


@pytest.mark.parametrize(
    ("loss", "options", "last", "dense"),
    [
        ("mean_squared_error", {}, "linear", parts.DENSE["penalties"]),
        ("dice", {}, "sigmoid", {}),
        ("gaussian_nll", {}, "linear", {}),
        ("multi_quantile", {"levels": (0.1, 0.5, 0.8)}, "linear", {}),
        ("categorical_focal_crossentropy", {"from_logits": True}, "softmax", {"activity_regularizer": (0.0, 0.1)}),
    ],
)
def test_weight_gradients_are_derivatives_of_the_reported_loss(loss, options, last, dense):
    targets = parts.LOSSES[loss][0] if loss in parts.LOSSES else parts.POSITIVE
    if last == "softmax" and "activity_regularizer" in dense:
        options = {}  # the penalty needs the activation, so the loss takes probabilities
    network = parts.make_network("float64", last, dense=dense, sizes=(parts.FEATURES, 7, 6))
    found = gradients_of(network, targets, loss, options)
    assert len(found) == 4
    for (op, name), gradient in found.items():
        start = network.get_parameter(op, name)

        def loss_at(value, op=op, name=name, start=start):
            network.set_parameter(op, name, value)
            result = batch_loss(network, targets, loss, options)
            network.set_parameter(op, name, start)
            return result

        np.testing.assert_allclose(gradient, finite_difference(loss_at, start), rtol=1e-6, atol=1e-9)


def reference_training(rule, rule_options, dense, steps):
    """Weights after training in float64 NumPy, and the loss before each step."""
    o = dict(rule_options)
    sizes = [parts.FEATURES, 40, 33, 6]
    start = parts.make_network("float64")
    weights = [start.get_parameter(op, name) for op in range(3) for name in ("kernel", "bias")]
    twin = reference.DenseNetwork(sizes, "tanh", "mean_squared_error", weights=weights, dtype="float64")
    entry = reference.OPTIMIZERS[rule]
    values = {**entry.options, **{k: v for k, v in o.items() if k in entry.options}}
    decay = values.pop("weight_decay")
    excluded = {2 * op + (name == "bias") for op, name in o.get("no_weight_decay", ())}
    slots = [[np.zeros_like(w) for _ in range(entry.n_slots)] for w in weights]
    averages, sums, losses = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights], []
    every = o.get("gradient_accumulation_steps", 1)
    for step in range(steps):
        rows = slice(0, 128) if step % 2 == 0 else slice(128, 150)
        twin.weights = weights
        loss, gradients = twin.gradients(parts.X[rows], parts.POSITIVE[rows])
        for i, w in enumerate(weights):
            l1, l2 = dense.get("bias_regularizer" if i % 2 else "kernel_regularizer", (0.0, 0.0))
            value, slope = reference.penalty_and_gradient(w, l1, l2)
            loss += value
            gradients[i] += slope
            sums[i] += gradients[i]
        losses.append(loss)
        if (step + 1) % every == 0:
            gradients = [s / every for s in sums]
            for option, clip in (
                ("clipvalue", reference.clip_by_value),
                ("clipnorm", reference.clip_by_norm),
                ("global_clipnorm", reference.clip_by_global_norm),
            ):
                if option in o:
                    gradients = clip(gradients, o[option])
            for i, w in enumerate(weights):
                if decay and i not in excluded:
                    reference.weight_decay(w, 0.01, decay)
                entry.apply(w, gradients[i], slots[i], (step + 1) // every, 0.01, values)
                sums[i][...] = 0.0
        for i, w in enumerate(weights):
            if o.get("use_ema"):
                reference.moving_average(averages[i], w, step // every + 1, o.get("ema_momentum", 0.99))
                frequency = o.get("ema_overwrite_frequency")
                if frequency and (step // every + 1) % frequency == 0:
                    w[...] = averages[i]
            name, bound, axis = dense.get("bias_constraint" if i % 2 else "kernel_constraint", (None, 0, 0))
            axis = (0, 1) if axis is None else axis
            if name == "max_norm":
                w[...] = reference.max_norm(w, bound, axis)
            elif name == "unit_norm":
                w[...] = reference.unit_norm(w, axis)
            elif name == "non_neg":
                w[...] = reference.non_neg(w)
    return weights, losses


TRAINED = [(rule, options, {}) for rule, options in parts.RULES.values()]
TRAINED += [("adam", {}, {k: v for k, v in dense.items() if k[0] != "a"}) for dense in parts.DENSE.values()]


@pytest.mark.parametrize(("rule", "options", "dense"), TRAINED, ids=[*parts.RULES, *parts.DENSE])
def test_fifty_steps_equal_the_twin(rule, options, dense):
    weights, losses = reference_training(rule, options, dense, 50)
    network = parts.make_network("float64", dense=dense)
    fit = parts.make_fit(network, "mean_squared_error", parts.POSITIVE, {}, rule, options)
    found = []
    for epoch in range(25):
        fit.begin_epoch(0, epoch, False, np.full(2, 0.01))
        fit.run(1)
        found.append(fit.loss_sum / 128)
        before = fit.loss_sum
        fit.run(1)
        found.append((fit.loss_sum - before) / 22)
    np.testing.assert_allclose(found, losses, rtol=1e-5)
    for place, expected in enumerate(weights):
        got = network.get_parameter(place // 2, ("kernel", "bias")[place % 2])
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-8)


def test_nadam_does_not_depend_on_where_epochs_are_cut():
    results = []
    for batch in (64, 16):
        network = parts.make_network("float64")
        network.compile("mean_squared_error", {}, "nadam", optimizers.Nadam().options())
        for start in range(0, 128, batch):
            rows = slice(start, start + batch)
            fit = _core.Fit(network, parts.X[rows].copy(), parts.POSITIVE[rows].copy(), None, 16)
            fit.begin_epoch(0, 0, False, np.full(fit.n_steps, 0.01))
            while fit.run() == "more":
                pass
        results.append(network.get_parameter(1, "kernel"))
    assert results[0].tobytes() == results[1].tobytes()


def test_frozen_layers_stay_and_the_others_train_the_same():
    outcomes = []
    for frozen in ((), (0,), (0, 1), (1,), (0, 1, 2)):
        network = parts.make_network("float64")
        for op in frozen:
            network.set_trainable(op, False)
        before = [network.get_parameter(op, "kernel") for op in range(3)]
        fit = parts.make_fit(network, "mean_squared_error", parts.POSITIVE, {}, "adam", {"weight_decay": 0.1})
        assert {op for op, _, _ in fit.gradients()} == {0, 1, 2} - set(frozen)
        fit.run(1)
        after = [network.get_parameter(op, "kernel") for op in range(3)]
        for op in range(3):
            assert (before[op].tobytes() == after[op].tobytes()) == (op in frozen)
        outcomes.append(after)
    assert outcomes[0][2].tobytes() == outcomes[1][2].tobytes() == outcomes[2][2].tobytes()
    assert outcomes[0][0].tobytes() == outcomes[3][0].tobytes()


def test_a_step_around_a_custom_loss_equals_the_native_step():
    results = []
    for own in (False, True):
        network = parts.make_network("float64", dense=parts.DENSE["penalties"])
        fit = parts.make_fit(network, "custom" if own else "mean_squared_error", parts.POSITIVE, {}, "adam")
        if own:
            for _ in range(fit.n_steps):
                y, p = parts.POSITIVE[fit.batch_rows()], fit.forward()
                fit.backward(2.0 * (p - y) / p.size, float(np.square(p - y).mean()))
        else:
            while fit.run() == "more":
                pass
        results.append((fit.loss_sum, network.get_parameter(0, "kernel")))
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-13)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-12, atol=1e-12)


def test_backward_needs_forward():
    network = parts.make_network("float64")
    fit = parts.make_fit(network, "custom", parts.POSITIVE, {})
    with pytest.raises(RuntimeError, match="forward"):
        fit.backward(np.zeros((128, 6)), 0.0)
    fit.forward()
    with pytest.raises(ValueError, match=r"gradient must have shape \(128, 6\), got \(3, 6\)"):
        fit.backward(np.zeros((3, 6)), 0.0)


def test_poisson_of_a_negative_rate_is_not_finite():
    value, _ = _core.loss_and_gradient("poisson", np.ones((2, 1)), np.array([[1.0], [-1.0]]))
    assert np.isnan(value)
