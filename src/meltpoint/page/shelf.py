"""The models that the page offers: opened when they are first asked for, the last few kept."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from meltpoint.errors import UserError
from meltpoint.predict.word_list import Word
from meltpoint.tasks.answerer import Answerer

Key = TypeVar("Key", bound=Hashable)

KEPT = 3  # models in memory
LISTS = 16  # lists of words whose vectors are kept


class ShelfError(UserError, ValueError):
    """A model that the page does not offer."""


class Shelf:
    """Models by the name that people choose; `places` say where each is, the first is shown at first."""

    def __init__(self, places: Mapping[str, str], load: Callable[[str], Answerer]) -> None:
        self.places, self._load = dict(places), load
        self._models: OrderedDict[str, Answerer] = OrderedDict()
        self._worded: OrderedDict[tuple[object, ...], Answerer] = OrderedDict()
        self._lock = threading.RLock()

    @property
    def names(self) -> list[str]:
        """What can be chosen, in order."""
        return list(self.places)

    def open(self, name: str) -> Answerer:
        """The model of that name.

        Raises:
            ShelfError: there is none of that name.
            UserError: it cannot be opened; see `meltpoint.load`.
        """
        if name not in self.places:
            raise ShelfError(
                f"There is no model {name!r} here. There are {', '.join(self.places)}. Choose one of them."
            )
        return self._keep(self._models, name, KEPT, lambda: self._load(self.places[name]))

    def open_words(self, name: str, words: Sequence[Word], tags: bool, prompts: str | None) -> Answerer:
        """The model of that name, answering in these words; see `Answerer.with_words`.

        Raises:
            UserError: see `open` and `Answerer.with_words`.
        """
        model = self.open(name)
        key = (name, tuple(words), tags, prompts)
        return self._keep(self._worded, key, LISTS, lambda: model.with_words(words, tags, prompts))

    def _keep(self, kept: OrderedDict[Key, Answerer], key: Key, most: int, make: Callable[[], Answerer]) -> Answerer:
        with self._lock:
            if key not in kept:
                kept[key] = make()
            kept.move_to_end(key)
            while len(kept) > most:
                kept.popitem(last=False)
            return kept[key]
