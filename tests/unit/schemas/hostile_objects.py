"""Objects that callers might give: they raise, lie, or look like what they are not."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NoReturn


class Text(str):
    """A text whose hash is not that of its characters, as an enumeration's member has it."""

    __slots__ = ()

    def __hash__(self) -> int:
        """Return another number than the same characters have."""
        return str.__hash__(self) + 1

    __eq__ = str.__eq__


class Word(StrEnum):
    """Texts as programs have them."""

    LOSS = "loss"
    RATE = "rate"


def _raise(_self: object, *_given: object) -> NoReturn:
    raise LookupError("ask nobody")


class Raising:
    """Raises whatever it is asked."""

    __getattribute__ = __repr__ = __str__ = __iter__ = __len__ = __bool__ = __float__ = _raise
    __index__ = __int__ = __eq__ = __hash__ = __fspath__ = __contains__ = _raise


class RaisingText(str):
    """A text that raises whatever it is asked."""

    __slots__ = ()
    __repr__ = __str__ = __iter__ = __len__ = __eq__ = __hash__ = __contains__ = _raise
    __getitem__ = encode = isprintable = split = strip = _raise  # type: ignore[assignment]


class Lying:
    """Says of itself that it is of another class; nothing it has is what that class has."""

    def __init__(self, claimed: type) -> None:
        self.__dict__["claimed"] = claimed

    @property  # type: ignore[misc]  # it lies
    def __class__(self) -> Any:
        """Return what it says."""
        return self.__dict__["claimed"]


class Mapped:
    """Has the items that a function gives."""

    def __init__(self, items: Callable[[], Any]) -> None:
        self.items = items

    def __iter__(self) -> NoReturn:
        """Refuse: a mapping may be read by its items alone."""
        raise LookupError("ask for items")


class Tensor:
    """A tensor of no dimensions, as torch has it: a number behind `item()`, and a shape."""

    def __init__(self, value: float, dtype: str = "torch.float32") -> None:
        self._value = value
        self.shape = ()
        self.dtype = dtype

    def __repr__(self) -> str:
        return f"tensor({self._value!r}, dtype={self.dtype})"

    def item(self) -> float:
        """Return the number as Python has it."""
        return self._value

    def __float__(self) -> float:
        return float(self.item())

    def __index__(self) -> int:
        if not isinstance(self.item(), int):
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __lt__(self, other: object) -> Any:
        return Tensor(self.item() < other, "torch.bool")  # type: ignore[operator]

    __gt__ = __lt__

    def __bool__(self) -> bool:
        return bool(self.item())
