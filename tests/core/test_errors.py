from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from model_platform_core import errors
from model_platform_core.errors import FieldProblem, ModelPlatformError, all_codes, error_from_code

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, ModelPlatformError)]


def test_every_class_has_a_code_of_its_own() -> None:
    codes = [cls.code for cls in CLASSES]
    assert len(set(codes)) == len(codes)
    assert set(all_codes()) >= set(codes) - {"internal_error"}  # a face may have refusals of its own beside these
    assert all_codes() == sorted(all_codes())


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_an_error_is_rebuilt_from_what_another_process_said(cls: type[ModelPlatformError]) -> None:
    fields = [FieldProblem(field="owner", problem="who answers", add="--owner me")]
    said = cls("It does not work.", hint="try this", fields=fields)
    rebuilt = error_from_code(said.code, said.message, hint=said.hint, fields=said.fields)
    assert type(rebuilt) is cls
    assert (rebuilt.code, str(rebuilt), rebuilt.hint, rebuilt.fields) == (
        cls.code,
        "It does not work.",
        "try this",
        tuple(fields),
    )


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_an_error_survives_being_copied_between_processes(cls: type[ModelPlatformError]) -> None:
    said = cls("It does not work.", hint="try this", fields=[FieldProblem(field="owner", problem="who answers")])
    for again in (pickle.loads(pickle.dumps(said)), copy.copy(said), copy.deepcopy(said)):
        assert type(again) is cls
        assert (again.message, again.hint, again.fields) == (said.message, said.hint, said.fields)


@pytest.mark.parametrize(
    ("code", "family"),
    [
        ("invalid_colour", errors.InvalidError),
        ("rollout_not_found", errors.NotFoundError),
        ("conflict_rollout_running", errors.ConflictError),
        ("refused_unsafe_pickle", errors.RefusedError),
        ("exceeds_rows", errors.ExceedsError),
        ("unavailable_builder", errors.UnavailableError),
        ("failed_sorcery", errors.FailedError),
        ("something_else", ModelPlatformError),
        ("", ModelPlatformError),
    ],
)
def test_a_code_of_a_newer_server_belongs_to_its_family(code: str, family: type[ModelPlatformError]) -> None:
    rebuilt = error_from_code(code, "It does not work.")
    assert type(rebuilt) is family
    assert rebuilt.code == code
    assert family("Another one.").code == family.code
