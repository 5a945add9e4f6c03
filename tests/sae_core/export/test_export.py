"""Exports round trip through every layout for every activation, are whole or not there, and refuse in sentences."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file

from sae_core.config import DataKey, RunConfig, TrainConfig
from sae_core.data.disk.store import Store
from sae_core.data.synthetic import Synthetic, SyntheticConfig
from sae_core.errors import CheckpointError
from sae_core.export import canonical, formats
from sae_core.export.about import About, ExportError
from sae_core.export.formats import FORMATS, export, load, refusal
from sae_core.training import checkpoint
from sae_core.training.evaluation import evaluate
from sweeps.dispatch.export import best, describe
from sweeps.errors import SweepError
from sweeps.ledger.run_folder import open_study
from sweeps.verbs import launch
from sweeps.verbs.cli import main
from tests.sae_core.export.exported import ABOUT, ACTIVATIONS, HELD, D, K, N, an_sae, inputs


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("name", "activation"), HELD)
def test_round_trip_reconstructs_the_same(name, activation, bias, tmp_path):
    sae = an_sae(activation, encoder_bias=bias or activation == "gated")
    back = load(export(name, sae, ABOUT, tmp_path / "out"))
    x = inputs()
    with torch.no_grad():
        expected, found = sae(x), back(x)
    assert back.config.activation == activation and (expected - sae.b_pre).norm(dim=1).max() > 0.1
    assert (found - expected).norm() <= 1e-6 * expected.norm()


@pytest.mark.parametrize(("name", "activation"), HELD)
def test_what_was_loaded_can_be_exported_again_to_the_same(name, activation, tmp_path):
    once = load(export(name, an_sae(activation), ABOUT, tmp_path / "a"))
    twice = load(export(name, once, ABOUT, tmp_path / "b"))
    for key, tensor in once.state_dict().items():
        torch.testing.assert_close(twice.state_dict()[key], tensor, rtol=1e-6, atol=1e-7)


def test_a_topk_export_has_the_exact_keys_and_shapes(tmp_path):
    sae = an_sae("topk")
    lens = load_file(export("saelens", sae, ABOUT, tmp_path / "l") / "sae_weights.safetensors")
    assert {k: tuple(t.shape) for k, t in lens.items()} == {
        "W_enc": (D, N),
        "b_enc": (N,),
        "W_dec": (N, D),
        "b_dec": (D,),
    }
    config = json.loads((tmp_path / "l" / "cfg.json").read_text())
    assert config["rescale_acts_by_decoder_norm"] is False and config["k"] == K
    assert int(config["metadata"]["sae_lens_version"].split(".")[0]) >= 6
    assert config["metadata"]["hook_name"] == "blocks.3.hook_resid_post"
    assert "mean over d" in config["metadata"]["saescale"]["input_preparation"]
    eleuther = load_file(export("sparsify", sae, ABOUT, tmp_path / "s") / "sae.safetensors")
    assert (tmp_path / "s" / "layers.3").is_dir()
    assert set(eleuther) == {"encoder.weight", "encoder.bias", "W_dec", "b_dec"}
    folder = export("dictionary_learning", sae, ABOUT, tmp_path / "d")
    state = torch.load(folder / "ae.pt", weights_only=True)
    assert state["k"].dtype == torch.int32 and float(state["threshold"]) == -1
    assert tuple(state["decoder.weight"].shape) == (D, N)
    trainer = json.loads((folder / "config.json").read_text())["trainer"]
    assert (trainer["trainer_class"], trainer["dict_class"], trainer["k"]) == (
        "TopKTrainer",
        "AutoEncoderTopK",
        K,
    )
    assert (state["decoder.weight"].norm(dim=0) - 1).abs().max() < 1e-5  # or SAEBench refuses it


def test_batchtopk_is_a_jumprelu_of_one_threshold_to_saelens(tmp_path):
    folder = export("saelens", an_sae("batchtopk"), ABOUT, tmp_path / "out")
    config = json.loads((folder / "cfg.json").read_text())
    threshold = load_file(folder / "sae_weights.safetensors")["threshold"]
    assert config["architecture"] == "jumprelu" and "k" not in config
    assert threshold.shape == (N,) and (threshold == torch.tensor(0.21)).all()
    del config["metadata"]["saescale"]  # as from another tool: it can only be read as what it says it is
    (folder / "cfg.json").write_text(json.dumps(config))
    assert load(folder).config.activation == "jumprelu"


@pytest.mark.parametrize("activation", ["relu", "jumprelu", "gated", "topk"])
def test_a_saelens_sae_without_bias_on_its_input_is_read_as_the_same_function(activation, tmp_path):
    sae = an_sae(activation)
    folder = export("saelens", sae, ABOUT, tmp_path / "out")
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps(config | {"apply_b_dec_to_input": False}))
    x = inputs()
    with torch.no_grad():  # theirs sees x where ours sees x − b_dec
        torch.testing.assert_close(load(folder)(x), sae(x + sae.b_pre), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_a_layout_cannot_hold_is_refused_and_nothing_is_written(name, activation, tmp_path):
    if activation in FORMATS[name].holds:
        assert refusal(name, activation, ABOUT) is None
        return
    with pytest.raises(ExportError, match=f"no {activation} SAE.*saelens.* can hold it"):
        export(name, an_sae(activation), ABOUT, tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(formats.openai.torch, "save", full)
    with pytest.raises(OSError, match="No space"):
        export("dictionary_learning", an_sae("topk"), ABOUT, tmp_path)
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    folder = export("saelens", an_sae("topk"), ABOUT, tmp_path / "out")
    before = (folder / "sae_weights.safetensors").read_bytes()
    with pytest.raises(ExportError, match="is there already"):
        export("saelens", an_sae("topk", seed=9), ABOUT, folder)
    assert (folder / "sae_weights.safetensors").read_bytes() == before
    (tmp_path / "empty").mkdir()
    assert export("saelens", an_sae("topk"), ABOUT, tmp_path / "empty").is_dir()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "out"]


@pytest.mark.skipif(os.name != "posix", reason="permissions as POSIX has them")
def test_files_have_the_users_usual_permissions(tmp_path):
    folder = export("saelens", an_sae("topk"), ABOUT, tmp_path / "out")
    (tmp_path / "usual").touch()
    usual = (tmp_path / "usual").stat().st_mode
    assert {path.stat().st_mode for path in folder.iterdir()} == {usual}


@pytest.mark.parametrize(
    ("name", "file", "change", "says"),
    [
        ("saelens", "cfg.json", {"normalize_activations": "layer_norm"}, "normalize_activations"),
        ("saelens", "cfg.json", {"rescale_acts_by_decoder_norm": True}, "rescale_acts"),
        ("saelens", "cfg.json", {"architecture": "temporal"}, "temporal"),
        ("sparsify", "cfg.json", {"transcode": True}, "transcode"),
        ("sparsify", "cfg.json", {"activation": "groupmax"}, "groupmax"),
        (
            "dictionary_learning",
            "config.json",
            {"trainer": {"dict_class": "AutoEncoderNew"}},
            "AutoEncoderNew",
        ),
        ("dictionary_learning", "config.json", {"trainer": {}}, "dict_class"),
    ],
)
def test_what_our_sae_has_no_place_for_is_not_read(name, file, change, says, tmp_path):
    folder = export(name, an_sae("topk"), ABOUT, tmp_path / "out")
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(config | change))
    with pytest.raises(ExportError, match=says):
        load(folder)


@pytest.mark.parametrize(("name", "activation"), HELD)
def test_a_torn_file_is_a_sentence(name, activation, tmp_path):
    folder = export(name, an_sae(activation), ABOUT, tmp_path / "out")
    weights = folder / FORMATS[name].marks[-1]
    weights.write_bytes(weights.read_bytes()[:-200])
    with pytest.raises(ExportError, match=f"not a {name} export"):
        load(folder)
    with pytest.raises(ExportError, match="no SAE in a layout"):
        load(tmp_path)


def test_a_pickle_that_would_run_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    folder = export("openai", an_sae("topk"), ABOUT, tmp_path / "out")
    torch.save({"activation": Evil()}, folder / "autoencoder.pt")
    with pytest.raises(ExportError, match="openai"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def _weights(tmp_path, **changed):
    sae = an_sae("batchtopk")
    averaged = {f"ema.{name}": p.detach() * 0.9 for name, p in sae.named_parameters()}
    config = RunConfig(DataKey("f", D), sae.config, TrainConfig(lr=1e-3, batch_tokens=1, max_tokens=2))
    tensors = sae.state_dict() | averaged | changed
    checkpoint.write(tmp_path / "weights.safetensors", tensors, {"config": config.as_dict()})
    return sae, tmp_path / "weights.safetensors"


def test_averaged_weights_are_taken_with_their_own_threshold(tmp_path):
    sae, path = _weights(tmp_path, **{"ema.threshold": torch.tensor(0.17)})
    live, averaged = canonical.of_run(path, "live")[0], canonical.of_run(path, "ema")[0]
    assert torch.equal(live.W_enc, sae.W_enc) and torch.equal(averaged.W_enc, sae.W_enc * 0.9)
    assert float(live.state_dict()["threshold"]) == pytest.approx(0.21)
    assert float(averaged.state_dict()["threshold"]) == pytest.approx(0.17)


def test_weights_saved_without_a_threshold_of_the_average_have_the_live_one(tmp_path):
    _, path = _weights(tmp_path)
    averaged = canonical.of_run(path, "ema")[0]
    assert float(averaged.state_dict()["threshold"]) == pytest.approx(0.21)


def test_exported_batchtopk_has_the_loss_and_l0_of_its_row(tiny, tmp_path, capsys):
    assert launch.main([*tiny("sae.activation=batchtopk", "launcher=debug")]) == 0
    (folder,) = open_study(tmp_path / "tiny").runs()
    row, data = folder.curve()[-1], Synthetic(SyntheticConfig(**folder.config()["data"]["synthetic"]))
    assert row["threshold_live"] != row["threshold_ema"]
    for which in ("live", "ema"):
        out = tmp_path / which
        options = ["--format", "dictionary_learning", "--out", str(out), "--weights", which]
        assert main(["export", str(folder.path), *options]) == 0
        found = evaluate(load(out / "trainer_0"), data.held_out(), data.denominator)
        assert found.nmse == pytest.approx(row[f"nmse_{which}"], rel=1e-5)
        assert found.l0 == pytest.approx(row[f"l0_{which}"], rel=1e-3)
    assert "from before" not in capsys.readouterr().out
    folder.rewind([{name: value for name, value in row.items() if "threshold" not in name}])
    options = ["--format", "saelens", "--out", str(tmp_path / "old"), "--weights", "ema"]
    assert main(["export", str(folder.path), *options]) == 0
    assert "θ of the live weights" in capsys.readouterr().out


def test_weights_that_are_not_finite_or_not_there(tmp_path):
    _, path = _weights(tmp_path, **{"ema.b_enc": torch.full((N,), torch.nan)})
    canonical.of_run(path, "live")
    with pytest.raises(ExportError, match="ema b_enc .* NaN"):
        canonical.of_run(path, "ema")
    _, path = _weights(tmp_path, W_enc=torch.zeros(3, 3))
    with pytest.raises(CheckpointError, match="live weights"):
        canonical.of_run(path)


@pytest.mark.parametrize(
    ("live", "ema", "expected"),
    [(0.2, 0.3, "live"), (0.3, 0.2, "ema"), (0.2, 0.2, "live"), (None, 0.9, "ema")],
)
def test_the_best_weights_are_those_of_the_last_row(live, ema, expected):
    assert best([{"nmse_live": 0.9, "nmse_ema": 0.01}, {"nmse_live": live, "nmse_ema": ema}]) == expected


def test_no_weights_are_best_where_no_loss_is_known():
    with pytest.raises(SweepError, match="--weights live"):
        best([{"nmse_live": None, "nmse_ema": None}])


@pytest.fixture
def study(tiny, tmp_path):
    assert launch.main([*tiny("sae.activation=topk,batchtopk", "launcher=debug")]) == 0
    return tmp_path / "tiny"


def test_a_study_is_exported_run_by_run(study, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", str(study), "--format", "all", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    runs = sorted(p.parent.name for p in study.glob("*/config.yaml"))
    assert sorted(p.name for p in out.iterdir()) == runs and len(runs) == 2
    assert "left out: openai has no batchtopk SAE" in said and "add --module PATH" in said
    assert "give --model and --layer" in said and "Inputs to prepare" in said and "normalize = False" in said
    for run in runs:
        row = [json.loads(line) for line in (study / run / "curve.jsonl").read_text().splitlines()][-1]
        which = "live" if row["nmse_live"] <= row["nmse_ema"] else "ema"
        sae, _ = canonical.of_run(study / run / "checkpoint" / "weights.safetensors", which)
        back = load(out / run / "dictionary_learning" / "trainer_0")
        x = torch.nn.functional.normalize(torch.randn(100, 16), dim=1)
        with torch.no_grad():
            torch.testing.assert_close(back(x), sae(x))
        assert f"{run}: {which} weights as saelens" in said


def test_one_run_and_what_is_said_of_its_place(study, tmp_path):
    run = sorted(study.glob("*/config.yaml"))[0].parent
    given = [
        "--format",
        "saelens",
        "--weights",
        "ema",
        "--layer",
        "7",
        "--site",
        "mlp_out",
        "--model",
        "some/model",
    ]
    assert main(["export", str(run), "--out", str(tmp_path / "out"), *given]) == 0
    metadata = json.loads((tmp_path / "out" / "cfg.json").read_text())["metadata"]
    assert metadata["hook_name"] == "blocks.7.hook_mlp_out" and metadata["model_name"] == "some/model"
    note = metadata["saescale"]
    assert note["weights"] == "ema" and note["run_id"] == run.name and note["run"]["seed"] == 0


def test_bad_input_is_one_sentence_and_nothing_is_written(study, tmp_path, capsys):
    batch = next(
        str(p.parent) for p in study.glob("*/config.yaml") if "activation: batchtopk" in p.read_text()
    )
    out = ["--out", str(tmp_path / "out")]
    for arguments, says in (
        ([batch, "--format", "openai", *out], "openai has no batchtopk SAE"),
        ([batch, "--format", "saelens", "--layer", "-1", *out], "--layer is -1"),
        ([str(study), "--format", "openai", *out], "openai has no batchtopk SAE"),
        ([str(tmp_path / "absent"), "--format", "all", *out], "No study at"),
        ([batch, "--format", "saelens", "--out", str(study)], "is there already"),
    ):
        assert main(["export", *arguments]) == 1
        said = capsys.readouterr().err
        assert says in said and len(said.strip().splitlines()) == 1
    shutil.rmtree(f"{batch}/checkpoint")
    assert main(["export", batch, "--format", "saelens", *out]) == 1
    assert "is done and has no weights.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_export_without_a_known_place_says_so(tmp_path):
    config = json.loads((export("saelens", an_sae("topk"), About(), tmp_path / "o") / "cfg.json").read_text())
    assert config["metadata"]["hook_name"] is None and config["metadata"]["model_name"] is None
    assert config["metadata"]["saescale"]["input_preparation"] == "not known"


def test_layer_0_is_the_input_of_the_first_block(tmp_path):
    data = {"harvest": {"model": "m", "layer": 0, "text": "t", "prepare": "none"}}
    about = describe(data, "f")
    config = json.loads((export("saelens", an_sae("topk"), about, tmp_path / "o") / "cfg.json").read_text())
    assert config["metadata"]["hook_name"] == "blocks.0.hook_resid_pre"
    assert "add --module PATH" in refusal("sparsify", "topk", about)
    assert describe({"harvest": data["harvest"] | {"layer": 1}}, "f").site == "resid_post"


def test_the_place_of_a_store_is_the_stores_unless_it_is_another_by_now(a_store):
    fingerprint = Store(a_store).fingerprint
    data = {"store": str(a_store), "harvest": {"model": "m", "layer": 15, "text": "t", "prepare": "none"}}
    prepare = json.loads((a_store / "manifest.json").read_text())["prepare"]
    assert describe(data, fingerprint) == About(prepare=prepare)  # an array: from no model that is known
    assert describe(data, "another") == About(model="m", layer=14, dataset="t", prepare="none")
    assert describe(data | {"store": "gone", "harvest": None}, fingerprint) == About()
    streamed = {"streaming": {}, "harvest": {"model": "m", "layer": 1, "hook": "mlp"}}
    assert describe(streamed, "f") == About(model="m", layer=0, site="mlp", prepare="mean_off_unit_norm")
    assert describe({"synthetic": {"d_model": 8}}, "f") == About(prepare="none")


def test_a_run_that_cannot_be_read_does_not_stop_the_study(study, tmp_path, capsys):
    first, second = sorted(p.parent for p in study.glob("*/config.yaml"))
    (first / "checkpoint" / "weights.safetensors").write_bytes(b"torn")
    assert main(["export", str(study), "--format", "saelens", "--out", str(tmp_path / "out")]) == 1
    said = capsys.readouterr()
    assert f"checkpoint {first}" in said.err and "1 of 2 runs could not be exported" in said.err
    assert [p.name for p in (tmp_path / "out").iterdir()] == [second.name]


def test_averaged_rows_off_unit_norm_are_told(study, tmp_path, capsys):
    for weights, told in (("ema", True), ("live", False)):
        given = ["--format", "dictionary_learning", "--weights", weights, "--out", str(tmp_path / weights)]
        assert main(["export", str(study), *given]) == 0
        assert ("off unit norm" in capsys.readouterr().out) is told
