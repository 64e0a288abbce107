"""The last layer of heads that find how likely each class is in another way than by a linear layer."""

from torch import Tensor, nn

LEAST = 1e-6  # the share of a class that has nothing: its logarithm has to be a number


class ClassOutputs(nn.Module):
    """Shares of classes as outputs of a head with that target, so that its task decodes them to the shares."""

    def __init__(self, ordinal: bool, least: float = LEAST) -> None:
        super().__init__()
        self.ordinal, self.least = ordinal, least

    def forward(self, shares: Tensor) -> Tensor:
        """Numbers >= 0 (..., C), not all 0 and of any sum, to outputs: nominal (..., C), of two classes (..., 1).

        Ordinal (..., C - 1): output k is the logit of a class above k, if it is k or above.
        """
        logs = (shares / shares.sum(-1, keepdim=True)).clamp_min(self.least).log()
        if self.ordinal or shares.shape[-1] == 2:
            above = logs.flip(-1).logcumsumexp(-1).flip(-1)  # of each class and those above it
            return above[..., 1:] - logs[..., :-1]
        return logs
