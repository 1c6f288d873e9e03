"""Value objects that list their fields in prose list all of them, and no others."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import re

import pytest

import trialog_server

# The search of the demo is a program of its own and needs more than the server's packages.
PROGRAMS = {"trialog_server.digits_search", "trialog_server.__main__"}
SECTIONS = r"(?:Returns|Raises|Source|Yields):"


def value_objects() -> dict[str, type]:
    """Every dataclass of the service whose docstring has a section of arguments."""
    found = {}
    for module in pkgutil.walk_packages(trialog_server.__path__, "trialog_server."):
        if module.name in PROGRAMS:
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            if (
                isinstance(value, type)
                and dataclasses.is_dataclass(value)
                and value.__module__ == module.name
                and "Args:" in (value.__doc__ or "")
            ):
                found[f"{module.name}.{name}"] = value
    return found


VALUE_OBJECTS = value_objects()


def listed(kind: type) -> list[str]:
    """The names that the section of arguments gives."""
    section = (kind.__doc__ or "").partition("Args:\n")[2]
    section = re.split(rf"\n\s*{SECTIONS}", section)[0]
    indent = len(section) - len(section.lstrip(" "))
    return re.findall(rf"^ {{{indent}}}(\w+):", section, re.MULTILINE)


def test_value_objects_are_found() -> None:
    """The look through the package finds what everybody knows is there."""
    assert len(VALUE_OBJECTS) >= 8
    assert "trialog_server.project.telemetry.Telemetry" in VALUE_OBJECTS


@pytest.mark.parametrize("name", VALUE_OBJECTS)
def test_value_object_lists_fields_that_it_has(name: str) -> None:
    """A field that was renamed or removed is not explained any more; none is explained twice."""
    kind = VALUE_OBJECTS[name]
    fields = [field.name for field in dataclasses.fields(kind)]

    assert listed(kind)
    assert len(set(listed(kind))) == len(listed(kind))
    assert set(listed(kind)) <= set(fields)


@pytest.mark.parametrize("name", [name for name in VALUE_OBJECTS if "ettings" in name])
def test_settings_explain_every_field_in_its_order(name: str) -> None:
    """What a number means, its unit and its reason stand beside every setting."""
    kind = VALUE_OBJECTS[name]
    assert listed(kind) == [field.name for field in dataclasses.fields(kind)]


def test_telemetry_explains_every_count_in_its_order() -> None:
    """Who reads a number of `/metrics` finds what it counts."""
    kind = VALUE_OBJECTS["trialog_server.project.telemetry.Telemetry"]
    assert listed(kind) == [field.name for field in dataclasses.fields(kind)]
