"""The networks, run by ONNX Runtime: the only module that creates its sessions.

The inputs and outputs of the networks are described in `xtalgrid_core.weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime as ort

from xtalgrid_core.decision import Calibration, Groups
from xtalgrid_core.dense import Float, softmax
from xtalgrid_core.errors import BrokenModel, FailureReason, ImageError
from xtalgrid_core.images import SEGMENTER_SIDE, Pixels, network_input
from xtalgrid_core.lines import one_line
from xtalgrid_core.onnx_files import check_self_contained
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.pooling import Pooling
from xtalgrid_core.weights import PIXELS, find_model, no_pooling

from . import second_opinion

RUNTIME = f"onnxruntime {ort.__version__}"

BATCH = 1
"""Chops classified at once. On one core larger batches are slower (they exceed its cache) and take 9 MB per chop."""

ARENA = 256 * 1024 * 1024
"""Bytes of address space reserved for the networks' memory.

Only the part in use takes real memory. An arena that grows step by step would take half as much again, and dense
scoring would need smaller tiles.
"""

_DISABLED = ["QDQPropagationTransformer"]
"""This optimizer moves the first pooling layer of int8 weights to 8 bits, which takes 1.8 times as long in all."""

_NO_IMAGE = np.zeros((1, 3, 1, 1), np.float32)
"""For networks that are given `PIXELS`."""

Network = Callable[[Pixels], Float]
"""A network as a function: maps N pictures, ``(N, H, W, 3)``, to the network's output."""


class Networks:
    """A segmenter and a classifier, and perhaps a second opinion, ready to run.

    Parameters
    ----------
    segmenter, classifier
        See `xtalgrid_core.weights`; any function can be used, such as a network in training.
    calibration, pooling
        For the decision on a well; see `xtalgrid_core.decision`.
    is_dense
        Whether all chops of a drop can be classified from one class map of it.
    second
        The network of a second opinion, if there is one.
    """

    def __init__(
        self,
        segmenter: Network,
        classifier: Network,
        calibration: Calibration,
        pooling: Pooling | None,
        is_dense: bool,
        second: second_opinion.Network | None = None,
    ) -> None:
        self._segmenter = segmenter
        self._classifier = classifier
        self.calibration = calibration
        self.pooling = pooling
        self.is_dense = is_dense
        self._second = second

    @classmethod
    def load(cls, options: Options, folders: Iterable[Path] = (), threads: int = 1) -> Networks:
        """Load the weights named in the options, from `folders` or else the package.

        Raises
        ------
        UnknownModel
            If no manifest lists them.
        BrokenModel
            If a file doesn't match its hash or is not such a network, or if the classifier has no pooling and the
            rule needs one.
        """
        folders = tuple(folders)
        _, segmenter = find_model(options.segmenter, "segmenter", folders)
        entry, classifier = find_model(options.classifier, "classifier", folders)
        if options.is_pooled and entry.pooling is None:
            raise BrokenModel(no_pooling(entry))
        second = None
        if options.second_opinion is not None:
            _, data = find_model(options.second_opinion, "second_opinion", folders)
            second = load_network(data, "logits", f"second opinion {options.second_opinion[:12]}…", threads)
        return cls(
            load_network(segmenter, "mask", f"segmenter {options.segmenter[:12]}…", threads),
            load_network(classifier, "class_map", f"classifier {options.classifier[:12]}…", threads),
            entry.calibration,
            entry.pooling,
            entry.dense,
            second,
        )

    def with_classifier(self, classifier: Network) -> Networks:
        """Return the same networks with another, dense classifier, such as one in training."""
        return Networks(self._segmenter, classifier, self.calibration, self.pooling, True, self._second)

    def mask(self, view: Pixels) -> Float:
        """Return the probability, ``(256, 256)``, that each pixel of a segmenter view lies in the drop."""
        return find_mask(self._segmenter, view)

    def class_map(self, images: Pixels) -> Float:
        """Return the class maps, ``(N, 13, h, w)`` logits, of N parts of a classifier view, ``(N, H, W, 3)``."""
        logits = self._classifier(images)
        if logits.ndim != 4 or logits.shape[:2] != (len(images), len(CLASSES)) or not np.isfinite(logits).all():
            raise ArithmeticError(
                f"the classifier returned {logits.shape} values, some perhaps not finite; expected 13 finite maps"
            )
        return logits

    def second_opinion(self, picture: Float) -> Groups:
        """Return the second opinion on a picture; see `second_opinion.probabilities`. There must be one."""
        assert self._second is not None
        return second_opinion.probabilities(self._second, picture)

    def probabilities(self, chops: Pixels) -> Float:
        """Return the probabilities of the 13 classes, ``(N, 13)``, in N chops, ``(N, 256, 256, 3)``."""
        return softmax(self.class_map(chops).mean(axis=(2, 3)))


def find_mask(segmenter: Network, view: Pixels) -> Float:
    """Run a segmenter on a segmenter view; see `Networks.mask`.

    Raises
    ------
    ArithmeticError
        If it returns another shape, or values that are not finite.
    """
    mask = segmenter(view[None])
    if mask.shape != (1, 1, SEGMENTER_SIDE, SEGMENTER_SIDE) or not np.isfinite(mask).all():
        raise ArithmeticError(
            f"the segmenter returned {mask.shape} values, some perhaps not finite; expected one finite mask"
        )
    probabilities: Float = np.clip(mask[0, 0], 0, 1)  # rounding may leave some slightly outside
    return probabilities


def load_network(weights: bytes, output: str, name: str, threads: int = 1) -> Callable[[Float | Pixels], Float]:
    """Load an ONNX network that maps ``image`` to `output`, and perhaps to more; see `load_outputs`."""
    run = load_outputs(weights, [output], name, threads)
    return lambda images: run(images)[0]


def load_outputs(
    weights: bytes, wanted: Sequence[str], name: str, threads: int = 1
) -> Callable[[Float | Pixels], list[Float]]:
    """Load an ONNX network that maps ``image`` to the wanted outputs, and perhaps to more, to run on `threads` cores.

    It takes ``image`` itself, float32, or pictures ``(N, H, W, 3)`` uint8 of which `images.network_input` makes it.

    Memory is kept from run to run, and shared with the other networks of the process. A run that fails raises
    `ImageError`.

    Raises
    ------
    BrokenModel
        If the bytes are not such a network, or name other files; `name` is used in the message.
    """
    check_self_contained(weights, name)
    _reserve_arena()
    settings = ort.SessionOptions()
    settings.add_session_config_entry("session.use_env_allocators", "1")
    settings.add_session_config_entry("session.load_model_format", "ONNX")  # no other is checked above
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.enable_mem_pattern = False  # it would keep a plan, and its memory, for each input size
    settings.log_severity_level = 4  # errors are raised as exceptions, and foreign names must not get to a terminal
    try:
        session = ort.InferenceSession(
            weights, settings, providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED
        )
    except Exception as error:  # the runtime's exceptions have no other common base
        raise BrokenModel(
            f"{name} cannot be loaded: {_short(error)}; export it again, or reinstall xtalgrid"
        ) from error
    inputs, outputs = [i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()]
    if inputs != ["image"] or not set(wanted) <= set(outputs):
        raise BrokenModel(f"{name} maps {_short(inputs)} to {_short(outputs)}; expected ['image'] to {list(wanted)}")

    takes_pixels = PIXELS in [value.name for value in session.get_overridable_initializers()]

    def run(images: Float | Pixels) -> list[Float]:
        given: dict[str, Float | Pixels] = {"image": images}
        if images.dtype == np.uint8:
            pictures = cast(Pixels, images)
            given = {"image": _NO_IMAGE, PIXELS: pictures} if takes_pixels else {"image": network_input(pictures)}
        try:
            return [np.asarray(values) for values in session.run(wanted, given)]
        except Exception as error:  # as above
            raise ImageError(FailureReason.INTERNAL, f"{name} cannot be run: {_short(error)}") from error

    return run


def _short(foreign: object) -> str:
    """Return what stands in somebody's file as the end of a message."""
    return one_line(str(foreign).rpartition("Status Message: ")[2].strip()[:300])


@cache
def _reserve_arena() -> None:
    """Reserve one block of memory (`ARENA`) for all sessions of this process."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"initial_chunk_size_bytes": ARENA}))
