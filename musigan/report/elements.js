// Elements, numbers and the theme. Text always goes in as text: nothing of the content is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";
const darkTheme = matchMedia("(prefers-color-scheme: dark)");

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function shape(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

const four = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

function number(value) {
  return value === null || value === undefined ? "none" : four.format(value).replace("-", "−");
}

// Ticks of an upright axis: about four, and at least three where fewer steps leave one or two.
function rowTicks(low, high) {
  let found = [];
  for (let count = 4; count < 10 && found.length < 3; count++) found = ticks(low, high, count);
  return found;
}

// Labels of an axis, with as many digits as its round ticks have: 0.77, 0.775, 0.78.
function labels(values) {
  const digits = [2, 3, 4, 5, 6, 7].find((count) =>
    values.every((value) => Math.abs(value - value.toPrecision(count)) <= 1e-9 * Math.abs(value))) ?? 8;
  const format = new Intl.NumberFormat("en", { maximumSignificantDigits: digits, notation: "compact" });
  return values.map((value) => format.format(value).replace("-", "−"));
}

function tenths(seconds) {
  return `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;
}

function between(low, value, high) {
  return Math.min(Math.max(value, low), high);
}

// Round steps of 1, 2 or 5 times a power of ten: at most `count` ticks in [low, high].
function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9));
  const found = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index++) found.push(index * step + 0); // -0 + 0 is 0
  return found;
}

// One table, in a box that scrolls by itself and can be reached by keyboard.
function table(label, head, rows) {
  const cell = (value) => element("td", typeof value === "number" ? { class: "number" } : {},
    typeof value === "number" ? number(value) : value ?? "–");
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label },
    element("table", {},
      element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col" }, name)))),
      element("tbody", {}, ...rows.map(([first, ...rest]) =>
        element("tr", {}, element("th", { scope: "row" }, String(first)), ...rest.map(cell))))));
}

// A table that is made when it is first asked for: hundreds of epochs in dozens of charts are many cells.
function tableOnDemand(summary, make) {
  const details = element("details", {}, element("summary", {}, summary));
  details.addEventListener("toggle", () => {
    if (details.open && details.childElementCount === 1) details.append(make());
  });
  return details;
}

// A command to copy, which breaks between words alone.
function command(line) {
  return element("code", {}, ...unbroken(line));
}

// Words that are not broken at their dashes: --evaluate-every.
function unbroken(line) {
  return line.split(" ").flatMap((word, index) => [index ? " " : "", element("span", { class: "word" }, word)]);
}

function facts(list, rows) {
  for (const [name, value] of rows) list.append(element("div", {}, element("dt", {}, name), element("dd", {}, value)));
  return list;
}
