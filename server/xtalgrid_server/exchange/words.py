"""What the words of other programs and of the lab mean: ``scores.names``, our own names, the lab's score codes."""

from __future__ import annotations

from collections.abc import Mapping

from ..config import Config
from ..domain.drop_state import Meaning
from ..domain.words import CLASSES_BY_NAME, LABELS, configured, plain


class UnknownWord(ValueError):
    """A word that means nothing here."""

    def __init__(self, word: str) -> None:
        super().__init__(f"unknown word {word!r}; add it to scores.names")
        self.word = word


class Words:
    """Tells what words mean: as ``scores.names`` says, then as the program does, by our own names, by the lab's codes.

    Parameters
    ----------
    theirs
        What the program's own words mean.
    """

    def __init__(self, config: Config, theirs: Mapping[str, Meaning] | None = None) -> None:
        self._config, self._theirs = config, theirs or {}
        self._names = {plain(word): meaning for word, meaning in config.scores.names.items()}

    def meaning(self, word: str, *, as_outcome: bool = False) -> Meaning | None:
        """Return a word's meaning; None if it says that there is no score.

        Parameters
        ----------
        as_outcome
            Whether the word is one of our outcomes, not of another program.

        Raises
        ------
        UnknownWord
            If it is not known.
        """
        key = plain(word)
        named = self._names.get(key)
        if named is not None:
            return None if not named else configured(named)
        if word.strip() in self._config.imager.not_scored:
            return None
        meaning = self._theirs.get(key) or (CLASSES_BY_NAME if as_outcome else LABELS).get(key)
        meaning = meaning or self._config.outcome(word.strip())
        if meaning is None:
            raise UnknownWord(word)
        return meaning
