"""Every protocol gives the answers that the model itself gives."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return json.loads(frame.to_json(orient="records"))


@pytest.fixture(scope="module")
def mixed(models: Any) -> Any:
    return models["mixed"]


@pytest.fixture
def calls(served: Any) -> Any:
    return served("mixed").calls


def test_plain_records_with_missing_values(calls: Any, mixed: Any) -> None:
    answer = calls.post("/", json=records(mixed.data))
    assert answer.status_code == 200
    assert answer.json() == [{"prediction": label} for label in mixed.model.predict(mixed.data)]
    assert answer.headers["x-model-version"] == "3"
    assert answer.headers["content-type"] == "application/json"


def test_one_record_alone_is_answered_by_one(calls: Any, mixed: Any) -> None:
    (first,) = records(mixed.data[:1])
    assert calls.post("/", json=first).json() == {"prediction": mixed.model.predict(mixed.data[:1])[0]}


def test_optional_columns_may_be_left_out_and_order_does_not_matter(calls: Any) -> None:
    full = calls.post("/", json=[{"island": "Dream", "bill": None, "sex": None, "year": 2008}])
    short = calls.post("/", json=[{"year": 2008.0, "island": "Dream"}])
    assert full.json() == short.json()


def test_ten_thousand_rows(calls: Any, mixed: Any) -> None:
    many = pd.concat([mixed.data] * 50, ignore_index=True)
    answer = calls.post("/", json=records(many))
    assert [each["prediction"] for each in answer.json()] == list(mixed.model.predict(many))


def test_kserve_v1_with_objects_lists_and_columns(calls: Any, mixed: Any) -> None:
    expected = {"predictions": list(mixed.model.predict(mixed.data[:5]))}
    rows = records(mixed.data[:5])
    columns = {name: [row[name] for row in rows] for name in mixed.data}
    path = "/v1/models/churn:predict"
    assert calls.post(path, json={"instances": rows}).json() == expected
    assert calls.post(path, json={"instances": [list(row.values()) for row in rows]}).json() == expected
    assert calls.post(path, json={"inputs": columns}).json() == expected
    assert calls.get("/v1/models/churn").json() == {"name": "churn", "ready": True}


def tensor(name: str, datatype: str, data: list[Any], shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "data": data, "shape": shape or [len(data)]}


def test_open_inference_protocol_with_a_tensor_per_column(calls: Any, mixed: Any) -> None:
    rows = records(mixed.data[:4])
    datatypes = {"year": "INT64", "bill": "FP64", "island": "BYTES", "sex": "BYTES"}  # not in the model's order
    inputs = [tensor(name, kind, [row[name] for row in rows], [4, 1]) for name, kind in datatypes.items()]
    body = {"id": "call-1", "inputs": inputs, "outputs": [{"name": "prediction"}]}
    output = tensor("prediction", "BYTES", list(mixed.model.predict(mixed.data[:4])))
    for path in ("/v2/models/churn/infer", "/v2/models/churn/versions/3/infer"):
        answer = calls.post(path, json=body).json()
        assert answer == {"id": "call-1", "model_name": "churn", "model_version": "3", "outputs": [output]}


def test_open_inference_protocol_metadata(calls: Any) -> None:
    assert calls.get("/v2/health/live").json() == {"live": True}
    assert calls.get("/v2/health/ready").json() == {"ready": True}
    assert calls.get("/v2/models/churn/ready").json() == {"name": "churn", "ready": True}
    assert calls.get("/v2").json()["name"] == "model-platform"
    assert calls.get("/v2/models/churn/versions/3").json() == {
        "name": "churn",
        "versions": ["3"],
        "platform": "sklearn",
        "inputs": [
            {"name": "island", "datatype": "BYTES", "shape": [-1]},
            {"name": "bill", "datatype": "FP64", "shape": [-1]},
            {"name": "sex", "datatype": "BYTES", "shape": [-1]},
            {"name": "year", "datatype": "INT64", "shape": [-1]},
        ],
        "outputs": [{"name": "prediction", "datatype": "BYTES", "shape": [-1]}],
    }


def test_mlflow_scoring_in_every_form(calls: Any, mixed: Any) -> None:
    data = mixed.data[:6]
    expected = {"predictions": list(mixed.model.predict(data))}
    rows = records(data)
    split = json.loads(data.to_json(orient="split"))
    forms = [
        {"dataframe_split": split},
        {"dataframe_split": {"data": split["data"]}},
        {"dataframe_records": rows},
        {"instances": rows},
        {"inputs": {name: [row[name] for row in rows] for name in data}},
    ]
    assert [calls.post("/invocations", json=form).json() for form in forms] == [expected] * len(forms)
    text = io.StringIO()
    data.to_csv(text, index=False)
    answer = calls.post("/invocations", content=text.getvalue(), headers={"content-type": "text/csv; charset=utf-8"})
    assert answer.json() == expected
    assert calls.get("/ping").status_code == 200


def test_probabilities_have_the_names_of_their_classes(served: Any, models: Any) -> None:
    calls, saved = served("frame").calls, models["frame"]
    expected = saved.model.predict_proba(saved.data[:3])
    answer = calls.post("/", json=records(saved.data[:3])).json()
    named = [list(each) for each in answer]
    assert named == [["stays", "leaves"]] * 3
    np.testing.assert_allclose([list(each.values()) for each in answer], expected, rtol=1e-9)
    matrix = saved.data[:3].to_numpy().tolist()
    v1 = calls.post("/v1/models/churn:predict", json={"instances": matrix}).json()
    np.testing.assert_allclose(v1["predictions"], expected, rtol=1e-9)
    body = {"inputs": [tensor("input-0", "FP64", [each for row in matrix for each in row], [3, 3])]}
    (output,) = calls.post("/v2/models/churn/infer", json=body).json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("FP64", [3, 2])
    np.testing.assert_allclose(np.reshape(output["data"], (3, 2)), expected, rtol=1e-9)


def test_a_model_of_arrays(served: Any, models: Any) -> None:
    calls, saved = served("array").calls, models["array"]
    rows = saved.data[:4].tolist()
    expected = saved.model.predict(saved.data[:4]).tolist()
    assert calls.post("/", json=rows).json() == [{"prediction": each} for each in expected]
    assert calls.post("/v1/models/churn:predict", json={"instances": rows}).json() == {"predictions": expected}
    assert calls.post("/invocations", json={"inputs": rows}).json() == {"predictions": expected}
    body = {"inputs": [tensor("x", "FP32", rows, [4, 3])]}
    assert calls.post("/v2/models/churn/infer", json=body).json()["outputs"] == [
        tensor("prediction", "INT64", expected)
    ]
    assert served("array").control.get("/info").json()["path"] == "array"


def test_pyfunc_gets_the_types_of_its_signature(served: Any) -> None:
    calls = served("talkative").calls
    row = {"text": "dtypes", "number": 1, "count": 2, "flag": None, "moment": "2024-01-31T12:00:00+02:00"}
    (answer,) = calls.post("/invocations", json={"dataframe_records": [row]}).json()["predictions"]
    text = str(pd.Series(["text"]).dtype)
    types = {"text": text, "number": "float64", "count": "int64", "flag": "object", "moment": "datetime64[ns]"}
    assert answer == types | {"params": {"mood": "calm"}}
    body = {"dataframe_records": [row], "params": {"mood": "cheerful"}}
    assert calls.post("/invocations", json=body).json()["predictions"][0]["params"] == {"mood": "cheerful"}
    refused = calls.post("/invocations", json=body | {"params": {"mood": 7}})
    assert refused.status_code == 422
    assert refused.json()["error"] == "The parameter 'mood' must be a string, not a number."
    assert (
        calls.post("/invocations", json=body | {"params": {"mode": "x"}}).json()["error"] == "'params' may have: mood."
    )


def test_pyfunc_answers_with_its_columns(served: Any) -> None:
    calls = served("talkative").calls
    row = {"text": "hello", "number": None, "count": 2, "flag": True, "moment": "2024-01-31T12:00:00+02:00"}
    expected = row | {"moment": "2024-01-31T10:00:00Z"}
    assert calls.post("/", json=[row]).json() == [expected]
    inputs = [tensor("text", "BYTES", ["a"]), tensor("number", "FP64", [None]), tensor("flag", "BOOL", [None])]
    outputs = calls.post("/v2/models/churn/infer", json={"inputs": inputs}).json()["outputs"]
    assert {each["name"]: (each["datatype"], each["data"]) for each in outputs} == {
        "text": ("BYTES", ["a"]),
        "number": ("FP64", [None]),
        "flag": ("BYTES", [None]),
        "moment": ("BYTES", [None]),
    }


def test_pyfunc_has_no_missing_whole_numbers(served: Any) -> None:
    calls = served("talkative").calls
    missing = {"number": None, "flag": None, "moment": None}
    answer = calls.post("/", json=[{"text": "a", "count": None}, {"text": "b"}])
    assert answer.json() == [{"text": "a"} | missing, {"text": "b"} | missing]
    refused = calls.post("/", json=[{"text": "a", "count": 1}, {"text": "b", "count": None}])
    assert refused.status_code == 422
    assert refused.json()["error"] == 'Row 1, "count" must be null in every row of a call, or in none.'


def test_what_serves_is_told_to_the_supervisor(served: Any) -> None:
    runner = served("mixed")
    info = runner.control.get("/info").json()
    facts = {name: info[name] for name in ("flavor", "method", "path", "batching", "model", "version", "runner_id")}
    assert facts == {
        "flavor": "sklearn",
        "method": "predict",
        "path": "frame",
        "batching": True,
        "model": "dev-alice.churn",
        "version": "3",
        "runner_id": runner.config["runner_id"],
    }
    assert info["libraries"]["pandas"] == pd.__version__
    assert "mlflow" not in info["libraries"]
    assert runner.control.get("/ready").json() == {"ready": True}
    assert runner.control.get("/live").status_code == 200
    assert runner.control.get("/elsewhere").status_code == 404
    assert runner.control.post("/live").status_code == 405


def test_calls_are_counted(served: Any) -> None:
    runner = served("frame")
    before = {name: runner.metric(name) for name in ("mp_rows_total", "mp_predict_seconds_count", "mp_requests_total")}
    row = {"a": 1, "b": 2, "c": 3}
    runner.calls.post("/", json=[row, row])
    runner.calls.post("/", json=[{}])
    runner.calls.get("/")
    assert runner.metric("mp_rows_total") == before["mp_rows_total"] + 2
    assert runner.metric("mp_predict_seconds_count") == before["mp_predict_seconds_count"] + 2
    assert runner.metric("mp_requests_total") == before["mp_requests_total"] + 2
    labels = f'zone="dev-alice",model="dev-alice.churn",version="3",runner="{runner.config["runner_id"]}"'
    assert f"mp_in_flight{{{labels}}} 0" in runner.control.get("/metrics").text
    assert runner.metric("mp_runner_start_time_seconds") > 1.7e9


def test_sockets_are_private(served: Any) -> None:
    config = served("mixed").config
    modes = [oct(Path(config[name]).stat().st_mode & 0o777) for name in ("socket", "control_socket")]
    assert modes == ["0o600", "0o600"]
