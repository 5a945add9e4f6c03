"""A second study to compare with docs/smollm2, from which it differs by a known factor."""

import json

import pandas as pd
import pytest

from tests.fit.views.page.page_cases import FACTOR, SMOLLM2


@pytest.fixture(scope="session")
def cheap(tmp_path_factory):
    """docs/smollm2 as if each run had needed 0.8 of its FLOPs and left 0.8 of its loss, with the laws of that."""
    folder = tmp_path_factory.mktemp("cheap")
    for name in ("runs", "curves"):
        table = pd.read_parquet(SMOLLM2 / f"{name}.parquet")
        table["run_id"] = "cheap-" + table["run_id"]
        for column in ("flops_sparse", "flops_dense"):
            table[column] *= FACTOR
        table.assign(**{"study": "cheap"} if name == "runs" else {}).to_parquet(folder / f"{name}.parquet")
    content = json.loads((SMOLLM2 / "fits.json").read_text(encoding="utf-8"))
    for fit in content["fits"]:
        if fit["law"] == "L_N":
            for part in (fit["params"]["E"], fit["params"]["A"]):
                part |= {end: FACTOR * part[end] for end in ("value", "low", "high")}
            for point in fit["curve"]:
                point |= {end: FACTOR * point[end] for end in ("value", "low", "high")}
        for point in fit["points"]:
            if point.get("run_id"):
                point["run_id"] = f"cheap-{point['run_id']}"
    (folder / "fits.json").write_text(json.dumps({**content, "made_from": None}), encoding="utf-8")
    return folder
