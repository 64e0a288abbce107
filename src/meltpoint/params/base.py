"""What every section of params.yaml is made of: a frozen mapping, and numbers with bounds."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
AtLeastOne = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Section(BaseModel):
    """A frozen mapping that accepts no unknown key, and has no key that may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
