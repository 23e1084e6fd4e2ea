"""How near the sound of a roll comes to its recording, by timbre: mel distance, attacks, clicks; pictures if asked for.

    python benchmarks/score_timbre.py FOLDER_OF_GENRES [-n 3] [--seconds 30] [--pictures FOLDER]

FOLDER_OF_GENRES has a folder a genre. Of each, songs evenly spread over the list are decoded and analysed as
npy-to-keys does, two minutes each, and the roll from second 30 on is played by every fixed timbre and by three tones:

- own: that of the song's two minutes, as npy-to-keys notes it;
- elsewhere: that of the song after the part that is judged;
- others: the average of other songs of the genre, none of which is the one judged.

Nothing else is fitted. The distance, in dB, is the mean absolute difference of log mel spectra, left and right each
with its own, averaged over windows of 512, 1024, 2048 and 4096 samples (Hann, half overlapping) at 12 kHz, the band of
the recording as the analysis sees it. A spectrum is the power in 64 triangular mel bands from 30 Hz to 6 kHz; both
sounds are scaled to the same RMS, and what is further than 80 dB (--floor) below the loudest cell of the recording
counts as just that. The floor matters: silence between partials is punished less with 60 dB.

Attacks are the 99th percentile of the rise, in dB, of the mean log mel spectrum in 10 ms (windows of 256 samples, to 60
dB under the RMS); jumps are the largest difference of two samples, over the RMS.
"""

from __future__ import annotations

import argparse
from functools import lru_cache
from pathlib import Path

import numpy as np

from musigan.analysis.bands import analysed_bands, roll_of
from musigan.analysis.timbres import find_tone, thinned
from musigan.files.finding import find_audio
from musigan.pictures.png import grey_png
from musigan.rolls.keysettings import KeySettings
from musigan.rolls.tone import Tone, average
from musigan.sound.audio import decode
from musigan.synthesis.oscillators import synthesise
from musigan.synthesis.timbre import TIMBRES

RATE = 12000
BEGIN_SECONDS, SONG_SECONDS = 30, 120
WINDOWS = (512, 1024, 2048, 4096)
MEL_BANDS, LOWEST_HZ = 64, 30.0
ATTACK_WINDOW, ATTACK_HOP = 256, 60
OTHERS = 6  # songs of a genre whose tones are averaged, at least
OWN = ("own", "elsewhere", "others")


@lru_cache(maxsize=8)
def mel_weights(window: int) -> np.ndarray:
    """Triangles over the bins of a spectrum, (MEL_BANDS, window // 2 + 1); narrower ones than a bin fall on two."""
    mels = np.linspace(*(np.log1p(hz / 700) for hz in (LOWEST_HZ, RATE / 2)), MEL_BANDS + 2)
    edges, hz = 700 * np.expm1(mels), np.fft.rfftfreq(window, 1 / RATE)
    width = RATE / window
    low, high = (np.maximum(np.diff(edges)[part], width)[:, None] for part in (slice(0, -1), slice(1, None)))
    away = hz - edges[1:-1, None]
    weights = np.maximum(1 - np.where(away < 0, -away / low, away / high), 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def log_mels(sound: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Log power in dB of (C, S) in mel bands, (C, T, MEL_BANDS)."""
    parts = np.lib.stride_tricks.sliding_window_view(sound, window, axis=1)[:, ::hop]
    shape = np.hanning(window + 1)[:window].astype(np.float32)
    power = np.abs(np.fft.rfft(parts * shape)) ** 2 / (shape**2).sum()
    return 10 * np.log10(power.astype(np.float32) @ mel_weights(window).T + 1e-20)


def spectra(sound: np.ndarray) -> list[np.ndarray]:
    """Return the log mel spectra of a sound at RMS 1, one a window."""
    return [log_mels(sound / np.sqrt((sound**2).mean()), window, window // 2) for window in WINDOWS]


def distance(recording: list[np.ndarray], sound: list[np.ndarray], floor_db: float) -> float:
    """Mean absolute difference of spectra in dB, over the recording's floor."""
    floors = [float(one.max()) - floor_db for one in recording]
    return float(
        np.mean(
            [
                np.abs(np.maximum(one, floor) - np.maximum(other, floor)).mean()
                for one, other, floor in zip(recording, sound, floors, strict=True)
            ]
        )
    )


def attack(sound: np.ndarray) -> float:
    """Return how steeply the mean spectrum rises at the strongest attacks, in dB in two steps."""
    spectrum = np.maximum(log_mels(sound / np.sqrt((sound**2).mean()), ATTACK_WINDOW, ATTACK_HOP), -60.0)
    level = spectrum.mean(axis=(0, 2))
    return float(np.percentile(level[2:] - level[:-2], 99))


def jump(sound: np.ndarray) -> float:
    """Return the largest difference of two samples over the RMS."""
    return float(np.abs(np.diff(sound)).max() / np.sqrt((sound**2).mean()))


class Song:
    """A song's two minutes: sound, roll and tones."""

    def __init__(self, path: str, seconds: float) -> None:
        self.settings = KeySettings()
        signal = decode(path, RATE, seconds=SONG_SECONDS).signal
        bands = analysed_bands(signal, RATE, self.settings)
        roll, level = roll_of(bands, RATE, self.settings)
        tone = find_tone(signal, RATE, thinned(bands), roll, level, self.settings)
        assert tone is not None, path
        samples = self.settings.frame_samples(RATE)
        begin = round(BEGIN_SECONDS / self.settings.frame_seconds)
        stop = begin + round(seconds / self.settings.frame_seconds)
        later = thinned(bands[..., stop:]), roll[..., stop:]
        rest = find_tone(signal[:, stop * samples :], RATE, *later, level, self.settings)
        self.tone, self.elsewhere = tone, rest or tone
        self.recording, self.roll = signal[:, begin * samples : stop * samples], roll[..., begin:stop]

    def played(self, timbre: str | Tone) -> np.ndarray:
        """Synthesise the roll."""
        return synthesise(self.roll, self.settings, RATE, timbre)


def picture(path: Path, *sounds: np.ndarray) -> None:
    """Draw the first ten seconds of sounds as spectrograms below each other, to 80 dB under the loudest."""
    rows = []
    for sound in sounds:
        part = sound.mean(axis=0, keepdims=True)[:, : 10 * RATE]
        part = part / np.sqrt((part**2).mean())
        views = np.lib.stride_tricks.sliding_window_view(part, 1024, axis=1)[0, ::96]
        levels = 10 * np.log10(np.abs(np.fft.rfft(views * np.hanning(1024))) ** 2 + 1e-9).T[::-1]
        rows.append(np.clip((levels - levels.max() + 80) / 80, 0, 1))
        rows.append(np.ones((6, levels.shape[1])))
    grey = np.round(255 * np.concatenate(rows)).astype(np.uint8)
    path.write_bytes(grey_png(grey))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder")
    parser.add_argument("-n", type=int, default=3, help="songs of each genre")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each song that are judged")
    parser.add_argument("--floor", type=float, default=80.0, help="dB under the loudest")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each song: recording, best fixed, own")
    chosen = parser.parse_args()
    table: list[list[float]] = []
    names = [*TIMBRES, *OWN]
    print(f"{'':32}" + "".join(f"{name:>10}" for name in names) + "   attacks, jumps: recording, best fixed, own")
    for genre in sorted(path for path in Path(chosen.folder).iterdir() if path.is_dir()):
        files = list(find_audio([genre]))
        wanted = max(chosen.n, OTHERS + 1)
        files = files[:: max(len(files) // wanted, 1)][:wanted]
        songs = [Song(found.path, chosen.seconds) for found in files]
        begun = len(table)
        for number in np.linspace(0, len(songs) - 1, min(chosen.n, len(songs))).astype(int):
            song, others = songs[number], [one.tone for one in songs if one is not songs[number]]
            real = spectra(song.recording)
            sounds = {name: song.played(name) for name in TIMBRES}
            sounds |= {"own": song.played(song.tone), "elsewhere": song.played(song.elsewhere)}
            sounds["others"] = song.played(average(others) or song.tone)
            row = [distance(real, spectra(sound), chosen.floor) for sound in sounds.values()]
            best = names[int(np.argmin(row[: len(TIMBRES)]))]
            three = song.recording, sounds[best], sounds["own"]
            marks = [f"{measure(sound):6.1f}" for measure in (attack, jump) for sound in three]
            table.append(row + [float(mark) for mark in marks])
            stem = Path(files[number].path).stem
            print(f"{genre.name + ' ' + stem:30.30}  " + "".join(f"{d:10.2f}" for d in row) + " ", *marks, flush=True)
            if chosen.pictures:
                chosen.pictures.mkdir(parents=True, exist_ok=True)
                picture(chosen.pictures / f"{genre.name}-{stem}.png", *three)
        _print_mean(genre.name, table[begun:], names)
    _print_mean("all", table, names)
    means = np.mean(table, axis=0)
    fixed = np.array(table)[:, : len(TIMBRES)]
    for name in OWN:
        column = np.array(table)[:, names.index(name)]
        below = 1 - column.mean() / means[: len(TIMBRES)].min(), 1 - column.mean() / fixed.min(axis=1).mean()
        print(f"{name}: {below[0]:.0%} below the best fixed timbre, {below[1]:.0%} below each song's best")


def _print_mean(title: str, rows: list[list[float]], names: list[str]) -> None:
    """Print the mean of rows, and of the marks behind the distances."""
    means = np.mean(rows, axis=0)
    distances, marks = means[: len(names)], means[len(names) :]
    print(f"{'MEAN ' + title:30}  " + "".join(f"{d:10.2f}" for d in distances) + " ", *(f"{m:6.1f}" for m in marks))


if __name__ == "__main__":
    main()
