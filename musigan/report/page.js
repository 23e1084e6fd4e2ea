// Puts the content into the sections of the page.

const content = JSON.parse(document.getElementById("content").textContent);

function section(id, ...children) {
  document.getElementById(id).append(...children.filter(Boolean));
}

function notice(text, line) {
  return element("p", { class: "notice" }, ...unbroken(text), line ? command(line) : null);
}

function head() {
  document.getElementById("name").textContent = content.name;
  document.getElementById("version").textContent = `musigan ${content.version}`;
  facts(document.getElementById("run"), content.run);
  const verdict = content.verdict || `not measured: ${content.notMeasured || "nothing is known of how good it is"}.`;
  const [word, ...rest] = verdict.split(":");
  const place = document.getElementById("verdict");
  place.hidden = false;
  place.append(...(rest.length ? [element("b", {}, `${word}:`), ...unbroken(rest.join(":"))] : [verdict]));
}

function listen() {
  const music = content.music;
  const column = (title, about, pieces) => pieces.length
    ? element("div", {}, element("h3", {}, title), element("p", { class: "about" }, about),
      ...pieces.map((piece) => new Player(piece, music, piece.title, piece.note).offer(piece).figure))
    : null;
  section("listen",
    element("p", {}, "Space plays and pauses, arrows move by a second; a click on a roll goes there."),
    music.layers.length > 1 ? element("p", {}, "Colours: ", ...music.layers.flatMap((name) =>
      [element("span", { class: `layer ${name}` }, name), " "])) : null,
    element("div", { class: "columns" },
      ...[music.turned ? column(`To ${music.turned}`, "What the songs beside became.", music.best)
        : music.critic ? column("Best", `The critic's first of ${music.of} drawn pieces.`, music.best)
          : column("Drawn", music.untaught ? "As they come: the critic was not taught yet, and cannot choose."
            : "As they come: this model has no critic to choose by.", music.best),
        column("Worst", `Its last of the same ${music.of}.`, music.worst),
        column("Real", music.heldOut ? "Songs held back from training." : "None of these songs was held back from training.",
          music.real)].filter(Boolean)),
    music.real.length ? null : notice("There is no real music here to compare with. To add some: ",
      content.withReal));
}

function blind() {
  section("blind", content.blind.length ? new Blind(content.blind, content.music).panel
    : content.music.turned ? notice("Songs that were turned stand beside what they were: there is nothing to guess.")
    : content.music.real.length ? notice("There are no rounds: --rounds asks for some, and each needs an excerpt of its own.")
      : notice("This needs real music on the page: ", content.withReal));
}

function metrics() {
  const all = content.metrics;
  if (!all.length) {
    return section("metrics", notice(`This run was not measured as it went: ${content.notMeasured}. `
      + "To measure it now: ", content.toMeasure));
  }
  const isKnown = (metric) => metric.series[0].points.some(([, value]) => value !== null);
  const unknown = all.filter((metric) => !isKnown(metric)).map((metric) => metric.name);
  const rows = [...new Set(all.flatMap((metric) => metric.lines.map((line) => line.name)))];
  const latest = all.map((metric) => [metric.name, metric.series[0].points.at(-1)?.[1] ?? null,
    ...rows.map((row) => metric.lines.find((line) => line.name === row)?.value ?? null)]);
  return section("metrics",
    element("p", {}, "How near drawn music is to held-out music, by epoch. ",
      element("span", { class: "key floor" }, " floor "), " is real training music against the same: as near as music of ",
      "this collection comes. The other lines are baselines that a good metric must tell from music."),
    charts(all.filter(isKnown), content.stages),
    unknown.length ? element("p", {}, `Not known of so few samples: ${unknown.join("; ")}.`) : null,
    element("details", {}, element("summary", {}, "Latest values"),
      table("Latest metrics", ["metric", "samples", ...rows], latest)));
}

function losses() {
  const all = content.losses;
  if (!all.length) return section("losses", notice("No epoch has been finished yet: there are no curves."));
  const names = content.stages.map((stage) => stage.name);
  return section("losses",
    element("p", {}, element("span", { class: "key first" }, " training "), " ",
      element("span", { class: "key second" }, " validation "),
      " by epoch of the whole run; shades mark the stages. Arrow keys read a chart that has the focus."),
    charts(all.sort((a, b) => names.indexOf(a.stage) - names.indexOf(b.stage)), content.stages));
}

function data() {
  const { given, same, rows, genres, songs } = content.data;
  const most = Math.max(...genres.map(([, count]) => count), 1);
  section("data",
    given ? null : notice("Songs and genres are in the keys store. To list them: ",
      content.withReal),
    same === false ? notice("This is not the very store that the run was trained on" +
      (content.music.heldOut ? ": the run may have learned from songs that are held back here." : ".")) : null,
    facts(element("dl", { class: "facts" }), rows),
    genres.length > 1 ? element("h3", {}, "Genres") : null,
    genres.length > 1 ? element("ul", { class: "bars" }, ...genres.map(([name, count]) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = `${100 * count / most}%`;
      return element("li", {}, element("span", {}, name), element("span", { class: "track" }, bar), String(count));
    })) : null,
    songs.length ? tableOnDemand(`All ${songs.length} songs`, () =>
      table("Songs", ["title", "artist", "genre", "year", "length", "for"], songs)) : null);
}

function settings() {
  section("settings", element("div", { class: "groups" }, ...content.settings.map((group) =>
    element("div", {}, element("h3", {}, group.name), facts(element("dl", { class: "rows" }), group.rows)))));
}

for (const part of [head, listen, blind, metrics, losses, data, settings]) part();
