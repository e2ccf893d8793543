import numpy as np
import pytest

from mmtrain.report.runs import scores

NAN = float("nan")


def test_rank_correlation_by_hand():
    # Ranks 1 2 3 4 against 1 3 2 4: 1 - 6 (0 + 1 + 1 + 0) / (4 * 15) = 0.8.
    one, other = np.array([0.1, 0.2, 0.3, 9.0]), np.array([-5.0, 1.0, 0.0, 2.0])
    assert scores.rank_correlation(one, other) == pytest.approx(0.8)
    assert scores.rank_correlation(one, one**3) == pytest.approx(1)
    assert scores.rank_correlation(one, -one) == pytest.approx(-1)


def test_rank_correlation_averages_ties():
    # Ranks 1.5 1.5 3 and 1 2 3, about 2: (-.5 -.5 1) . (-1 0 1) = 1.5; norms^2 1.5 and 2.
    found = scores.rank_correlation(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 2.0]))
    assert found == pytest.approx(1.5 / np.sqrt(3))


def test_rank_correlation_leaves_out_what_has_no_score():
    one, other = np.array([1.0, 2.0, 3.0, NAN]), np.array([3.0, 2.0, 1.0, 0.0])
    assert scores.rank_correlation(one, other) == pytest.approx(-1)
    assert np.isnan(scores.rank_correlation(np.ones(3), other[:3]))
    assert np.isnan(scores.rank_correlation(np.full(3, NAN), other[:3]))


def test_consecutive_rows():
    rows = np.array([[1, 2, 3], [1, 2, 3], [3, 2, 1]], np.float32)
    np.testing.assert_allclose(scores.consecutive_correlation(rows), [NAN, 1, -1])
    assert len(scores.consecutive_correlation(rows[:1])) == 1


def test_quantiles_skip_what_is_not_finite():
    rows = np.array([[0, 1, 2, np.inf], [NAN] * 4], np.float32)
    found = scores.quantiles(rows, (0, 0.25, 0.5, 1))
    np.testing.assert_allclose(found, [[0, 0.5, 1, 2], [NAN] * 4])


def test_shares_of_the_data():
    visits = np.array([[1, 0, 0, 0], [2, 0, 1, 0], [0, 0, 0, 0]], np.uint32)
    np.testing.assert_allclose(scores.share_in_epoch(visits), [0.25, 0.5, 0])
    np.testing.assert_allclose(scores.share_so_far(visits), [0.25, 0.5, 0.5])


def test_balance_by_hand():
    # Class 0 has 1 of 4 samples, class 1 has 3, class 2 none.
    # Epoch 0 shows each once: as due. Epoch 1 shows class 0 twice of four: 0.5 / 0.25 = 2.
    labels = np.array([0, 1, 1, 1])
    visits = np.array([[1, 1, 1, 1], [2, 2, 0, 0]], np.uint32)
    found = scores.balance(visits, labels, 3)
    np.testing.assert_allclose(found, [[1, 2], [1, 0.5 / 0.75], [NAN, NAN]])


def test_age_counts_epochs_since_a_sample_was_judged():
    measured = np.array([[-1, 0], [0, 0], [0, 2]], np.int16)
    np.testing.assert_allclose([*scores.age(measured)], [[NAN, 0], [1, 1], [2, 0]])


def test_moved_counts_each_sample_once():
    first, last = np.array([0.0, 0.1, 1.0, NAN]), np.array([0.0, 0.9, 1.0, 0.5])
    counts, edges = scores.joint_histogram(first, last, 2)
    # The highest of the first scores are the upper row: one stayed high, one rose, one stayed low.
    np.testing.assert_array_equal(counts, [[0, 1], [1, 1]])
    np.testing.assert_allclose(edges, [0, 0.5, 1])


def test_moved_takes_scores_that_are_all_the_same_or_none():
    counts, _ = scores.joint_histogram(np.ones(3), np.ones(3), 4)
    assert counts.sum() == 3
    counts, _ = scores.joint_histogram(np.full(3, NAN), np.ones(3), 4)
    assert counts.sum() == 0
