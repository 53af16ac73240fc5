"""Decision trees and forests, to the last bit.

Most of what scikit-learn does for one row of a forest is Python around a hundred small calls. Here all trees are one:
its upper nodes choose the tree by a number that is added to each row, and below them lie the trees as they are. So the
comparisons are scikit-learn's own, in one call, and the leaves' values are added in the order in which it adds them.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from model_platform_runner.compiled.known import Declined, known
from model_platform_runner.compiled.linear import Answer
from model_platform_runner.values import Array

_SINGLE = {
    f"sklearn.tree._classes.{name}": name.endswith("Classifier")
    for name in ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
}
_FORESTS = {
    f"sklearn.ensemble._forest.{name}": name.endswith("Classifier")
    for name in ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")
}
MODELS = _SINGLE | _FORESTS

_NODES = 1 << 18  # a forest with more (16 MB) is not copied into one tree: the runner would hold it twice
_CELLS = 1 << 18  # numbers in the rows repeated for each tree; for more, a call for each tree costs less


def compile_trees(model: Any, method: str) -> Answer:
    """Return what answers as a method of a tree or a forest does.

    Raises
    ------
    Declined
        For several outputs, and for methods other than predict and predict_proba.
    """
    classifies = known(model, MODELS)
    if model.n_outputs_ != 1:
        raise Declined("It answers with several outputs.")
    if method not in (("predict", "predict_proba") if classifies else ("predict",)):
        raise Declined(f"{method} of {type(model).__name__} has no compiled form.")
    members = list(getattr(model, "estimators_", [model]))
    for each in members:
        known(each, _SINGLE)
        if each.n_features_in_ != model.n_features_in_ or each.n_outputs_ != 1:
            raise Declined("The trees of this forest do not belong together.")
    if not members:
        raise Declined("There are no trees.")
    width = int(model.n_classes_) if classifies else 1
    _check_values(members, width, classifies=classifies)
    means = _means([each.tree_ for each in members], width, averaged=hasattr(model, "estimators_"))
    checked = _checked(means, model.n_features_in_, missing=_takes_missing(members[0]))
    if not classifies:
        return _then(checked, lambda found: found[:, 0])
    classes = model.classes_
    if type(classes) is not np.ndarray or classes.shape != (width,):
        raise Declined("The classes do not fit the trees.")
    if method == "predict_proba":
        return checked
    return _then(checked, lambda found: classes.take(found.argmax(axis=1), axis=0))


def _check_values(members: Sequence[Any], width: int, *, classifies: bool) -> None:
    for each in members:
        values = each.tree_.value
        if values.shape[1:] != (1, width) or not np.isfinite(values).all():
            raise Declined("The leaves of its trees have another form.")
        if classifies and not np.allclose(values.sum(axis=2), 1.0):
            raise Declined("Its trees count rows, as older versions of scikit-learn did.")


def _takes_missing(tree: Any) -> bool:
    supports = getattr(tree, "_support_missing_values", None)
    return bool(supports and supports(np.empty((1, 1))))


def _checked(means: Answer, width: int, *, missing: bool) -> Answer:
    """The rows as 32-bit numbers, where the model would take them."""

    def answer(rows: Array) -> Array | None:
        if rows.ndim != 2 or rows.shape[1] != width or rows.dtype.kind not in "fiu":
            return None
        with np.errstate(over="ignore"):
            narrow = rows.astype(np.float32, copy=False)
        if np.isinf(narrow).any() if missing else not np.isfinite(narrow).all():
            return None
        return means(narrow)

    return answer


def _then(first: Answer, second: Any) -> Answer:
    def answer(rows: Array) -> Array | None:
        found = first(rows)
        return None if found is None else second(found)

    return answer


def _means(trees: Sequence[Any], width: int, *, averaged: bool) -> Answer:
    if not averaged:
        (tree,) = trees
        return lambda rows: tree.predict(rows).reshape(len(rows), width)

    def one_by_one(rows: Array) -> Array:
        found = np.zeros((len(rows), width))
        for tree in trees:
            found += tree.predict(rows).reshape(len(rows), width)
        found /= len(trees)
        return found

    if sum(tree.node_count for tree in trees) > _NODES:
        return one_by_one
    with contextlib.suppress(Exception):  # this version's trees are made otherwise
        return _together(trees, width, one_by_one)
    return one_by_one


def _together(trees: Sequence[Any], width: int, one_by_one: Answer) -> Answer:
    count, columns = len(trees), trees[0].n_features
    tree, values = _merged(trees, columns)
    numbers = np.arange(count, dtype=np.float32).reshape(count, 1)

    def answer(rows: Array) -> Array | None:
        size = len(rows)
        if count * size * (columns + 1) > _CELLS:
            return one_by_one(rows)
        repeated = np.empty((count, size, columns + 1), np.float32)
        repeated[:, :, :columns] = rows
        repeated[:, :, columns] = numbers
        leaves = tree.apply(repeated.reshape(count * size, columns + 1))
        found = values.take(leaves, axis=0).reshape(count, size * width)
        # A single column would be added pairwise: faster, and another last bit.
        total = found.sum(axis=0) if size * width > 1 else found.cumsum(axis=0)[-1]
        total += 0.0  # scikit-learn begins with a positive zero
        total /= count
        mean: Array = total.reshape(size, width)
        return mean

    return answer


def _merged(trees: Sequence[Any], columns: int) -> tuple[Any, Array]:
    """One tree that holds all, and its leaves' values; column number ``columns`` of a row tells which is meant."""
    states = [tree.__getstate__() for tree in trees]
    starts = np.cumsum([len(trees) - 1, *(state["node_count"] for state in states)])
    nodes = np.zeros(starts[-1], dtype=states[0]["nodes"].dtype)
    values = np.zeros((starts[-1], trees[0].value.shape[2]))
    for state, start in zip(states, starts, strict=False):
        part = state["nodes"].copy()
        inner = part["left_child"] != -1
        part["left_child"][inner] += start
        part["right_child"][inner] += start
        nodes[start : start + len(part)] = part
        values[start : start + len(part)] = state["values"][:, 0, :]
    _choose(nodes, starts, columns)
    kind = type(trees[0])
    merged = kind(columns + 1, np.array([1], dtype=np.intp), 1)
    depth = max(int(state["max_depth"]) for state in states) + len(trees).bit_length()
    empty = np.zeros((len(nodes), 1, 1))  # ours lie beside it
    merged.__setstate__({"max_depth": depth, "node_count": len(nodes), "nodes": nodes, "values": empty})
    return merged, values


def _choose(nodes: Array, starts: Array, columns: int) -> None:
    """Fill the upper nodes: each halves the numbers of trees that lead through it."""
    free = iter(range(len(starts) - 2))

    def place(low: int, high: int) -> int:
        if high - low == 1:
            return int(starts[low])
        mine, middle = next(free), (low + high) // 2
        nodes[mine]["feature"], nodes[mine]["threshold"] = columns, middle - 0.5
        nodes[mine]["left_child"], nodes[mine]["right_child"] = place(low, middle), place(middle, high)
        return mine

    place(0, len(starts) - 1)
