"""Latents of whole songs, what composers learn from, and how the stages of bars begin."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from musigan import models
from musigan.checkpoints import checkpoint
from musigan.datasets.bars import EXCERPT_BEATS
from musigan.errors import MusiganError
from musigan.models.bars.composer import BEAT_STEPS, Composer
from musigan.models.bars.generator import Generator
from musigan.rolls.grid import GRID_FRAMES
from musigan.rolls.loudness import compress, transpose
from musigan.rolls.shape import RollShape
from musigan.training import calibration, loop, runs, songlatents
from musigan.training.objectives import bars
from musigan.training.songlatents import SongLatents
from tests import tiny
from tests.tiny import go_on, start, weights

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_keys_for("bars", tmp_path_factory.mktemp("songs") / "keys")


def made(keys: Path, learns: bool = True, span: int = 1, **changes: Any) -> tuple[SongLatents, Any, Generator]:
    """The latents of a store's songs, the data they are of, and the codec that wrote them."""
    settings = tiny.settings("bars", augment={"transpose_keys": span}, **changes)
    data = tiny.dataset(keys, settings)
    torch.manual_seed(1)
    generator: Any = models.build("bars", settings.network, data.shape)["generator"].eval()
    with torch.no_grad():
        for parameter in generator.codec.parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
    songs = SongLatents(data, generator)
    if learns:
        songs.measure(generator)
    return songs, data, generator


def test_every_song_in_every_key(keys: Path) -> None:
    """By hand: the last song two semitones higher, encoded alone."""
    songs, data, generator = made(keys, span=2)
    assert len(songs) == len(data.parts) == 4
    assert songs.keys == (-2, -1, 0, 1, 2)
    higher, plain = songs.of_part(4, 3), songs.of_part(2, 3)
    roll = transpose(compress(data.on_grid(data.parts[3]), "sqrt"), 2)
    with torch.no_grad():
        mean = generator.encode(torch.from_numpy(roll)[None]).mean[0].numpy()
    np.testing.assert_allclose(higher.reshape(-1, mean.shape[-1]), mean, atol=2e-3)
    assert not np.allclose(plain.reshape(-1, mean.shape[-1]), mean, atol=0.05)


def test_latents_do_not_depend_on_when_they_are_asked_for(keys: Path) -> None:
    """All encoded first, in any order, or by several threads as examples ask for them: the same bits."""
    first, _, _ = made(keys, span=2)
    places = [(key, number) for key in range(5) for number in range(4)]
    for key, number in places:
        first.of_part(key, number)
    asked, _, _ = made(keys, span=2)
    assert np.count_nonzero(asked.latents.any((2, 3)).all(1)) == 1  # measured in one key alone
    wanted = [(epoch, index) for epoch in range(30, 0, -1) for index in range(4)]
    with ThreadPoolExecutor(3) as pool:
        examples = list(pool.map(lambda one: asked.example(*one), wanted))
    for (epoch, index), (latents, _) in zip(wanted, examples, strict=True):
        np.testing.assert_array_equal(latents, first.example(epoch, index)[0])
    np.testing.assert_array_equal(asked.latents, first.latents)


def test_many_keys_are_taken_two_semitones_apart(keys: Path) -> None:
    span = songlatents.FEW_KEYS + songlatents.FEW_KEYS % 2
    songs, _, _ = made(keys, span=span)
    assert songs.keys == tuple(range(-span, span + 1, 2))
    assert songs.keys[len(songs.keys) // 2] == 0


def test_beats_become_standardised(keys: Path) -> None:
    """Each dimension has mean 0, all together deviation 1; encoding alone measures nothing."""
    songs, data, generator = made(keys)
    latents = torch.from_numpy(np.concatenate([songs.latents[1, :]], 0).astype(np.float32)).flatten(0, 1)[None]
    beats = generator.as_beats(latents)
    by_dimension = beats.unflatten(2, (BEAT_STEPS, -1)).flatten(0, 2)
    torch.testing.assert_close(by_dimension.mean(0), torch.zeros(by_dimension.shape[1]), atol=2e-3, rtol=0)
    assert by_dimension.var(0, correction=0).mean().item() == pytest.approx(1.0, abs=0.01)
    assert by_dimension.var(0).max() > 1.2 * by_dimension.var(0).min()  # what varies little keeps doing so
    measured = generator.latent_mean.clone(), generator.latent_deviation.clone()
    SongLatents(data, generator)
    assert torch.equal(generator.latent_mean, measured[0])
    assert torch.equal(generator.latent_deviation, measured[1])
    _, _, untold = made(keys, learns=False)
    assert (untold.latent_mean == 0).all()
    assert untold.latent_deviation == 1


def test_silence_alone_has_a_deviation_to_divide_by(keys: Path) -> None:
    songs, _, generator = made(keys)
    songs.latents[:] = 0.25  # all that is measured is encoded already
    songs.measure(generator)
    assert generator.latent_deviation.item() == pytest.approx(songlatents.SMALLEST_DEVIATION)
    assert generator.latent_mean.unique().tolist() == [0.25]


def test_an_example_is_a_song_and_says_where_it_ends(tmp_path: Path) -> None:
    """Of songs of other lengths: the shorter is followed by nothing, and that is said."""
    songs, data, _ = made(shortened(tmp_path))
    counts = [len(part.grid) for part in data.parts]
    assert counts[0] != counts[1]
    shorter = int(np.argmin(counts))
    latents, told = songs.example(0, shorter)
    assert songs.beats == max(counts)
    assert latents.shape == (max(counts) * BEAT_STEPS, songs.latents.shape[-1])
    assert told["known"].tolist() == [1.0] * min(counts) + [0.0] * (max(counts) - min(counts))
    assert told["features"].shape[0] == told["lags"].shape[0] == max(counts)
    assert (latents[min(counts) * BEAT_STEPS :] == 0).all()
    assert (told["features"][min(counts) :] == 0).all()
    of_keys = [songs.of_part(key, shorter).reshape(-1, latents.shape[-1]) for key in range(len(songs.keys))]
    assert any(np.array_equal(latents[: min(counts) * BEAT_STEPS], one.astype(np.float32)) for one in of_keys)


def shortened(folder: Path) -> Path:
    """A store of two songs to learn from, of 12 beats and of 4."""
    from musigan import store

    long, short = tiny.write_keys(folder / "long", 1, 0, pairs=6), tiny.write_keys(folder / "short", 1, 0, seed=3)
    with store.write(str(folder / "both"), tiny.HEADER) as writer:
        for path in (long, short):
            with store.open_reader(str(path)) as reader:
                for item in reader:
                    writer.add(item.array, item.dimension_names, item.song)
    return folder / "both"


def test_examples_are_drawn_from_seed_pass_and_number(keys: Path) -> None:
    """Other keys, styles left open and told; the same again for the same numbers."""
    songs, _, _ = made(keys)
    for number in range(4):
        left, right = songs.example(3, number), songs.example(3, number)
        np.testing.assert_array_equal(left[0], right[0])
        assert all(np.array_equal(left[1][name], right[1][name]) for name in left[1])
    versions = {songs.example(epoch, 0)[0].tobytes() for epoch in range(30)}
    assert len(versions) == 3  # a song of the training set in three keys
    styles = [int(songs.example(epoch, 1)[1]["style"]) for epoch in range(60)]
    assert len(set(styles)) == 2
    assert 3 <= styles.count(0) <= 25  # a fifth


def test_of_longer_songs_a_stretch_is_taken(keys: Path) -> None:
    """Its outline is that of the stretch: it neither begins nor ends where the song does, but where it says so."""
    songs, data, _ = made(keys, span=0, network={**tiny.NETWORKS["bars"], "memory_beats": 10})
    assert songs.beats == 10
    assert songs.rolls_each == 10 / EXCERPT_BEATS
    whole = songs.of_part(0, 0).astype(np.float32)
    firsts = set()
    for epoch in range(40):
        latents, told = songs.example(epoch, 0)
        beats = latents.reshape(10, *whole.shape[1:])
        (first,) = [n for n in range(len(whole) - 9) if np.array_equal(whole[n : n + 10], beats)]
        firsts.add(first)
        expected = data.outlines[0].part(first, 10).features()
        np.testing.assert_array_equal(told["features"], expected)
        assert (told["known"] == 1).all()
    assert {0, len(whole) - 10} <= firsts
    assert len(firsts) > 5


def test_examples_count_for_the_excerpts_in_them(keys: Path) -> None:
    songs, data, _ = made(keys)
    assert songs.rolls_each == songs.beats / EXCERPT_BEATS == 24 * GRID_FRAMES / data.shape.frames


# ---- the stages ----


def test_the_codec_begins_once(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start of its stage, from the music, average included; never again on the way."""
    begun, path = [], tmp_path / "ckpt.pt"
    begin = bars.Codec.begin

    def count(self: bars.Codec, data: Any) -> None:
        begin(self, data)
        begun.append(self.generator.codec.encoder_bypass.weight.clone())

    monkeypatch.setattr(bars.Codec, "begin", count)
    run, data = start(keys, tiny.settings("bars", variational={"learning_rate": 1e-9}))
    untouched = run.networks["generator"].codec.encoder_bypass.weight.clone()  # type: ignore[union-attr]
    while not loop.train(run, data, path, tiny.Silent(), steps_limit=2):
        run, data = go_on(path, keys)
    assert len(begun) == 1
    assert not torch.equal(begun[0], untouched)
    learned = weights(path)
    for part in ("generator", "average"):
        torch.testing.assert_close(learned[f"{part}.codec.encoder_bypass.weight"], begun[0], atol=1e-6, rtol=1e-5)


def test_songs_are_encoded_once_a_stage(keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in every epoch; those held out, with what the average has learned, leave what was measured as it is."""
    done: list[str] = []
    made, measure, fit = SongLatents.__init__, SongLatents.measure, Composer.fit

    def note(self: SongLatents, data: Any, generator: Any) -> None:
        done.append(data.split)
        made(self, data, generator)

    def note_measure(self: SongLatents, generator: Any) -> None:
        done.append("measured")
        measure(self, generator)

    def note_fit(self: Composer, songs: Any) -> None:
        done.append("fitted")
        fit(self, songs)

    monkeypatch.setattr(SongLatents, "__init__", note)
    monkeypatch.setattr(SongLatents, "measure", note_measure)
    monkeypatch.setattr(Composer, "fit", note_fit)
    settings = tiny.settings("bars", epochs=6, pretrain_epochs=5, critic_epochs=1)
    run, data = start(keys, settings)
    assert dict(run.plan) == {"codec": 1, "composer": 3, "critic": 1, "adversarial": 1}
    held = tiny.dataset(keys, settings, "validation")
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), validation=held)
    assert done == ["train", "measured", "fitted", "validation"]
    learned = weights(tmp_path / "ckpt.pt")
    assert learned["generator.latent_deviation"] != 1
    for name in (
        "latent_mean",
        "latent_deviation",
        "composer.guess_weight",
        "composer.guess_bias",
        "composer.deviation",
    ):
        assert torch.equal(learned[f"generator.{name}"], learned[f"average.{name}"])
    history = {entry["stage"]: entry for entry in run.history}
    assert {"validation_loudness", "validation_sounding", "validation_onsets", "validation_kl", "overlap"} <= set(
        history["codec"]
    )
    assert "validation_flow" in history["composer"]


def test_without_crops_the_composer_knows_its_latents(keys: Path, tmp_path: Path) -> None:
    run, data = start(keys, tiny.settings("bars", augment={"crop": False}))
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())
    assert weights(tmp_path / "ckpt.pt")["average.latent_deviation"] != 1


def test_same_seed_same_weights(keys: Path, tmp_path: Path) -> None:
    for name, seed in (("a.pt", 1), ("b.pt", 1), ("c.pt", 2)):
        run, data = start(keys, tiny.settings("bars", seed=seed))
        loop.train(run, data, tmp_path / name, tiny.Silent())
    tiny.assert_same_weights(tmp_path / "a.pt", tmp_path / "b.pt")
    with pytest.raises(AssertionError):
        tiny.assert_same_weights(tmp_path / "a.pt", tmp_path / "c.pt")


def test_a_finished_pretraining_goes_on_where_it_was(keys: Path, tmp_path: Path) -> None:
    """Its steps are those of its last stage, which goes through songs and not through excerpts."""
    path, settings = tmp_path / "ckpt.pt", tiny.settings("bars", epochs=4, critic_epochs=0, batch_size=2)
    run, data = start(keys, settings, adversarial=False)
    assert loop.train(run, data, path, tiny.Silent())
    assert dict(run.plan) == {"codec": 1, "composer": 3}
    run, data = go_on(path, keys, tiny.settings("bars", epochs=5, critic_epochs=0, batch_size=2))
    assert (run.position.stage, run.position.epoch, run.position.step) == (1, 3, 3 * 2)
    assert loop.train(run, data, path, tiny.Silent())
    assert [entry["step"] for entry in checkpoint.load(path).history] == [4, 6, 8, 10, 12]


def test_the_composer_learns_what_follows_what(keys: Path, tmp_path: Path) -> None:
    """The losses of both stages fall, those of the codec on songs that are held out, too."""
    rates = {"variational": {"learning_rate": 0.01}, "prior": {"learning_rate": 0.01, "past_noise": 0.1, "draws": 4}}
    settings = tiny.settings(
        "bars", epochs=40, pretrain_epochs=39, critic_epochs=0, ema_half_life=20.0, save_every=40, **rates
    )
    run, data = start(keys, settings, adversarial=False)
    run.plan = [("codec", 15), ("composer", 15)]
    loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent(), validation=tiny.dataset(keys, settings, "validation"))
    codec, composer = ([entry for entry in run.history if entry["stage"] == name] for name in ("codec", "composer"))
    for name in ("loudness", "sounding", "onsets", "validation_sounding"):
        assert codec[-1][name] < 0.9 * codec[0][name], name
    assert codec[-1]["overlap"] > codec[0]["overlap"]
    assert composer[-1]["flow"] < 0.9 * composer[0]["flow"]


def test_the_encoder_stands_still_once_the_composer_learns(keys: Path, tmp_path: Path) -> None:
    """The game moves composer and decoder, and not the encoder, whose latents the composer was told of."""
    run, data = start(keys, tiny.settings("bars"))
    run.plan = [("codec", 1)]
    loop.train(run, data, tmp_path / "codec.pt", tiny.Silent())
    before = weights(tmp_path / "codec.pt")
    run, data = start(keys, tiny.settings("bars"))
    loop.train(run, data, tmp_path / "all.pt", tiny.Silent())
    after = weights(tmp_path / "all.pt")
    generator: Any = run.networks["generator"]
    encoder = {id(parameter) for parameter in generator.parts()["encoder"]}
    still = {name for name, parameter in generator.named_parameters() if id(parameter) in encoder}
    unused = {"composer.sources_in.5.weight"}  # eight bars are longer than these songs
    assert len(still) > 10
    for name, _ in generator.named_parameters():
        is_equal = torch.equal(after[f"average.{name}"], before[f"average.{name}"])
        assert is_equal is (name in still | unused), name


def test_every_option_of_the_composer_has_an_effect(keys: Path, tmp_path: Path) -> None:
    def trained(**changes: Any) -> dict[str, torch.Tensor]:
        run, data = start(keys, tiny.settings("bars", **changes))
        run.plan = [("codec", 1), ("composer", 1)]
        loop.train(run, data, tmp_path / "ckpt.pt", tiny.Silent())
        return weights(tmp_path / "ckpt.pt")

    plain = trained()
    for change in (
        {"prior": {"past_noise": 0.0}}, {"prior": {"draws": 3}}, {"prior": {"learning_rate": 0.01}},
        {"prior": {"betas": [0.5, 0.9]}}, {"loss_weights": {"onsets": 0.0}}, {"loss_weights": {"sounding": 1.0}},
        {"loss_weights": {"loudness": 9.0}}, {"augment": {"transpose_keys": 0}},
    ):  # fmt: skip
        changed = trained(**change)
        assert any(not torch.equal(value, changed[name]) for name, value in plain.items()), change


def test_begun_runs_and_objectives_agree_on_sides() -> None:
    """Both stages move one side; the composer has the rates of the prior."""
    settings = tiny.settings("bars", prior={"learning_rate": 0.25, "betas": [0.3, 0.4]})
    networks = models.build("bars", settings.network, RollShape(tiny.CHANNELS, tiny.KEYS, 384))
    optimisers = runs.optimisers_of(bars.Composition(networks, settings))
    assert list(optimisers) == ["generator"]
    (group,) = optimisers["generator"].param_groups
    assert (group["lr"], group["betas"]) == (0.25, (0.3, 0.4))


def test_pieces_become_as_dense_as_songs(keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the deviation of the noise: of a decoder that plays more, the more noise there is, within limits."""
    monkeypatch.setattr(calibration, "HALVINGS", 3)
    _, data, generator = made(keys)
    low, high = calibration.DEVIATIONS
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    calibration.balance(generator, data)
    found = generator.noise_deviation.item()
    assert low <= found <= high
    again = generator.noise_deviation.clone()
    calibration.balance(generator, data)
    assert torch.equal(generator.noise_deviation, again)
    changed = [name for name, value in generator.state_dict().items() if not torch.equal(value, before[name])]
    assert changed == ["noise_deviation"]
    bias = generator.codec.decoder_bypass.bias
    assert bias is not None
    cells = len(bias) // 3
    for amount, expected in ((50.0, low), (-50.0, high)):  # everything sounds, nothing does
        with torch.no_grad():
            bias[cells : 2 * cells] = amount
        calibration.balance(generator, data)
        assert generator.noise_deviation.item() == pytest.approx(expected, abs=0.02)


def test_a_full_disk_is_told_before_anything_is_mapped() -> None:
    with tempfile.TemporaryFile() as file, pytest.raises(MusiganError, match=r"MB for latents .* cannot be written"):
        songlatents._reserve(file.fileno(), 1 << 62)
