"""From a keys store to files: order, joins, loudness, names, tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from musigan.errors import AudioError, MusiganError, SettingsError, UsageError
from musigan.files import targets
from musigan.rolls.keyboard import KeyRange
from musigan.rolls.keysettings import KeySettings
from musigan.sound import lufs, mastering
from musigan.sound.audio import decode
from musigan.sound.encoding import encode
from musigan.store import Item, ItemInfo, Song, StoreHeader, songs
from musigan.synthesis import rendering
from musigan.synthesis.oscillators import synthesise
from musigan.synthesis.timbre import TIMBRES
from tests import helpers
from tests.tones import tone

RATE = helpers.RATE
SETTINGS = KeySettings(keys=KeyRange(40, 60))
HEADER = StoreHeader("keys", RATE, 1.0).with_keys(SETTINGS)


def item(key: int, loudness: float = 1.0, chunks: int = 2, **about: Any) -> Item:
    """A piece that holds one key for `chunks` seconds, stereo, louder on the left."""
    array = np.zeros((chunks, 2, 21, 50), np.float16)
    array[:, 0, key - 40] = loudness
    array[:, 1, key - 40] = loudness / 2
    names = ("chunks", "channels", "keys", "frames")
    return Item(ItemInfo("000001", array.shape, "float16", (1, *array.shape[1:]), names, Song(**about)), array)


def sound(**options: Any) -> rendering.SoundSettings:
    given = {"timbre": "sine", "sample_rate": 0, "gain_db": 0.0, "fade": 0.0, "crossfade": 0.5, **options}
    return rendering.SoundSettings.of_store(HEADER, **given)


def pieces(made: rendering.SoundSettings, *items: Item) -> Any:
    return made.pieces(items, 2, on_piece=lambda title: None)


def pitch(signal: np.ndarray) -> float:
    """Strongest frequency of (C, S), in Hz."""
    spectrum = np.abs(np.fft.rfft(signal[0] * np.hanning(signal.shape[1])))
    return float(spectrum.argmax() * RATE / signal.shape[1])


def test_pieces_follow_each_other_in_order_with_a_crossfade(tmp_path: Path) -> None:
    made, out = sound(), tmp_path / "out.wav"
    files = rendering.write(pieces(made, item(49), item(56)), made, targets.Target(str(out)), "", None)
    signal = decode(out, seconds=None, channels="keep").signal
    assert files == [str(out)]
    assert signal.shape == (2, round(3.5 * RATE))
    assert pitch(signal[:, :RATE]) == pytest.approx(440, abs=2)
    assert pitch(signal[:, -RATE:]) == pytest.approx(440 * 2 ** (7 / 12), abs=2)
    assert np.abs(signal[0]).max() > 1.8 * np.abs(signal[1]).max()


@pytest.mark.parametrize("name", ["out.mp3", "out.ogg", "out.wav"])
@pytest.mark.parametrize("gain_db", [0.0, 20.0])
def test_no_file_peaks_above_its_ceiling_and_none_is_quiet(name: str, gain_db: float, tmp_path: Path) -> None:
    made, out = sound(gain_db=gain_db, timbre="strings"), tmp_path / name
    rendering.write(pieces(made, item(42, 0.02), item(57, 3.0)), made, targets.Target(str(out)), "", None)
    signal = decode(out, sample_rate=44100, seconds=None).signal
    first, last = np.abs(signal[:, :44100]).max(), np.abs(signal[:, -44100:]).max()
    assert 0.6 < first <= 10 ** (-1 / 20)
    assert 0.6 < last <= 10 ** (-1 / 20)


def test_split_numbers_its_files_and_loses_none(tmp_path: Path) -> None:
    made, target = sound(), targets.Target(str(tmp_path / "a.b.wav"), split=True)
    (tmp_path / "a.b-002.wav").write_text("precious")
    with pytest.raises(MusiganError, match=r"a\.b-002\.wav exists"):
        rendering.write(pieces(made, item(49), item(56)), made, target, "", None)
    assert (tmp_path / "a.b-002.wav").read_text() == "precious"
    forced = targets.Target(target.out, split=True, force=True)
    made = sound()
    rendering.write(pieces(made, item(49), item(56, chunks=3)), made, forced, "", None)
    lengths = [decode(tmp_path / f"a.b-00{number}.wav", seconds=None).seconds for number in (1, 2)]
    assert lengths == pytest.approx([2, 3])
    assert (made.rendered, made.seconds) == (2, pytest.approx(5))


def test_a_padded_piece_is_cut_to_its_seconds_and_a_gap_stays_a_gap() -> None:
    assert songs.piece_roll(item(49, seconds=1.3), SETTINGS.frame_seconds).shape == (2, 21, 65)
    gapped = songs.piece_roll(item(49, starts=(7.0, 10.0)), SETTINGS.frame_seconds)
    assert gapped.shape == (2, 21, 200)
    assert (gapped[0, 9] > 0).tolist() == [True] * 50 + [False] * 100 + [True] * 50
    with pytest.raises(MusiganError, match="3 starts for 2 chunks"):
        songs.piece_roll(item(49, starts=(0, 1, 2)), SETTINGS.frame_seconds)


def test_tags_come_from_the_piece_and_its_checkpoint(tmp_path: Path) -> None:
    import mutagen

    made, out = sound(), tmp_path / "out.mp3"
    piece = item(49, title="ckpt 1", artist="MusiGAN", source="ckpt, seed 1, piece 1")
    rendering.write(pieces(made, piece), made, targets.Target(str(out)), "Größe", None)
    found = mutagen.File(out).tags
    assert str(found["TIT2"]) == "Größe"
    assert str(found["TPE1"]) == "MusiGAN"
    assert any("ckpt, seed 1" in str(found[key]) for key in found if key.startswith("COMM"))
    assert str(found["TSSE"]).startswith("musigan")


def test_silence_is_written_as_silence(tmp_path: Path) -> None:
    made, out = sound(), tmp_path / "out.wav"
    rendering.write(pieces(made, item(49, 0.0)), made, targets.Target(str(out)), "", None)
    assert not decode(out, seconds=None).signal.any()


def loudness_of(path: Path) -> float:
    sound = decode(path, seconds=None, channels="keep")
    return lufs.measure(sound.signal, sound.sample_rate)


@pytest.mark.parametrize("timbre", ["sine", "plucked"])
def test_pieces_of_one_loudness_each_in_its_own_file_and_all_in_one(timbre: str, tmp_path: Path) -> None:
    given = item(42, 0.02), item(57, 3.0, chunks=3), item(49, 1.0, chunks=1, seconds=0.3)
    split = targets.Target(str(tmp_path / "a.wav"), split=True)
    made = sound(loudness="-16", timbre=timbre)
    rendering.write(pieces(made, *given), made, split, "", None)
    for number in (1, 2, 3):
        assert loudness_of(tmp_path / f"a-00{number}.wav") == pytest.approx(-16, abs=1)
    made, out = sound(loudness="-16", timbre=timbre), tmp_path / "out.mp3"
    rendering.write(pieces(made, *given), made, targets.Target(str(out)), "", None)
    assert loudness_of(out) == pytest.approx(-16, abs=1)


def test_a_piece_is_as_loud_with_the_channels_of_the_first(tmp_path: Path) -> None:
    """A stereo piece would lose up to 3 dB as mono, were its loudness that of both sides."""
    stereo, made = item(57), sound(loudness="-20", crossfade=0.0)
    mono = Item(stereo.info, stereo.array[:, :1])
    made_pieces = [*pieces(made, mono, stereo)]
    out = tmp_path / "out.wav"
    rendering.write(iter(made_pieces), made, targets.Target(str(out)), "", None)
    signal = decode(out, seconds=None, channels="keep").signal
    assert signal.shape[0] == 1
    for half in np.split(signal, 2, axis=1):
        assert lufs.measure(half, RATE) == pytest.approx(-20, abs=0.5)


def test_a_gain_comes_on_top_of_the_loudness(tmp_path: Path) -> None:
    made, out = sound(loudness="-20", gain_db=-6.0), tmp_path / "out.wav"
    rendering.write(pieces(made, item(49)), made, targets.Target(str(out)), "", None)
    assert loudness_of(out) == pytest.approx(-26, abs=0.5)


def test_no_loudness_leaves_peaks_at_the_ceiling() -> None:
    made = sound(loudness="none")
    rendered = [piece.signal for piece in pieces(made, item(42, 0.02), item(57, 3.0))]
    joined = np.concatenate([*made.master_signals(rendered)], axis=1)
    by_hand = mastering.master(mastering.crossfade(rendered, RATE, 0.5), RATE, 0.0, 0.0, 0.0)
    np.testing.assert_array_equal(joined, np.concatenate([*by_hand], axis=1))
    assert [float(np.abs(signal).max()) for signal in rendered] == pytest.approx([10 ** (-2.5 / 20)] * 2)


def test_the_tool_brings_pieces_to_minus_14_lufs_unless_told_otherwise(tmp_path: Path) -> None:
    store = helpers.keys_store(tmp_path / "keys.zip", songs=2)
    names = ["default.wav", "named.wav", "none.wav", "quiet.wav"]
    options: list[list[object]] = [[], ["--lufs", -14], ["--lufs", "none"], ["--lufs", -30]]
    for done in helpers.run_each(
        "keys-to-mp3", *([tmp_path / name, store, *more] for name, more in zip(names, options, strict=True))
    ):
        assert done.returncode == 0, done.stderr
    default, named, none, quiet = (tmp_path / name for name in names)
    assert default.read_bytes() == named.read_bytes() != none.read_bytes()
    assert loudness_of(default) == pytest.approx(-14, abs=1)
    assert loudness_of(quiet) == pytest.approx(-30, abs=1)
    for value in ("-3", "loud", "nan"):
        refused = helpers.run("keys-to-mp3", tmp_path / "refused.wav", store, "--lufs", value)
        assert refused.returncode == 2
        assert f"--lufs {value}" in helpers.one_line(refused.stderr)
    assert not (tmp_path / "refused.wav").exists()


def test_targets_that_cannot_be_are_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "there.mp3").write_text("precious")
    for out, message in [("there.mp3", "--force"), ("none/x.mp3", "no folder")]:
        with pytest.raises(MusiganError, match=message):
            targets.Target(str(tmp_path / out)).check(None)
    with pytest.raises(UsageError, match="ending"):
        targets.Target(str(tmp_path / "no-ending")).check(None)
    with pytest.raises(MusiganError, match="several files"):
        targets.Target("-", split=True).check(None)


def test_help_names_every_timbre() -> None:
    text = helpers.run("keys-to-mp3", "--help").stdout.decode()
    assert all(name in text for name in TIMBRES)


@pytest.mark.parametrize(("frame_seconds", "rate"), [(0.02, 44100), (0.016, 48000), (0.0125, 48000)])
def test_a_timbre_with_overtones_gets_a_rate_that_its_frames_fit(frame_seconds: float, rate: int) -> None:
    header = HEADER.with_keys(KeySettings(keys=KeyRange(40, 60), frame_seconds=frame_seconds))
    made = rendering.SoundSettings.of_store(header, "piano", 0, 0.0, 0.0, 0.5)
    assert made.sample_rate == rate
    assert rendering.SoundSettings.of_store(header, "sine", 0, 0.0, 0.0, 0.5).sample_rate == RATE


def test_split_looks_for_existing_files_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "out-007.mp3").write_text("precious")
    (tmp_path / "out-x.mp3").write_text("not one of them")
    with pytest.raises(MusiganError, match=r"out-007\.mp3 exists"):
        targets.Target(str(tmp_path / "out.mp3"), split=True).check(None)
    targets.Target(str(tmp_path / "out.mp3"), split=True, force=True).check(None)
    targets.Target(str(tmp_path / "other.mp3"), split=True).check(None)


def test_pieces_sound_as_their_songs_do_unless_told_otherwise() -> None:
    timbre = tone(0.02).to_values()
    made = sound(timbre="")
    own, without = pieces(made, item(49, timbre=timbre), item(49))
    assert made.sample_rate == 44100
    assert (own.signal.shape, without.signal.shape) == ((2, 88200), (2, 88200))
    power = np.square(np.abs(np.fft.rfft(own.signal[0])))
    assert power[2 * 1320 - 40 : 2 * 1320 + 40].sum() > 0.2 * power.sum()  # the third partial
    assert np.square(np.abs(np.fft.rfft(without.signal[0])))[2 * 1320 - 40 : 2 * 1320 + 40].sum() < 1e-4 * power.sum()
    asked = sound(timbre="own", sample_rate=RATE)
    (piece,) = pieces(asked, item(49, timbre=timbre))
    assert piece.signal.shape == (2, 2 * RATE)
    (sine,) = pieces(sound(timbre="sine"), item(49, timbre=timbre))
    np.testing.assert_array_equal(sine.signal, next(pieces(sound(timbre=""), item(49))).signal)


def test_a_sound_that_is_not_there_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--timbre own: a b does not say how its songs sound"):
        list(pieces(sound(timbre="own"), item(49, title="a b")))
    with pytest.raises(SettingsError, match="own:SONG"):
        sound(timbre="kazoo")
    with pytest.raises(AudioError, match=r"none\.mp3"):
        sound(timbre=f"own:{tmp_path}/none.mp3")


def test_a_named_song_lends_its_sound(tmp_path: Path) -> None:
    plain = np.repeat(item(49).array.transpose(1, 2, 0, 3).reshape(2, 21, 100).astype(np.float32), 2, axis=2)
    recorded = synthesise(plain, SETTINGS, RATE, "reed", level=0.2)
    encode([recorded], RATE, tmp_path / "reed.wav", "wav")
    made = sound(timbre=f"own:{tmp_path}/reed.wav", sample_rate=RATE)
    (piece,) = pieces(made, item(49, timbre=tone(partials=np.eye(8, 12)[:, ::-1] + 0.1).to_values()))
    assert pitch(piece.signal) == pytest.approx(440, abs=1)
    assert made.tone is not None
    assert made.tone.partials[4, 2] > 2 * made.tone.partials[4, 1]


def test_a_piece_that_cannot_be_played_is_skipped_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: rendering.SoundSettings, roll: Any, tone: Any) -> Any:
        if roll.shape[-1] == 150:
            raise OverflowError("too large")
        return iter([np.ones((2, 100), np.float32)])

    monkeypatch.setattr(rendering.SoundSettings, "synthesise_parts", fails)
    skipped: list[tuple[str, ...]] = []
    given = [item(49), item(50, chunks=3, title="The long one"), item(51)]
    made = sound().pieces(given, 2, lambda title: None, lambda *words: skipped.append(words))
    assert len(list(made)) == 2
    assert skipped == [("The long one", "cannot be used: OverflowError, too large", "that could not be played")]
