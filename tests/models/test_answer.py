"""What is the family `answer`'s alone: it hears the question, joins its end, and chains answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from musigan import models, store
from musigan.checkpoints.settings import configure
from musigan.datasets.rolls import NO_AUGMENT, AugmentSettings, RollDataset
from musigan.errors import SettingsError
from musigan.models.answer import ending
from musigan.rolls.loudness import compress
from musigan.rolls.shape import RollShape
from musigan.training.objectives import OBJECTIVES, StepContext
from tests import tiny

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = RollShape(tiny.CHANNELS, tiny.KEYS, 96)  # longer than what the decoder reaches


def built(shape: RollShape = SHAPE, **changes: Any) -> nn.ModuleDict:
    """Networks past the zeros that residual branches start at."""
    torch.manual_seed(1)
    networks = models.build("answer", {**tiny.NETWORKS["answer"], **changes}, shape)
    with torch.no_grad():
        for parameter in networks["generator"].parameters():
            parameter.add_(0.15 * torch.randn_like(parameter))
        networks["generator"].key_bias.zero_()  # type: ignore[operator,union-attr]
    return networks.eval()


def rolls(batch: int, frames: int = SHAPE.frames, seed: int = 2) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    loud = torch.rand(batch, SHAPE.channels, SHAPE.keys, frames, generator=rng)
    return loud * (torch.rand(loud.shape, generator=rng) > 0.6)


def test_ending_pads_in_front() -> None:
    roll = torch.arange(1.0, 4.0).reshape(1, 1, 1, 3)
    assert ending(roll, 2).flatten().tolist() == [2, 3]
    assert ending(roll, 5).flatten().tolist() == [0, 0, 1, 2, 3]


def test_each_sample_hears_its_own_question() -> None:
    generator: Any = built()["generator"]
    noise, questions = generator.draw(2, SHAPE.frames, torch.Generator().manual_seed(0)), rolls(2)
    latents = generator.sample_prior(noise, question=questions)
    swapped = generator.sample_prior(noise, question=questions.flip(0))
    torch.testing.assert_close(latents[1:], generator.sample_prior(noise[1:], question=questions[1:]))
    assert (latents - swapped).abs().amax((1, 2)).min() > 1e-3
    # Several noises in turn for each question, as the prior's stage asks.
    time = torch.full((4,), 0.3)
    both = generator.velocity(torch.cat((noise, noise)), time, questions)
    torch.testing.assert_close(both[:2], both[2:])
    torch.testing.assert_close(both[:2], generator.velocity(noise, time[:2], questions))


def test_an_answer_listens_to_all_of_the_question() -> None:
    generator: Any = built()["generator"]
    question = rolls(1).requires_grad_()
    generator.sample_prior(
        generator.draw(1, SHAPE.frames, torch.Generator().manual_seed(0)), question=question
    ).sum().backward()
    assert (question.grad.abs().amax((0, 1, 2)) > 0).all()


def test_encoder_and_decoder_see_the_end_of_the_question_as_if_it_were_one_roll() -> None:
    generator: Any = built()["generator"]
    question, roll = rolls(2), rolls(2, seed=5)
    steps = generator.steps(SHAPE.frames)
    whole = generator.encode(torch.cat((question, roll), -1)).mean[:, steps:]
    torch.testing.assert_close(generator.encode(roll, question).mean, whole)
    assert not torch.allclose(generator.encode(roll).mean[:, 0], whole[:, 0])
    both = torch.cat((generator.encode_call(question, steps), whole), 1)
    expected = generator.decode(both, 2 * SHAPE.frames).roll[..., SHAPE.frames :]
    torch.testing.assert_close(generator.decode(whole, SHAPE.frames, question).roll, expected)
    assert not torch.allclose(generator.decode(whole, SHAPE.frames).roll, expected)


def test_answers_are_chained() -> None:
    generator: Any = built()["generator"]
    past, frames = rolls(1), SHAPE.frames
    drawn = generator.extend(past, 2 * frames + 5, torch.Generator().manual_seed(7))
    assert drawn.shape == (1, SHAPE.channels, SHAPE.keys, 2 * frames + 5)
    rng = torch.Generator().manual_seed(7)
    first = generator.extend(past, frames, rng)
    torch.testing.assert_close(drawn[..., :frames], first)
    torch.testing.assert_close(drawn[..., frames : 2 * frames], generator.extend(first, frames, rng))
    # No more than a question's length is heard, and nothing is what silence is.
    longer = generator.extend(torch.cat((rolls(1, seed=9), past), -1), frames, torch.Generator().manual_seed(7))
    torch.testing.assert_close(longer, first)
    nothing = generator.extend(None, frames, torch.Generator().manual_seed(7))
    torch.testing.assert_close(nothing, generator.extend(0 * past, frames, torch.Generator().manual_seed(7)))
    assert not torch.allclose(nothing, first)


def test_guidance() -> None:
    """0 is deaf, 1 as learned, above goes on in the same direction."""
    noise, question = torch.randn(1, 24, 3, generator=torch.Generator().manual_seed(0)), rolls(1)
    found = {}
    for guidance in (0.0, 1.0, 3.0):
        generator: Any = built(guidance=guidance)["generator"]
        found[guidance] = generator.sample_prior(noise, 0, 1, question=question)
    torch.testing.assert_close(found[0.0], generator.sample_prior(noise, 0, 1))
    torch.testing.assert_close(found[3.0] - found[0.0], 3 * (found[1.0] - found[0.0]), atol=1e-5, rtol=1e-4)
    with pytest.raises(SettingsError, match="guidance"):
        built(guidance=-1.0)


def test_latents_after_silence_have_a_calibration_of_their_own() -> None:
    generator: Any = built()["generator"]
    noise, questions = generator.draw(3, SHAPE.frames, torch.Generator().manual_seed(0)), rolls(3)
    questions[1] = 0
    plain = generator.sample_prior(noise, question=questions)
    generator.calibrate(2 * torch.randn(4, 6, 3), torch.randn(4, 6, 3) + 1, "silent")
    changed = generator.sample_prior(noise, question=questions)
    torch.testing.assert_close(changed[[0, 2]], plain[[0, 2]])
    expected = generator.silent_offset + generator.silent_gain * plain[1]
    torch.testing.assert_close(changed[1], expected)
    torch.testing.assert_close(generator.sample_prior(noise[1:2])[0], expected)
    assert not torch.allclose(expected, plain[1])


def test_calibrations_are_fitted_to_answers_after_calls_and_after_silence() -> None:
    generator: Any = built()["generator"]
    answers, questions = rolls(3, seed=5), rolls(3)
    questions[1] = 0
    sets = generator.calibration_sets(answers, {"question": questions})
    torch.testing.assert_close(sets["latent"][0], answers[[0, 2]])
    torch.testing.assert_close(sets["latent"][1]["question"], questions[[0, 2]])
    torch.testing.assert_close(sets["silent"][0], answers)
    assert not sets["silent"][1]["question"].any()
    assert list(generator.calibration_sets(answers, {"question": 0 * questions})) == ["silent"]


def test_a_checkpoint_older_than_the_calibration_after_silence_draws_the_same() -> None:
    """One calibration for all, as then: latents after silence are those of guidance towards silence itself."""
    generator: Any = built()["generator"]
    generator.calibrate(2 * torch.randn(4, 6, 3), torch.randn(4, 6, 3) + 1)
    state = {name: value for name, value in generator.state_dict().items() if not name.startswith("silent_")}
    loaded: Any = built()["generator"]
    loaded.load_state_dict(state)
    latents = noise = loaded.draw(2, SHAPE.frames, torch.Generator().manual_seed(0))
    silent = torch.zeros(1, SHAPE.channels, SHAPE.keys, SHAPE.frames)
    for index in range(loaded.flow_steps):
        time = torch.full((2,), index / loaded.flow_steps)
        velocity = loaded.velocity(latents, time, silent)
        latents = latents + torch.lerp(velocity, velocity, loaded.guidance) / loaded.flow_steps
    expected = generator.latent_offset + generator.latent_gain * latents
    assert torch.equal(loaded.sample_prior(noise), expected)


def test_critic_judges_the_pair() -> None:
    """Both views depend on the question; the roll's on which half is which."""
    critic: Any = built()["critic"]
    questions, answers, latents = rolls(4), rolls(4, seed=5), torch.randn(4, 24, 3)
    said = critic(answers, latents, per_sample=True, question=questions).logits
    others = critic(answers, latents, per_sample=True, question=questions.flip(0)).logits
    for view in ("roll", "latent"):
        assert (said[view] - others[view]).abs().max() > 1e-4, view
    turned = critic(questions, None, per_sample=True, question=answers).logits["roll"]
    assert (turned - said["roll"]).abs().max() > 1e-4
    silent = critic(answers, latents, per_sample=True, question=torch.zeros_like(questions)).logits
    torch.testing.assert_close(critic(answers, latents, per_sample=True).logits, silent)


def test_mismatched_pairs_teach_the_critic_to_match() -> None:
    """Answers are as loud as their questions, and that is all there is to tell pairs by."""
    settings = tiny.settings("answer")
    networks = built(RollShape(tiny.CHANNELS, tiny.KEYS, tiny.FRAMES))
    objective = OBJECTIVES["critic"](networks, settings)
    optimiser = torch.optim.Adam(networks["critic"].parameters(), 3e-3)
    rng = torch.Generator().manual_seed(0)

    def pairs(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
        level = torch.rand(batch, 1, 1, 1, generator=rng)
        shape = (batch, tiny.CHANNELS, tiny.KEYS, tiny.FRAMES)
        return tuple(level * (0.8 + 0.2 * torch.rand(shape, generator=rng)) for _ in range(2))  # type: ignore[return-value]

    first = last = 0.0
    for step in range(80):
        question, answer = pairs(12)
        context = StepContext(2 * step, 0.5, torch.Generator().manual_seed(step), {"question": question})
        loss = objective.losses("critic", answer, context).losses["critic_mismatch"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        first, last = (loss.item() if step == 0 else first), loss.item()
    assert last < 0.75 * first
    question, answer = pairs(40)
    critic: Any = networks["critic"].eval()
    right = critic(answer, None, per_sample=True, question=question).logits["roll"]
    wrong = critic(answer, None, per_sample=True, question=question.roll(1, 0)).logits["roll"]
    assert (right > wrong).float().mean() > 0.7


# -- data -----------------------------------------------------------------------------------------------------


def ramp(path: Path, starts: list[float] | None) -> Path:
    """A song of three pairs whose loudness says the frame: frame n of the song is (n + 1) / 200."""
    frames = tiny.FRAMES
    long = np.broadcast_to((np.arange(6 * frames) + 1) / 200, (tiny.CHANNELS, tiny.KEYS, 6 * frames))
    blocks = long.reshape(tiny.CHANNELS, tiny.KEYS, 3, 2, frames).transpose(2, 3, 0, 1, 4)
    order = [0, 1, 2] if starts is None else np.argsort(np.argsort(starts))
    with store.write(str(path), tiny.HEADER) as writer:
        song = store.Song(title="Ramp", split="train", level=0.1, starts=tuple(starts or ()))
        names = ("pairs", "part", "channels", "keys", "frames")
        writer.add(np.ascontiguousarray(blocks[order], np.float16), names, song)
    return path


@pytest.mark.parametrize("starts", [None, [0.96, 0.0, 1.92]], ids=["as they come", "shuffled"])
def test_crops_of_pairs_run_over_the_song(starts: list[float] | None, tmp_path: Path) -> None:
    reader = store.open_reader(str(ramp(tmp_path / "k", starts)), ("keys",))
    crop = AugmentSettings(crop=True, swap_channels=False, transpose_keys=0)
    data = RollDataset(reader, "train", crop, needs=("question",))
    assert len(data) == 3
    frames, begins = tiny.FRAMES, set()
    for epoch in range(30):
        for index in range(3):
            roll, given = data.example(epoch, index)
            both = np.round(np.concatenate((given["question"], roll), -1)[1, 2] ** 2 * 200).astype(int)
            np.testing.assert_array_equal(np.diff(both), 1)
            begins.add(int(both[0]) - 1)
    assert max(begins) == 4 * frames  # the last pair has none behind it
    assert len(begins) > 40


def test_pairs_that_do_not_meet_are_not_joined(tmp_path: Path) -> None:
    reader = store.open_reader(str(ramp(tmp_path / "k", [0.0, 0.97, 5.0])), ("keys",))
    assert RollDataset(reader, "train", needs=("question",)).next_pairs == {}


def test_questions_are_silent_now_and_then(tmp_path: Path) -> None:
    path = tiny.write_keys(tmp_path / "k", songs=2, validation=0)
    reader = store.open_reader(str(path), ("keys",))
    often = RollDataset(reader, "train", AugmentSettings(silent_question=0.4), needs=("question",))
    never = RollDataset(reader, "train", NO_AUGMENT, needs=("question",))
    silent = [not often.example(epoch, 1)[1]["question"].any() for epoch in range(60)]
    assert 12 < sum(silent) < 36
    assert never.example(0, 1)[1]["question"].any()
    whole = compress(reader.block("000001", 1)[0].astype(np.float32))
    np.testing.assert_array_equal(never.example(0, 1)[1]["question"], whole[0])
    np.testing.assert_array_equal(never.example(0, 1)[0], whole[1])


def test_silent_questions_are_for_families_that_hear_them() -> None:
    assert tiny.settings("answer").augment.silent_question == 0.3
    with pytest.raises(SettingsError, match="takes no call"):
        tiny.settings(augment={"silent_question": 0.1})
    with pytest.raises(SettingsError, match="silent_question"):
        tiny.settings("answer", augment={"silent_question": 1.5})


def test_epochs_before_the_game_go_to_rolls_and_flow_alike() -> None:
    shares = configure("answer", {"epochs": 74, "pretrain_epochs": 68, "critic_epochs": 2}).stage_epochs()
    assert shares == {"variational": 33, "prior": 33, "critic": 2, "adversarial": 6}
