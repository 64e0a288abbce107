import torch

from meltpoint.model.class_outputs import LEAST, ClassOutputs
from meltpoint.tasks.classification.objective import decode_nominal, decode_ordinal

SHARES = torch.tensor([[5.0, 3.0, 2.0], [1.0, 1.0, 8.0], [0.0, 0.0, 4.0]])
WANTED = SHARES / SHARES.sum(-1, keepdim=True)


def test_nominal_outputs_decode_to_the_shares() -> None:
    torch.testing.assert_close(decode_nominal(ClassOutputs(ordinal=False)(SHARES)), WANTED, atol=3 * LEAST, rtol=0)


def test_ordinal_outputs_decode_to_the_shares() -> None:
    outputs = ClassOutputs(ordinal=True)(SHARES)
    assert outputs.shape == (3, 2)
    torch.testing.assert_close(decode_ordinal(outputs), WANTED, atol=3 * LEAST, rtol=0)


def test_two_classes_have_one_output() -> None:
    pairs = torch.tensor([[1.0, 3.0], [2.0, 0.0]])
    for ordinal in (False, True):
        outputs = ClassOutputs(ordinal)(pairs)
        assert outputs.shape == (2, 1)
        torch.testing.assert_close(decode_nominal(outputs), pairs / pairs.sum(-1, keepdim=True), atol=LEAST, rtol=1e-4)
