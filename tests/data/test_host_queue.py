from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from meltpoint.data.host_queue import PER_HOST, SILENT, HostQueue
from meltpoint.data.link_lists import Link


def link(number: int, host: str) -> Link:
    return Link("A", f"A/{number}.jpg", f"http://{host}/{number}", host)


@given(st.lists(st.sampled_from("abc"), max_size=20), st.data())
def test_every_link_has_its_turn_and_no_host_too_many(hosts: list[str], data: st.DataObject) -> None:
    links = [link(number, host) for number, host in enumerate(hosts)]
    queue, running, seen = HostQueue(links), list[Link](), list[Link]()
    while len(seen) < len(links):
        while taken := queue.next_link():
            running.append(taken)
        assert max(Counter(one.host for one in running).values()) <= PER_HOST
        done = running.pop(data.draw(st.integers(0, len(running) - 1)))
        seen.append(done)
        assert list(queue.finish(done.host, silent=False)) == []
    assert queue.next_link() is None
    assert sorted(seen, key=links.index) == links


def test_a_silent_host_is_given_up_and_others_are_not() -> None:
    links = [link(number, "silent") for number in range(SILENT + 3)] + [link(9, "good")]
    queue = HostQueue(links)
    given_up: list[Link] = []
    taken = []
    while one := queue.next_link():
        taken.append(one)
        given_up += queue.finish(one.host, silent=one.host == "silent")
    assert Counter(one.host for one in taken) == {"silent": SILENT, "good": 1}
    assert given_up == links[SILENT : SILENT + 3]


def test_an_answer_in_between_gives_a_host_new_credit() -> None:
    queue = HostQueue([link(number, "moody") for number in range(10)])
    seen = 0
    while one := queue.next_link():
        assert list(queue.finish(one.host, silent=seen % 2 == 0)) == []
        seen += 1
    assert seen == 10
