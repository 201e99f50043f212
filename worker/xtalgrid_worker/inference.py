"""The networks, run by ONNX Runtime: the only file that imports it.

What goes in and comes out of each network stands at the head of `xtalgrid_core.weights`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from xtalgrid_core import wire
from xtalgrid_core.decision import Calibration
from xtalgrid_core.errors import BrokenModel
from xtalgrid_core.images import SEGMENTER_SIDE, Pixels, network_input
from xtalgrid_core.outcomes import CLASSES
from xtalgrid_core.weights import Role, find_model

RUNTIME = f"onnxruntime {ort.__version__}"

BATCH = 1
"""Chops classified at once. More are slower on one core (they leave its cache), and take 9 MB each."""

Float = npt.NDArray[np.float32]


class Networks:
    """A segmenter and a classifier, ready to run."""

    def __init__(
        self, segmenter: ort.InferenceSession, classifier: ort.InferenceSession, calibration: Calibration
    ) -> None:
        self._segmenter = segmenter
        self._classifier = classifier
        self.calibration = calibration
        """How the classifier's probabilities become `p_crystal`."""

    @classmethod
    def load(cls, options: wire.Options, folders: Iterable[Path] = (), threads: int = 1) -> Networks:
        """Load the weights that the options name, from `folders` or else the package.

        Raises
        ------
        UnknownModel
            When no manifest lists them.
        BrokenModel
            When a file's bytes differ from its name, or are no such network.
        """
        folders = tuple(folders)
        _, segmenter = find_model(options.segmenter, "segmenter", folders)
        entry, classifier = find_model(options.classifier, "classifier", folders)
        return cls(
            _session(segmenter, "segmenter", options.segmenter, threads),
            _session(classifier, "classifier", options.classifier, threads),
            entry.calibration,
        )

    def mask(self, view: Pixels) -> Float:
        """Probability of each pixel of a `segmenter_view`, ``(256, 256, 3)``, to lie in the drop: ``(256, 256)``, 0..1."""
        (mask,) = self._segmenter.run(["mask"], {"image": network_input(view[None])})
        return _probabilities(mask, (1, 1, SEGMENTER_SIDE, SEGMENTER_SIDE), "segmenter").reshape(mask.shape[2:])

    def probabilities(self, chops: Pixels) -> Float:
        """Probabilities of the 13 classes, ``(N, 13)``, of N chops of a `classifier_view`, ``(N, 256, 256, 3)``."""
        (probabilities,) = self._classifier.run(["probabilities"], {"chops": network_input(chops)})
        return _probabilities(probabilities, (len(chops), len(CLASSES)), "classifier")


def _session(weights: bytes, role: Role, sha256: str, threads: int) -> ort.InferenceSession:
    """A session that takes `threads` cores and keeps its memory from run to run: every run is of the same size."""
    settings = ort.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.log_severity_level = 3  # errors; they come as exceptions
    try:
        session = ort.InferenceSession(weights, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions have no common base but this
        raise BrokenModel(f"{role} {sha256[:12]}… cannot be loaded: {str(error)[:200]}; reinstall xtalgrid") from error
    expected = (["image"], ["mask"]) if role == "segmenter" else (["chops"], ["probabilities"])
    found = ([i.name for i in session.get_inputs()], [o.name for o in session.get_outputs()])
    if found != expected:
        raise BrokenModel(
            f"{role} {sha256[:12]}… maps {found[0]} to {found[1]}; expected {expected[0]} to {expected[1]}"
        )
    return session


def _probabilities(values: Float, shape: tuple[int, ...], role: Role) -> Float:
    """A network's output, checked: what is no probability here would be one that no reader accepts."""
    if values.shape != shape or not np.isfinite(values).all():
        raise ArithmeticError(f"the {role} gave {values.shape} values, finite or not; expected {shape} finite ones")
    checked: Float = np.clip(values, 0, 1)
    return checked
