// The blind mode: a real and a drawn excerpt, by ear, in an order that nobody knows, and a tally.

class Blind {
  constructor(rounds, shared) {
    this.rounds = rounds;
    this.shared = shared;
    this.stage = element("div");
    this.rolls = element("input", { type: "checkbox", id: "blind-rolls" });
    this.rolls.addEventListener("change", () => this.players.forEach((player) => this.uncover(player)));
    this.tally = element("p", { class: "tally", role: "status" });
    this.panel = element("div", { class: "blind" },
      element("p", {}, "One of each two is an excerpt of a real song, the other was drawn. Both went through the same ",
        "oscillators and are equally loud, and none of them is heard elsewhere on this page."),
      element("p", {}, element("label", { for: "blind-rolls" }, this.rolls, " Show the rolls while listening")),
      this.stage, this.tally);
    this.restart();
  }

  restart() {
    this.order = shuffled(this.rounds.map((round) => {
      const swap = coin();
      return { pieces: swap ? [...round.pieces].reverse() : round.pieces, real: swap ? 1 - round.real : round.real };
    }));
    this.index = this.right = this.answered = 0;
    this.tell("");
    this.play();
  }

  play() {
    this.players?.forEach((player) => player.leave());
    this.open = true;
    this.players = this.order[this.index].pieces.map((piece, i) => new Player(piece, this.shared, "AB"[i]));
    this.players.forEach((player) => this.uncover(player));
    this.answers = this.players.map((player, i) => {
      const button = element("button", { type: "button" }, `${player.title} is real`);
      button.addEventListener("click", () => this.answer(i));
      return button;
    });
    this.next = element("div", { class: "next" });
    this.stage.replaceChildren(
      element("h3", { tabindex: "-1" }, `Round ${this.index + 1} of ${this.order.length}`),
      element("div", { class: "pair" }, ...this.players.map((player, i) =>
        element("div", {}, player.figure, this.answers[i]))), this.next);
  }

  uncover(player) {
    player.drawRoll(this.rolls.checked || !this.open);
  }

  answer(chosen) {
    const { pieces, real } = this.order[this.index];
    const right = chosen === real;
    this.open = false;
    this.answered += 1;
    this.right += right;
    this.players.forEach((player, i) => {
      player.call(`${"AB"[i]}: ${pieces[i].title}`, i === real ? `real, ${pieces[i].note}` : "drawn");
      player.figure.classList.add(i === real ? "real" : "drawn");
      this.uncover(player);
    });
    this.answers.forEach((button) => button.remove());
    const last = this.index === this.order.length - 1;
    const onward = element("button", { type: "button" }, last ? "Start again" : "Next round");
    onward.addEventListener("click", () => this.onward(last));
    this.next.replaceChildren(onward);
    this.tell(`${right ? "Right" : "Wrong"}: ${"AB"[real]} is real. `);
    onward.focus();
  }

  onward(last) {
    if (last) return this.restart();
    this.index += 1;
    this.play();
    this.stage.querySelector("h3").focus();
  }

  tell(verdict) {
    const luck = chance(this.right, this.answered);
    if (!this.answered) return this.tally.replaceChildren("No answer yet.");
    return this.tally.replaceChildren(verdict, element("b", {}, `${this.right} of ${this.answered} right`),
      `. Who only guesses does as well or better in ${Math.round(100 * luck)} of 100 cases.`);
  }
}

// The chance of at least `right` heads in `all` tosses.
function chance(right, all) {
  let sum = 0, ways = 1;
  for (let heads = 0; heads <= all; heads++) {
    if (heads >= right) sum += ways;
    ways = ways * (all - heads) / (heads + 1);
  }
  return sum / 2 ** all;
}

function coin() {
  return crypto.getRandomValues(new Uint8Array(1))[0] < 128;
}

function shuffled(list) {
  const keys = crypto.getRandomValues(new Uint32Array(list.length));
  return list.map((value, i) => [keys[i], value]).sort((a, b) => a[0] - b[0]).map(([, value]) => value);
}
