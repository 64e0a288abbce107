"""One promotion at a time in a store that several clones share: a lease, kept in the store itself.

A lease is an experiment of MLflow called `shapes.promotion.00000012`. A store makes an experiment of one name only
once, also when two clones ask at the same time, and a deleted experiment keeps its name. So the clone that could make
the next number holds the lease, and deleting the experiment ends it. The holder counts up a tag of it; if that stands
still for `SILENCE` seconds, by the clock of the one who waits, the holder is dead and the next number may be made. What
the holder is about to do stands in another tag, so that the next one can complete it.
"""

import random
import re
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meltpoint.errors import UserError
from meltpoint.registry.store_history import is_shared
from meltpoint.terminal import say
from meltpoint.tracking.mlflow_errors import StoreError
from meltpoint.tracking.pipeline_state import user_name
from meltpoint.tracking.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Experiment

BEAT, SILENCE = 5.0, 60.0  # seconds
FAILED = "failed"  # instead of a count: the holder could not finish its plan, and the next one need not wait
MODEL, PLAN = "meltpoint.promotion", "meltpoint.plan"  # tags of the experiment, as those below
HOLDER, TOKEN, COUNT = "meltpoint.holder", "meltpoint.token", "meltpoint.beat"


class LeaseError(UserError, RuntimeError):
    """Another clone took the lease, as this one had not answered for long."""


@dataclass(frozen=True)
class Lease:
    """The right to move the aliases of `store.name`, until `experiment` is deleted or a higher number is made.

    In the store of the repository itself a lock of a file gives that right: then there is no number.
    """

    store: Store
    number: int | None = None
    experiment: str = ""

    def check(self) -> None:
        """Make sure that the lease still holds.

        Raises:
            LeaseError: it does not.
            StoreError: the store does not answer.
        """
        if self.number is None:
            return
        latest = _latest(self.store)
        if latest is None or _number(latest) != self.number or latest.lifecycle_stage == "deleted":
            raise LeaseError(
                f"Another clone has taken over the promotion of {self.store.name}, as nothing was heard of this one "
                f"for {SILENCE:.0f} s. Nothing more was moved. Run the same again"
            )

    def write_plan(self, plan: str) -> None:
        """Keep what is meant to be done, for the next holder if this one fails; "" once it is done."""
        if self.number is not None:
            self.store.client.set_experiment_tag(self.experiment, PLAN, plan)

    def abandoned(self) -> list[tuple[str, str | None]]:
        """The leases whose holders died, oldest first: the id of the experiment, and the plan that was begun."""
        if self.number is None:
            return []
        found = self.store.client.search_experiments(filter_string=_own(self.store), order_by=["name ASC"])
        return [(one.experiment_id, one.tags.get(PLAN)) for one in found if one.experiment_id != self.experiment]

    def bury(self, experiment: str) -> None:
        """End the lease of a holder that died."""
        self.store.client.delete_experiment(experiment)


@contextmanager
def lease(store: Store) -> Iterator[Lease]:
    """Hold the lease while the context lasts; say who holds it if that takes time.

    Raises:
        StoreError: the store does not answer.
    """
    if not is_shared(store):
        yield Lease(store)
        return
    held, ended = _acquire(store), threading.Event()
    beating = threading.Thread(target=_beat, args=(held, ended), daemon=True)
    beating.start()
    try:
        yield held
    finally:
        ended.set()
        beating.join()
        with suppress(StoreError):  # it ends by silence then; what went wrong was raised by a call that matters
            if store.client.get_experiment(held.experiment).tags.get(PLAN):
                store.client.set_experiment_tag(held.experiment, COUNT, FAILED)
            else:
                store.client.delete_experiment(held.experiment)


def _acquire(store: Store) -> Lease:
    seen, since, token = None, time.monotonic(), uuid.uuid4().hex
    announced = False
    while True:
        latest = _latest(store)
        state = (latest.name, latest.tags.get(COUNT)) if latest else None
        if state != seen:
            seen, since = state, time.monotonic()
        ended = latest is None or latest.lifecycle_stage == "deleted" or latest.tags.get(COUNT) == FAILED
        if ended or time.monotonic() - since > SILENCE:
            made = _make(store, _number(latest) + 1 if latest else 1, token)
            if made:
                return made
            continue
        if latest and not announced and time.monotonic() - since > BEAT / 5:
            say(f"{latest.tags.get(HOLDER)} is registering {store.name} in the same store; waiting for it to end")
            announced = True
        time.sleep(random.uniform(0.2, 0.6))  # noqa: S311 - so that those who wait do not ask in step


def _make(store: Store, number: int, token: str) -> Lease | None:
    """The lease of this number; None if another clone has made it."""
    name = f"{store.name}.promotion.{number:08d}"
    try:
        tags = {
            MODEL: store.name,
            HOLDER: f"{user_name(store.root)} on {socket.gethostname()}",
            TOKEN: token,
            COUNT: "0",
        }
        store.client.create_experiment(name, tags=tags)
    except StoreError:
        found = store.client.get_experiment_by_name(name)
        if found is None:
            raise
    else:
        found = store.client.get_experiment_by_name(name)
    # a call that was repeated because its answer got lost may have made it the first time
    return Lease(store, number, found.experiment_id) if found and found.tags.get(TOKEN) == token else None


def _beat(held: Lease, ended: threading.Event) -> None:
    count = 0
    while not ended.wait(BEAT):
        count += 1
        with suppress(StoreError):  # `check` finds out whether the lease still holds
            held.store.client.set_experiment_tag(held.experiment, COUNT, str(count))


def _latest(store: Store) -> "Experiment | None":
    """The lease with the highest number, also one that has ended."""
    from mlflow.entities import ViewType

    found = store.client.search_experiments(
        view_type=ViewType.ALL, filter_string=_own(store), order_by=["name DESC"], max_results=1
    )
    return found[0] if found else None


def _own(store: Store) -> str:
    return f"tags.`{MODEL}` = '{store.name}'"


def _number(experiment: "Experiment") -> int:
    return int(re.sub(r".*\.", "", experiment.name))
