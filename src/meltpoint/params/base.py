"""What every section of params.yaml is made of: a frozen mapping, and numbers with bounds."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError


def _no_yes(value: Any) -> Any:
    """A number that is no bool: Python counts True as 1, and so would pydantic."""
    if isinstance(value, bool):
        raise PydanticCustomError("yes_or_no", "Input should be a number, and no yes or no")
    return value


Real = Annotated[float, BeforeValidator(_no_yes)]
Whole = Annotated[int, BeforeValidator(_no_yes)]
Fraction = Annotated[Real, Field(ge=0, le=1)]
Positive = Annotated[Real, Field(gt=0)]
NonNegative = Annotated[Real, Field(ge=0)]
Count = Annotated[Whole, Field(ge=0)]
AtLeastOne = Annotated[Whole, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Section(BaseModel):
    """A frozen mapping that accepts no unknown key. A key that is left out is off: null, none, false, 0 or empty."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
