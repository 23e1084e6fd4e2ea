"""The commands of musigan: a table, so that only the chosen one is imported."""

from __future__ import annotations

# Command: module and one line for the listing.
COMMANDS = {
    "try": ("try_", "music from what musigan knows when it is installed, at once"),
    "continue": ("continue_", "a song -> the same song going on"),
    "music": ("music", "a folder of music -> new music, in one go"),
    "mp3-to-npy": ("mp3_to_npy", "audio files and folders -> waveforms"),
    "pair-chunks": ("pair_chunks", "waveforms -> pairs of a chunk and its continuation"),
    "npy-to-keys": ("npy_to_keys", "sound -> loudness of each piano key in each frame"),
    "prepare": ("prepare", "music -> keys on many cores or machines, with Dask; goes on where it was"),
    "keys-to-mp3": ("keys_to_mp3", "keys -> an audio file"),
    "midi-to-keys": ("midi_to_keys", "MIDI files and folders -> keys, a track for each group of instruments"),
    "keys-to-midi": ("keys_to_midi", "keys -> a MIDI file"),
    "pretrain": ("pretrain", "the non-adversarial stage of a model"),
    "train-gan": ("train_gan", "the adversarial stage (both, when started from nothing)"),
    "sample": ("sample", "a checkpoint -> new keys"),
    "transfer": ("transfer", "keys of one kind of music -> the same songs as another kind"),
    "evaluate": ("evaluate", "how far samples are from real music held back, in a table"),
    "plot-keys": ("plot_keys", "keys -> a picture of their piano rolls"),
    "report": ("report", "a checkpoint -> a page to hear and see the run"),
    "export": ("export", "a checkpoint -> a slim file for others, with a card, and back"),
    "check": ("check", "whether a store is whole, and what is in it"),
    "merge": ("merge", "stores -> one of all their songs, each once"),
    "split": ("split", "a store -> several, by genre, artist, validation or share"),
    "filter": ("filter", "a store -> the songs of it that are of a kind"),
    "head": ("head", "a store -> its first songs"),
    "cat": ("cat", "stores -> all their songs, one after the other"),
    "doctor": ("doctor", "what this machine has: decoders, encoders, GPU, space"),
    "models": ("models", "the model families, what each is good for"),
    "completion": ("completion", "what a shell needs to complete commands and options"),
    "demo-music": ("demo_music", "render a small folder of public-domain tunes"),
}
