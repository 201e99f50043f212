"""Look things up in an ONNX graph: who makes a tensor, who takes it, and which constants there are."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt


def makers_of(graph: Any) -> dict[str, Any]:
    """Return the node that makes each tensor, by the tensor's name."""
    return {node.output[0]: node for node in graph.node}


def users_of(graph: Any) -> dict[str, list[Any]]:
    """Return the nodes that take each tensor, by its name."""
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return users


def constants_of(graph: Any) -> dict[str, Any]:
    """Return the constants, weights among them, by name."""
    return {value.name: value for value in graph.initializer}


def change(constant: Any, array: npt.NDArray[Any]) -> None:
    """Give a constant another value."""
    from onnx import numpy_helper

    constant.CopyFrom(numpy_helper.from_array(array, constant.name))
