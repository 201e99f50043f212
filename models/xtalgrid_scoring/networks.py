"""The networks, run by ONNX Runtime: the only place that makes its sessions.

What goes in and comes out of each network stands at the head of `xtalgrid_core.weights`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime as ort

from xtalgrid_core.decision import Calibration
from xtalgrid_core.dense import Float, softmax
from xtalgrid_core.errors import BrokenModel, UnknownModel
from xtalgrid_core.images import SEGMENTER_SIDE, Pixels, network_input
from xtalgrid_core.options import Options
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.pooling import Pooling
from xtalgrid_core.weights import find_model, no_pooling

RUNTIME = f"onnxruntime {ort.__version__}"

BATCH = 1
"""Chops classified at once. More are slower on one core (they leave its cache), and take 9 MB each."""

ARENA = 256 * 1024 * 1024
"""Bytes of address space that the networks' memory lies in. Only what is used of it is taken; a block that grows piece by
piece would take half as much again, and dense scoring's tiles would have to be smaller."""

_DISABLED = ["QDQPropagationTransformer"]
"""It has the first pooling of int8 weights work on bytes, for which the runtime has only slow code: 1.8 times as long in all."""

Network = Callable[[Float], Float]
"""A network without its runtime: what `images.network_input` makes, ``(N, 3, H, W)``, to its answer."""


class Networks:
    """A segmenter and a classifier, ready to run.

    Parameters
    ----------
    segmenter, classifier
        See `xtalgrid_core.weights`; any function will do, such as a network in training.
    calibration, pooling
        How the classifier's probabilities become a well's; see `xtalgrid_core.decision`.
    is_dense
        Whether the classifier's class map of a large picture serves all chops in it.
    """

    def __init__(
        self,
        segmenter: Network,
        classifier: Network,
        calibration: Calibration,
        pooling: Pooling | None,
        is_dense: bool,
    ) -> None:
        self._segmenter = segmenter
        self._classifier = classifier
        self.calibration = calibration
        self.pooling = pooling
        self.is_dense = is_dense

    @classmethod
    def load(cls, options: Options, folders: Iterable[Path] = (), threads: int = 1) -> Networks:
        """Load the weights that the options name, from `folders` or else the package.

        Raises
        ------
        UnknownModel
            When no manifest lists them.
        BrokenModel
            When a file's bytes differ from its name, or are no such network; or when the rule is ``pooled`` and no pooling was
            fitted to the classifier.
        """
        if options.second_opinion is not None:
            raise UnknownModel(
                f"unknown model: second opinion {options.second_opinion[:12]}…; this worker has none: update it"
            )
        folders = tuple(folders)
        _, segmenter = find_model(options.segmenter, "segmenter", folders)
        entry, classifier = find_model(options.classifier, "classifier", folders)
        if options.rule == "pooled" and entry.pooling is None:
            raise BrokenModel(no_pooling(entry))
        return cls(
            load_network(segmenter, "mask", f"segmenter {options.segmenter[:12]}…", threads),
            load_network(classifier, "class_map", f"classifier {options.classifier[:12]}…", threads),
            entry.calibration,
            entry.pooling,
            entry.dense,
        )

    def with_classifier(self, classifier: Network) -> Networks:
        """The same networks but for a dense classifier, such as one in training."""
        return Networks(self._segmenter, classifier, self.calibration, self.pooling, is_dense=True)

    def mask(self, view: Pixels) -> Float:
        """Probability of each pixel of a `segmenter_view`, ``(256, 256, 3)``, to lie in the drop: ``(256, 256)``, 0..1."""
        return find_mask(self._segmenter, view)

    def class_map(self, images: Pixels) -> Float:
        """Class maps, ``(N, 13, h, w)`` logits, of N pieces of a `classifier_view`, ``(N, H, W, 3)``."""
        logits = self._classifier(network_input(images))
        if logits.ndim != 4 or logits.shape[:2] != (len(images), len(CLASSES)) or not np.isfinite(logits).all():
            raise ArithmeticError(f"the classifier gave {logits.shape} values, finite or not; expected 13 finite maps")
        return logits

    def probabilities(self, chops: Pixels) -> Float:
        """Probabilities of the 13 classes, ``(N, 13)``, of N chops of a `classifier_view`, ``(N, 256, 256, 3)``."""
        return softmax(self.class_map(chops).mean(axis=(2, 3)))


def find_mask(segmenter: Network, view: Pixels) -> Float:
    """What a segmenter says of a `segmenter_view`; see `Networks.mask`.

    Raises
    ------
    ArithmeticError
        When it gives another shape, or values that are not finite.
    """
    mask = segmenter(network_input(view[None]))
    if mask.shape != (1, 1, SEGMENTER_SIDE, SEGMENTER_SIDE) or not np.isfinite(mask).all():
        raise ArithmeticError(f"the segmenter gave {mask.shape} values, finite or not; expected finite ones")
    checked: Float = np.clip(mask[0, 0], 0, 1)  # what rounding leaves outside no reader accepts
    return checked


def load_network(weights: bytes, output: str, name: str, threads: int = 1) -> Network:
    """An ONNX network that maps ``image`` to `output`, on `threads` cores.

    It keeps its memory from run to run, in common with the other networks of this process.

    Raises
    ------
    BrokenModel
        When the bytes are no such network; the message calls it `name`.
    """
    _reserve()
    settings = ort.SessionOptions()
    settings.add_session_config_entry("session.use_env_allocators", "1")
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.enable_mem_pattern = False  # a plan for each size of picture would be kept, and memory with it
    settings.log_severity_level = 3  # errors; they come as exceptions
    try:
        session = ort.InferenceSession(
            weights, settings, providers=["CPUExecutionProvider"], disabled_optimizers=_DISABLED
        )
    except Exception as error:  # the runtime's exceptions have no common base but this
        raise BrokenModel(f"{name} cannot be loaded: {str(error)[:200]}; reinstall xtalgrid") from error
    has = ([i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()])
    if has != (["image"], [output]):
        raise BrokenModel(f"{name} maps {has[0]} to {has[1]}; expected ['image'] to ['{output}']")

    def run(images: Float) -> Float:
        (answer,) = session.run([output], {"image": images})
        return np.asarray(answer)

    return run


@cache
def _reserve() -> None:
    """Give the sessions of this process one block of memory (`ARENA`)."""
    memory = ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT)
    ort.create_and_register_allocator(memory, ort.OrtArenaCfg({"initial_chunk_size_bytes": ARENA}))
