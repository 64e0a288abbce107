import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from meltpoint.params.strategies import Schedule
from meltpoint.train.optimiser import (
    Average,
    UnfreezeError,
    build_adamw,
    fill_state,
    ramp,
    read_state,
    scale_stages,
    set_rate,
)

STAGES = [["stem.weight"], ["one.weight", "one.bias"], ["two.weight"]]


def test_earlier_stages_learn_slower() -> None:
    scales = scale_stages(STAGES, "all", 0.5)
    assert scales == {"stem.weight": 0.25, "one.weight": 0.5, "one.bias": 0.5, "two.weight": 1.0}
    assert scale_stages(STAGES, 1, 0.5) == {"two.weight": 1.0}


def test_more_stages_than_there_are() -> None:
    with pytest.raises(UnfreezeError, match="unfreeze is 4, and this backbone has 3 stages.*1 to 3, or all"):
        scale_stages(STAGES, 4, 0.5)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))


def adamw(module: nn.Module) -> torch.optim.AdamW:
    parameters = dict(module.named_parameters())
    scales = {name: 1.0 if name.startswith("3") else 0.1 for name in parameters}
    return build_adamw(parameters, scales, 0.3)


def test_biases_and_norms_do_not_decay() -> None:
    optimiser = adamw(net())
    set_rate(optimiser, 2.0)
    found = {
        name: (group["lr"], group["weight_decay"]) for group in optimiser.param_groups for name in group["param_names"]
    }
    assert found == {
        "0.weight": (0.2, 0.3), "0.bias": (0.2, 0.0), "1.weight": (0.2, 0.0), "1.bias": (0.2, 0.0),
        "3.weight": (2.0, 0.3), "3.bias": (2.0, 0.0),
    }  # fmt: skip


def take_steps(module: nn.Module, optimiser: torch.optim.AdamW, steps: range) -> None:
    for step in steps:
        torch.manual_seed(step)
        set_rate(optimiser, 0.01)
        module(torch.randn(5, 3, 4, 4).contiguous(memory_format=torch.channels_last)).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()


def test_a_restored_state_goes_on_as_if_never_taken() -> None:
    whole = net().to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    optimiser = adamw(whole)
    take_steps(whole, optimiser, range(3))
    weights = {name: value.clone(memory_format=torch.contiguous_format) for name, value in whole.state_dict().items()}
    state = {name: value.clone(memory_format=torch.contiguous_format) for name, value in read_state(optimiser).items()}
    take_steps(whole, optimiser, range(3, 6))

    again = net().to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    again.load_state_dict(weights)
    second = adamw(again)
    fill_state(second, state)
    take_steps(again, second, range(3, 6))
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())


@given(st.integers(1, 500), st.floats(0, 1), st.sampled_from(["cosine", "poly"]))
def test_the_rate_rises_then_falls(total: int, warmup: float, schedule: Schedule) -> None:
    rates = [ramp(step, total, warmup, schedule) for step in range(total)]
    top = rates.index(max(rates))
    assert all(0 <= rate <= 1 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[0] > 0


def test_without_a_warm_up_it_is_half_a_cosine() -> None:
    assert [ramp(step, 4, 0.0, "cosine") for step in (0, 2)] == [1.0, pytest.approx(0.5)]


def test_a_polynomial_falls_a_little_slower_than_a_line() -> None:
    assert [ramp(step, 10, 0.0, "poly") for step in (0, 5, 9)] == pytest.approx([1.0, 0.5**0.9, 0.1**0.9])
    assert ramp(6, 10, 0.2, "poly") == pytest.approx(0.5**0.9)


def test_an_average_follows_and_steps_aside() -> None:
    parameter = nn.Parameter(torch.zeros(3))
    average = Average({"p": parameter}, 0.75)
    with torch.no_grad():
        parameter.fill_(4.0)
    average.update()
    with average.in_place():
        assert parameter.tolist() == [1.0] * 3
    assert parameter.tolist() == [4.0] * 3
    average.update()
    assert average.values["p"].tolist() == [1.75] * 3


def test_no_average_leaves_the_weights() -> None:
    parameter = nn.Parameter(torch.ones(2))
    average = Average({"p": parameter}, 0.0)
    average.update()
    with average.in_place():
        assert parameter.tolist() == [1.0, 1.0]
    assert not average.values


def test_an_average_starts_from_the_weights_and_can_be_restored() -> None:
    parameter = nn.Parameter(torch.full((1,), 3.0))
    average = Average({"p": parameter}, 0.5)
    assert average.values["p"].tolist() == [3.0]
    average.fill({"p": torch.tensor([5.0])})
    average.update()
    assert average.values["p"].tolist() == [4.0]
