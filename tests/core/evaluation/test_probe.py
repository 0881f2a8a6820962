"""The linear probe: its regression against other routes to the same optimum, its sweep and its splits."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from clip_core.evaluation import probe
from clip_core.evaluation.labelled import stratified
from clip_core.evaluation.logistic import cross_entropy, fit
from support.known_encoder import known_classifier
from support.messages import naming
from support.tolerances import ACCURACY, FITTED, FITTED_TWICE, FLOAT64_ROUNDING
from support.training_data import make_processor, picture


def clusters(count, noise, seed=0, classes=4, features=6):
    """Return points around a centre for each class."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(7).standard_normal((classes, features))
    truths = np.arange(count) % classes
    return centres[truths] + noise * random.standard_normal((count, features)), truths


def objective(weights, features, truths, strength):
    """Return the objective, computed one row at a time."""
    total = 0.5 * strength * (weights[:-1] ** 2).sum()
    for row, truth in zip(features, truths, strict=True):
        scores = row @ weights[:-1] + weights[-1]
        total += np.log(np.exp(scores).sum()) - scores[truth]
    return total


@pytest.mark.parametrize("strength", [1e-2, 1.0, 30.0])
def test_the_fit_is_the_optimum_of_the_objective(strength):
    features, truths = clusters(60, 1.0)
    found = fit(features, truths, 4, strength)
    assert found.converged
    least = objective(found.weights, features, truths, strength)
    random = np.random.default_rng(1)
    for size in (0.1, 0.01):
        for _ in range(10):
            other = found.weights + size * random.standard_normal(found.weights.shape)
            assert objective(other, features, truths, strength) > least


def test_two_classes_give_what_newtons_method_gives():
    features, truths = clusters(50, 1.5, classes=2, features=3)
    strength = 0.7
    # Two columns of weights of opposite sign share the penalty: half of it for their difference.
    rows = np.hstack([features, np.ones((50, 1))])
    penalty = np.diag([strength / 2] * 3 + [0.0])
    difference = np.zeros(4)
    for _ in range(30):
        shares = 1 / (1 + np.exp(-rows @ difference))
        gradient = rows.T @ (shares - truths) + penalty @ difference
        difference -= np.linalg.solve((rows.T * (shares * (1 - shares))) @ rows + penalty, gradient)
    weights = fit(features, truths, 2, strength).weights
    np.testing.assert_allclose(weights[:, 1] - weights[:, 0], difference, atol=FITTED)


def test_the_start_changes_the_way_and_not_the_end():
    features, truths = clusters(60, 1.0)
    cold = fit(features, truths, 4, 0.5)
    warm = fit(features, truths, 4, 0.5, start=fit(features, truths, 4, 1.0).weights)
    np.testing.assert_allclose(warm.weights[:-1], cold.weights[:-1], atol=FITTED_TWICE)


def test_cross_entropy_is_the_mean_of_minus_the_log_of_the_probability():
    logits = np.array([[0.0, np.log(3)], [1000.0, 0.0]])
    assert cross_entropy(logits, np.array([1, 0])) == pytest.approx(-np.log(0.75) / 2, rel=FLOAT64_ROUNDING)


def test_the_sweep_goes_from_every_second_decade_to_an_eighth_around_the_best():
    features, truths = clusters(120, 1.5)
    held, held_truths = clusters(80, 1.5, seed=1)
    trials = probe.sweep(features, truths, held, held_truths, 4)
    eighths = [round(8 * np.log10(trial.strength)) for trial in trials]
    assert eighths == sorted(eighths)
    assert set(range(-48, 49, 16)) <= set(eighths)
    best = max(trials, key=lambda trial: (trial.accuracy, -trial.loss))
    place = eighths.index(round(8 * np.log10(best.strength)))
    assert {eighths[place] - 1, eighths[place] + 1} <= set(eighths)
    assert 13 <= len(trials) <= 15
    for trial in trials[::5]:
        accuracy = (fit(features, truths, 4, trial.strength).scores(held).argmax(-1) == held_truths).mean()
        assert trial.accuracy == pytest.approx(accuracy, abs=ACCURACY)


def test_clusters_are_told_apart_on_points_that_were_not_fitted():
    (train, truths), (test, test_truths) = clusters(120, 0.6), clusters(80, 0.6, seed=1)
    report = probe.from_embeddings(train, truths, test, test_truths, ["a", "b", "c", "d"])
    assert report.result.top_1 > 0.9
    assert (report.training_pictures, report.result.pictures, report.result.classes) == (120, 80, 4)
    assert report.converged
    assert report.strength in [trial.strength for trial in report.trials]
    again = probe.from_embeddings(train, truths, test, test_truths, ["a", "b", "c", "d"])
    assert again == report


def test_labels_that_say_nothing_give_chance():
    train, truths = clusters(200, 1.0)
    test, test_truths = clusters(200, 1.0, seed=1)
    shuffled = np.random.default_rng(0).permutation(truths)
    assert probe.from_embeddings(train, shuffled, test, test_truths, list("abcd")).result.top_1 < 0.45


def test_parts_hold_the_same_share_of_each_class_and_follow_the_seed():
    truths = np.array([0] * 20 + [1] * 10 + [2] * 2 + [3])
    kept, held = stratified(truths, 0.2, 0, "test")
    assert sorted([*kept, *held]) == list(range(33))
    assert np.bincount(truths[held], minlength=4).tolist() == [4, 2, 1, 0]
    assert np.array_equal(stratified(truths, 0.2, 0, "test")[1], held)
    assert not np.array_equal(stratified(truths, 0.2, 1, "test")[1], held)
    assert np.bincount(truths[stratified(truths, 0.99, 0, "test")[0]]).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("truths", "share", "named"),
    [
        ([0, 0, 1], 0.0, ["test", "0.0"]),
        ([0, 0, 1], 1.0, ["test", "1.0"]),
        ([0, 1, 2], 0.5, ["test"]),
    ],
)
def test_parts_that_cannot_be_are_refused(truths, share, named):
    with pytest.raises(ValueError, match=naming(*named)):
        stratified(np.array(truths), share, 0, "test")


# On images.


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """A model whose embeddings of reds below 100 lie on one side and others on the other, whatever their label."""
    random = np.random.default_rng(0)
    embeds = {
        red: (1 if red < 100 else -1) * np.array([1.0, 0, 0]) + 0.3 * random.standard_normal(3) for red in range(200)
    }
    return known_classifier(make_processor(tmp_path_factory.mktemp("vocabulary")), embeds, {})


def rows(reds, labels=("low", "high")):
    return [{"image": picture(red), "label": labels[red >= 100]} for red in reds]


def test_a_part_of_the_pictures_is_held_out(classifier):
    report = probe.evaluate(classifier, rows(range(60, 140)), test_share=0.25, batch_size=16)
    assert (report.training_pictures, report.result.pictures, report.result.classes) == (60, 20, 2)
    assert report.result.top_1 == 1


def test_other_pictures_are_tested_on(classifier):
    done = []
    report = probe.evaluate(classifier, rows(range(80, 120)), rows((*range(10), 150, 151)), tell=done.append)
    assert (report.training_pictures, report.result.pictures) == (40, 12)
    assert report.result.top_1 == 1
    assert sum(done) == 52


def test_a_class_that_was_not_trained_on_is_told(classifier):
    with pytest.raises(ValueError, match=naming("'new'")):
        probe.evaluate(classifier, rows(range(80, 120)), rows([3, 150], labels=("low", "new")))


def test_scipy_that_is_missing_is_told_before_a_picture_is_read(classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=naming("SciPy", "pip install 'clip-zoo[evaluate]'")):
        probe.evaluate(classifier, "nowhere")
