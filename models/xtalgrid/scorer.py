"""`Scorer`: the networks, ready to score images one by one or many at once."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
from tqdm import tqdm

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_core.options import DEFAULT_RULE, DEFAULTS, Mode, Options, Rule
from xtalgrid_core.weights import PACKAGED, Variant, default_options, second_opinion_at, with_second_opinion
from xtalgrid_scoring.failures import failed
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.pool import Pool
from xtalgrid_scoring.score import score_image

from .images import ONE_IMAGE, ImageLike, Source, naming
from .scores import Failure, Score

_AHEAD = 2
"""Images given to each worker before the caller has taken the first of them, so that none waits for the caller."""


class Scorer:
    """Scores well images as a xtalgrid worker does: the same networks, the same options, the same numbers.

    Parameters
    ----------
    weights : path, optional
        A folder of weights, such as one that ``xtalgrid-train adapt`` made. Default: those that come with xtalgrid.
    variant : {"fp32", "int8"}, optional
        Of these weights. Default: the folder's own choice.
    second_opinion : path, optional
        The folder that ``xtalgrid-train import marco`` made, or an ONNX file in it. Its network judges each image too,
        and a score's probabilities come from both. Only with the rule pooled, which is then called combined. Default:
        none.
    threads : int, optional
        Cores for one image.
    rule : {"pooled", "group", "published"}, optional
        What decides a well: all parts of the drop together, the best parts, or the best parts as in the paper.
    threshold : float, optional
        Rules group and published: probability from which a part counts.
    mode : {"dense", "exact"}, optional
        Whether the parts are classified all at once, or one by one as in the paper, which takes eleven times as long.
    step : int, optional
        From part to part in pixels of 1.13 µm, 1 to 256. Dense: a multiple of 16. The paper's is 50.
    n_boxes : int, optional
        How many of the best parts a score names, 0 to 100.
    support : float, optional
        Rule group: share of the parts around a point that must agree, 0..1.
    crystal_from : float, optional
        Rule pooled: `Score.p_crystal` from which a well is called a crystal.

    Attributes
    ----------
    options : Options
        How images are scored, all of it.

    Raises
    ------
    ConfigError
        When a value is not allowed.
    ModelError
        When the weights are not there or cannot be used.

    Examples
    --------
    >>> import xtalgrid
    >>> scorer = xtalgrid.Scorer(crystal_from=0.1)
    >>> scorer.options.rule, scorer.options.crystal_from
    ('pooled', 0.1)
    """

    def __init__(
        self,
        weights: str | os.PathLike[str] | None = None,
        *,
        variant: Variant | None = None,
        second_opinion: str | os.PathLike[str] | None = None,
        threads: int = 1,
        rule: Rule = DEFAULT_RULE,
        threshold: float = DEFAULTS.threshold,
        mode: Mode = DEFAULTS.mode,
        step: int = DEFAULTS.step,
        n_boxes: int = DEFAULTS.n_boxes,
        support: float = DEFAULTS.support,
        crystal_from: float = DEFAULTS.crystal_from,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"{threads} threads; at least one has to score")
        self._folders: tuple[Path, ...] = () if weights is None else (Path(weights).expanduser().absolute(),)
        self._threads = threads
        changes = {
            "rule": rule,
            "threshold": threshold,
            "mode": mode,
            "step": step,
            "n_boxes": n_boxes,
            "support": support,
            "crystal_from": crystal_from,
        }
        defaults = default_options(self._folders[0] if self._folders else PACKAGED, variant)
        try:
            self.options = msgspec.convert(msgspec.structs.asdict(defaults) | changes, Options)
        except msgspec.ValidationError as error:
            raise ConfigError(str(error)) from None
        if second_opinion is not None:
            entry, folder = second_opinion_at(Path(second_opinion).expanduser().absolute())
            self.options = with_second_opinion(self.options, entry)
            self._folders += (folder,)
        self._networks = Networks.load(self.options, self._folders, threads)

    def __getstate__(self) -> dict[str, object]:
        """Everything but the networks, which cannot be pickled and are loaded anew."""
        return {name: value for name, value in vars(self).items() if name != "_networks"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._networks = Networks.load(self.options, self._folders, self._threads)

    def __repr__(self) -> str:
        """Name the weights and the rule."""
        options = self.options
        return f"Scorer(segmenter {options.segmenter[:12]}, classifier {options.classifier[:12]}, rule {options.rule})"

    def score(self, image: ImageLike, pixel_size_um: float | None = None) -> Score:
        """Score one image.

        Parameters
        ----------
        image : path, bytes, PIL image or array
            A JPEG, PNG or TIFF file, by its path or its bytes; or pixels, ``(M, N)`` grey or ``(M, N, 3)`` RGB, of
            uint8 or uint16. A file gives the very numbers of a worker. Pixels decoded from a JPEG may differ from their
            file in the third decimal, because a file is decoded at a reduced size where that is enough.
        pixel_size_um : float, optional
            Micrometres per pixel, 0.05 to 50. Default: that of the known imager with images of this size, else a guess;
            `Score.pixel_size_origin` says which. A size that is off by half makes crystals look like another outcome.

        Raises
        ------
        ImageError
            When the image cannot be read, or is too small or too large; names it and says why.
        ConfigError
            For what is no image at all, or a pixel size out of range.

        Examples
        --------
        >>> import xtalgrid
        >>> from xtalgrid_synth import render_well
        >>> well = render_well(xtalgrid.Outcome.HARVESTABLE, seed=2, width=640, height=480, pixel_size_um=4.5)
        >>> score = xtalgrid.Scorer().score(well.image, pixel_size_um=4.5)
        >>> str(score.outcome), score.p_crystal > 0.9
        ('crystals harvestable', True)
        """
        _check_pixel_size(pixel_size_um)
        source = Source.of(image)
        with naming(source):
            data = source.read()
            entry = wire.ImageEntry(
                number=0, file="000.img", inspect_id=0, sha256=source.sha256, pixel_size_um=pixel_size_um
            )
            return Score(source, score_image(data, entry, self.options, self._networks), self)

    def score_many(
        self,
        images: Iterable[ImageLike],
        *,
        workers: int = 2,
        progress: bool = True,
        pixel_size_um: float | None = None,
        time_limit: float = 600.0,
    ) -> Iterator[Score | Failure]:
        """Score many images, each in a process that may fail without harm to the others.

        Every image gets an answer, in the order given: a `Score`, or a `Failure` that says why there is none. An image
        that crashes its process or takes too long is a failure too. Stop at any time: scores come as they are ready.

        Parameters
        ----------
        images : iterable of paths, bytes, PIL images or arrays
            As for `score`; the images of a folder are ``sorted(Path("plate").glob("*.jpg"))``. Only what the workers
            need is read ahead.
        workers : int, optional
            Processes side by side, each on one core; each takes about 250 MB.
        progress : bool, optional
            Show a progress bar on standard error.
        pixel_size_um : float, optional
            Of all the images.
        time_limit : float, optional
            Seconds after which an image is a failure.

        Raises
        ------
        ConfigError
            For one image instead of several, no workers, or a pixel size or time limit out of range.

        Examples
        --------
        >>> import xtalgrid
        >>> scorer = xtalgrid.Scorer()
        >>> for answer in scorer.score_many(["no such file.jpg"], workers=1, progress=False):
        ...     print(answer.outcome, "-", answer.reason)
        failed - missing file
        """
        _check_pixel_size(pixel_size_um)
        if isinstance(images, ONE_IMAGE) or not isinstance(images, Iterable):
            raise ConfigError(
                f"{type(images).__name__} is not several images; give a list of images, "
                'or of a folder: sorted(Path("plate").glob("*.jpg"))'
            )
        if workers < 1:
            raise ConfigError(f"{workers} workers; at least one has to score")
        if not time_limit > 0:
            raise ConfigError(f"a time limit of {time_limit} s; expected more than 0")
        return self._many(images, workers, progress, pixel_size_um, time_limit)

    def _many(
        self,
        images: Iterable[ImageLike],
        workers: int,
        progress: bool,
        pixel_size_um: float | None,
        time_limit: float,
    ) -> Iterator[Score | Failure]:
        total = len(images) if isinstance(images, Sized) else None
        with (
            Pool(workers, seconds=time_limit, waiting=workers * _AHEAD) as pool,
            ThreadPoolExecutor(workers) as threads,
            tqdm(total=total, unit="image", disable=not progress, file=sys.stderr) as bar,
        ):
            ask = partial(self._ask, pool, pixel_size_um)
            given: deque[Future[Score | Failure]] = deque()
            try:
                for image in images:
                    given.append(threads.submit(ask, image))
                    if len(given) == workers * _AHEAD:
                        yield given.popleft().result()
                        bar.update()
                while given:
                    yield given.popleft().result()
                    bar.update()
            finally:
                for waiting in given:
                    waiting.cancel()
                pool.close()  # what is under way has nobody to wait for it

    def _ask(self, pool: Pool, pixel_size_um: float | None, image: ImageLike) -> Score | Failure:
        name = str(image) if isinstance(image, str | os.PathLike) else type(image).__name__
        try:
            source = Source.of(image)
            name = source.name
            data = source.read()
        except ConfigError as error:
            return self._failure(name, failed(0, ImageError(FailureReason.NOT_AN_IMAGE, str(error))))
        except ImageError as error:
            return self._failure(name, failed(0, error))
        answer = pool.score(data, self.options, pixel_size_um=pixel_size_um, folders=self._folders)
        if isinstance(answer, wire.Failed):
            return self._failure(name, answer)
        return Score(source, answer, self)

    def _failure(self, name: str, answer: wire.Failed) -> Failure:
        return Failure(name, answer, self.options.second_opinion is not None)


def _check_pixel_size(pixel_size_um: float | None) -> None:
    if pixel_size_um is not None and not 0.05 <= pixel_size_um <= 50:
        raise ConfigError(f"a pixel of {pixel_size_um} µm; expected 0.05 to 50")
