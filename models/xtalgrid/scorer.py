"""`Scorer`: the networks, loaded and ready to score one image or many."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sized
from functools import partial
from pathlib import Path
from typing import get_args

import msgspec
from tqdm import tqdm

from xtalgrid_core import wire
from xtalgrid_core.errors import ConfigError, FailureReason, ImageError
from xtalgrid_core.options import DEFAULT_RULE, DEFAULTS, ZOOM, Mode, Options, Rule, group_limits, second_look
from xtalgrid_core.weights import PACKAGED, Variant, default_options, second_opinion_at, with_second_opinion
from xtalgrid_scoring.failures import failed
from xtalgrid_scoring.networks import Networks
from xtalgrid_scoring.pool import Pool
from xtalgrid_scoring.score import score_image

from .images import ONE_IMAGE, ImageLike, Source, naming
from .scores import Failure, Score


class Scorer:
    """Scores well images as an xtalgrid worker does: with the same networks and options, and the same numbers.

    Parameters
    ----------
    weights : path, optional
        A folder of weights, such as one that ``xtalgrid-train adapt`` made. Default: those that come with xtalgrid.
    variant : {"fp32", "int8"}, optional
        Variant of the weights. Default: the folder's default.
    second_opinion : path, optional
        The folder that ``xtalgrid-train import marco`` made, or an ONNX file in it. Its network judges each image too,
        and a score's probabilities come from both. Only with the rule pooled, which is then called combined. Default:
        none.
    threads : int, optional
        Cores to use for one image.
    rule : {"pooled", "group", "published"}, optional
        What decides the outcome: all chops of the drop together, the best chops, or the best chops as in the paper.
    threshold : float, optional
        Rules group and published: minimum probability for a chop to count.
    mode : {"dense", "exact"}, optional
        Whether all chops are classified at once, or one by one as in the paper, which takes eleven times as long.
    step : int, optional
        Distance between chops in pixels of 1.13 µm, 1 to 256. Dense: a multiple of 16. The paper's is 50.
    n_boxes : int, optional
        Maximum number of best chops in a score, 0 to 100.
    support : float, optional
        Rule group: fraction of the chops covering a point that must agree, 0..1.
    crystal_from : float, optional
        Rule pooled: minimum `Score.p_crystal` to call a well a crystal.
    undecided : float or mapping of str to float, optional
        Rule pooled: a well is undecided if the probability of its group is lower; one number, or numbers by group, such
        as ``{"precipitate": 0.6, "clear": 0.6}``. Default: never.
    zoom : float, optional
        Rule pooled: an image of a guessed scale is scored a second time, as if magnified so many times, 1 to 10; 1:
        only once.

    Attributes
    ----------
    options : Options
        All options that images are scored with.

    Raises
    ------
    ConfigError
        If a value is not allowed.
    ModelError
        If the weights are missing or cannot be used.

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
        undecided: float | Mapping[str, float] | None = None,
        zoom: float = ZOOM,
    ) -> None:
        if threads < 1:
            raise ConfigError(f"threads is {threads}; give at least 1")
        if variant not in (None, *get_args(Variant)):
            raise ConfigError(f"variant is {variant!r}; choose from: {', '.join(get_args(Variant))}")
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
            "zoom": second_look(zoom),
        }
        defaults = default_options(self._folders[0] if self._folders else PACKAGED, variant)
        try:
            limits = {"undecided": group_limits(undecided or 0.0)}
            self.options = msgspec.convert(msgspec.structs.asdict(defaults) | changes | limits, Options)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if second_opinion is not None:
            entry, folder = second_opinion_at(Path(second_opinion).expanduser().absolute())
            self.options = with_second_opinion(self.options, entry, self._folders)
            self._folders += (folder,)
        self._networks = Networks.load(self.options, self._folders, threads)

    def __getstate__(self) -> dict[str, object]:
        """Return the state without the networks, which cannot be pickled and are loaded again."""
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
            A JPEG, PNG, TIFF, BMP or GIF file, given by its path or its bytes; or pixels of uint8 or uint16,
            ``(M, N)`` grey or ``(M, N, 3)`` RGB. A file gets exactly the numbers that a worker gives it. Pixels that
            were decoded from a JPEG may differ in the third decimal, because a file is decoded at a reduced size if
            that is enough.
        pixel_size_um : float, optional
            Micrometres per pixel, 0.05 to 50. Default: that of a known imager with images of this size, else a guess;
            `Score.pixel_size_origin` says which. If it is wrong by half, crystals are mistaken for other outcomes.

        Raises
        ------
        ImageError
            If the image cannot be read, or is too small or too large; the message names it and says why.
        ConfigError
            If the object is not an image, or the pixel size is out of range.

        Examples
        --------
        >>> import xtalgrid
        >>> from xtalgrid_synth import render_well
        >>> well = render_well(xtalgrid.Outcome.HARVESTABLE, seed=1, width=640, height=480, pixel_size_um=4.5)
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
        """Score many images in separate processes, so that an image that crashes its process affects no other.

        Every image gets an answer, in the given order: a `Score`, or a `Failure` with the reason. An image that crashes
        its process or takes too long is a failure too. Answers are yielded as they are ready; you can stop at any time.

        Parameters
        ----------
        images : iterable of paths, bytes, PIL images or arrays
            As for `score`; for a folder, ``sorted(Path("plate").glob("*.jpg"))``. Only a few images per worker are
            read ahead.
        workers : int, optional
            Number of processes, one core each; each takes about 250 MB.
        progress : bool, optional
            Whether to show a progress bar on standard error.
        pixel_size_um : float, optional
            Micrometres per pixel of all the images.
        time_limit : float, optional
            Seconds after which an image is given up as a failure.

        Raises
        ------
        ConfigError
            If `images` is a single image, or a number is out of range.

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
                f"images is a {type(images).__name__}, not a list of images; "
                'for a folder, give sorted(Path("plate").glob("*.jpg"))'
            )
        if workers < 1:
            raise ConfigError(f"workers is {workers}; give at least 1")
        if not time_limit > 0:
            raise ConfigError(f"time_limit is {time_limit} s; give more than 0")
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
            Pool(workers, seconds=time_limit) as pool,
            tqdm(total=total, unit="image", disable=not progress, file=sys.stderr) as bar,
        ):
            for answer in pool.map(partial(self._ask, pool, pixel_size_um), images):
                yield answer
                bar.update()

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
        raise ConfigError(f"pixel_size_um is {pixel_size_um}; give 0.05 to 50")
