// Line charts by epoch, drawn as SVG: read by pointer, by arrow keys, and as a table.

const MARGIN = { top: 18, right: 12, bottom: 22, left: 44 };
const LABEL_PIXELS = 13;
const LOG_FROM = 20; // a range of more than this ratio is drawn on a logarithmic axis
const STEPS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };

class Chart {
  constructor(content, stages) {
    this.content = content;
    this.lines = content.lines ?? [];
    this.epochs = [...new Set(content.series.flatMap((one) => one.points.map(([epoch]) => epoch)))].sort((a, b) => a - b);
    this.stages = stages.filter((stage) => stage.last >= this.epochs[0] && stage.first <= this.epochs.at(-1));
    this.values = content.series.map((one) => new Map(one.points));
    this.index = this.epochs.length - 1;
    const known = [...this.values.flatMap((map) => [...map.values()]), ...this.lines.map((line) => line.value)]
      .filter((value) => value !== null);
    const low = Math.min(...known), high = Math.max(...known);
    this.log = low > 0 && high / low > LOG_FROM;
    [this.low, this.high] = known.length ? this.padded(low, high) : [0, 1];
    this.build();
  }

  padded(low, high) {
    if (this.log) return [low / 1.15, high * 1.15];
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low >= 0 ? Math.max(low - room, 0) : low - room, high + room];
  }

  build() {
    const { name, about, series } = this.content;
    this.readout = element("p", { class: "readout" });
    this.place = element("span", { class: "place" });
    this.picture = shape("svg", {
      tabindex: "0", role: "slider", "aria-label": `${name} by epoch`, "aria-orientation": "horizontal",
      "aria-valuemin": this.epochs[0], "aria-valuemax": this.epochs.at(-1),
    });
    const columns = [...series.map((one) => one.name), ...this.lines.map((line) => line.name)];
    this.figure = element("figure", { class: "chart" },
      element("figcaption", {}, this.place, element("h4", {}, name), this.log ? element("span", { class: "tag" }, "log scale") : null,
        about ? element("p", {}, about) : null),
      this.readout, this.picture,
      tableOnDemand("Values", () => table(`${name}, values`, ["epoch", ...columns], this.epochs.map((epoch) =>
        [epoch, ...this.values.map((map) => map.get(epoch)), ...this.lines.map((line) => line.value)]))));
    this.picture.addEventListener("pointermove", (event) => this.point(event));
    this.picture.addEventListener("pointerdown", (event) => this.point(event));
    this.picture.addEventListener("pointerleave", () => this.select(this.epochs.length - 1));
    this.picture.addEventListener("keydown", (event) => this.press(event));
    new ResizeObserver(() => this.draw()).observe(this.figure);
  }

  point(event) {
    const epoch = this.epochAt(event.clientX - this.picture.getBoundingClientRect().left);
    const distances = this.epochs.map((each) => Math.abs(each - epoch));
    this.select(distances.indexOf(Math.min(...distances)));
  }

  press(event) {
    const ends = { Home: 0, End: this.epochs.length - 1 };
    if (event.key in STEPS) this.select(between(0, this.index + STEPS[event.key], this.epochs.length - 1));
    else if (event.key in ends) this.select(ends[event.key]);
    else return;
    event.preventDefault();
  }

  x(epoch) {
    const first = this.epochs[0], last = this.epochs.at(-1);
    return first === last ? (MARGIN.left + this.right) / 2
      : MARGIN.left + (epoch - first) / (last - first) * (this.right - MARGIN.left);
  }

  epochAt(x) {
    const first = this.epochs[0], last = this.epochs.at(-1);
    return first + (x - MARGIN.left) / (this.right - MARGIN.left) * (last - first);
  }

  y(value) {
    const scale = this.log ? Math.log : (each) => each;
    const share = (scale(value) - scale(this.low)) / (scale(this.high) - scale(this.low));
    return this.bottom - share * (this.bottom - MARGIN.top);
  }

  draw() {
    const width = this.picture.getBoundingClientRect().width;
    if (!width || width === this.width) return;
    this.width = width;
    const longest = Math.max(0, ...this.lines.map((line) => line.name.length));
    const labels = this.lines.length ? Math.min(longest * 6.3 + 16, width * 0.4) : 0;
    const height = Math.max(this.lines.length ? 220 : 170, (this.lines.length + 2) * LABEL_PIXELS + MARGIN.top + MARGIN.bottom);
    this.right = width - MARGIN.right - labels;
    this.bottom = height - MARGIN.bottom;
    fill(this.picture, { viewBox: `0 0 ${width} ${height}`, height }, []);
    this.cross = shape("g", { class: "cross" });
    this.picture.replaceChildren(...this.bands(), ...this.axes(), ...this.levels(), ...this.curves(), this.cross);
    this.select(this.index);
  }

  bands() {
    return this.stages.flatMap((stage, index) => {
      const left = this.x(between(this.epochs[0], stage.first - 0.5, this.epochs.at(-1)));
      const right = this.x(between(this.epochs[0], stage.last + 0.5, this.epochs.at(-1)));
      const fits = right - left > stage.name.length * 6;
      return [
        shape("rect", { class: index % 2 ? "band odd" : "band", x: left, y: 0, width: Math.max(right - left, 0),
          height: this.bottom }, shape("title", {}, `stage ${stage.name}`)),
        index ? shape("line", { class: "border", x1: left, x2: left, y1: 0, y2: this.bottom }) : null,
        fits ? shape("text", { class: "stage", x: left + 4, y: 11 }, stage.name) : null,
      ].filter(Boolean);
    });
  }

  axes() {
    const first = this.epochs[0], last = this.epochs.at(-1);
    const columns = first === last ? [first]
      : ticks(first, last, Math.max((this.right - MARGIN.left) / 48, 2)).filter(Number.isInteger);
    const rows = this.rows(), names = labels(rows);
    return [
      ...rows.flatMap((value, index) => [
        shape("line", { class: "grid", x1: MARGIN.left, x2: this.right, y1: this.y(value), y2: this.y(value) }),
        shape("text", { class: "tick", x: MARGIN.left - 6, y: this.y(value) + 4, "text-anchor": "end" }, names[index]),
      ]),
      ...columns.map((epoch) => shape("text", { class: "tick", x: this.x(epoch), y: this.bottom + 15,
        "text-anchor": epoch === last ? "end" : "middle" }, epoch)),
    ];
  }

  rows() {
    if (!this.log) return rowTicks(this.low, this.high);
    const steps = this.high / this.low > 2000 ? [1] : [1, 2, 5], found = [];
    for (let power = Math.floor(Math.log10(this.low)); 10 ** power <= this.high; power++) {
      found.push(...steps.map((step) => step * 10 ** power));
    }
    return found.filter((value) => value >= this.low && value <= this.high);
  }

  // Floor and baselines: a line each, its name at the end, names pushed apart where they would meet.
  levels() {
    const sorted = this.lines.map((line) => ({ ...line, y: this.y(line.value) })).sort((a, b) => a.y - b.y);
    const places = sorted.map((line) => line.y);
    const low = this.bottom - 4;
    for (let i = 0; i < places.length; i++) places[i] = Math.max(places[i], i ? places[i - 1] + LABEL_PIXELS : MARGIN.top);
    for (let i = places.length - 1; i >= 0; i--) {
      places[i] = Math.min(places[i], i < places.length - 1 ? places[i + 1] - LABEL_PIXELS : low);
    }
    return sorted.flatMap((line, i) => {
      const kind = line.name === "floor" ? "level floor" : "level";
      const path = `M${MARGIN.left} ${line.y}H${this.right}L${this.right + 8} ${places[i]}`;
      const most = Math.max(Math.floor((this.width - this.right - 13) / 6.3), 3); // letters that there is room for
      const words = line.name.length > most ? `${line.name.slice(0, most - 1)}…` : line.name;
      return [shape("path", { class: kind, d: path }),
        shape("text", { class: kind, x: this.right + 11, y: places[i] + 4 }, words,
          shape("title", {}, `${line.name}: ${number(line.value)}`))];
    });
  }

  curves() {
    return this.content.series.flatMap((one, index) => {
      let path = "", drawing = false, before = -Infinity;
      const dots = [], gaps = one.points.slice(1).map(([epoch], i) => epoch - one.points[i][0]).sort((a, b) => a - b);
      const longest = 2.5 * (gaps[gaps.length >> 1] ?? 1); // a curve does not run through a stage that had no such figure
      for (const [epoch, value] of one.points) {
        drawing &&= epoch - before <= longest;
        before = epoch;
        if (value !== null) {
          path += `${drawing ? "L" : "M"}${this.x(epoch).toFixed(1)} ${this.y(value).toFixed(1)}`;
          if (one.points.length <= 40) dots.push(shape("circle", { class: `dot ${this.kind(index)}`, r: 2.5,
            cx: this.x(epoch), cy: this.y(value) }));
        }
        drawing = value !== null;
      }
      return [shape("path", { class: `curve ${this.kind(index)}`, d: path }), ...dots];
    });
  }

  kind(index) {
    return this.content.series[index].name === "validation" ? "second" : "first";
  }

  select(index) {
    this.index = index;
    const epoch = this.epochs[index];
    const said = this.content.series.map((one, i) => [one.name, this.values[i].get(epoch), this.kind(i)])
      .filter(([, value]) => value !== undefined);
    this.place.textContent = `epoch ${epoch}`;
    this.readout.replaceChildren(...said.flatMap(([name, value, kind]) =>
      [element("span", { class: `key ${kind}` }, ` ${name} `), element("b", {}, number(value)), " "]));
    fill(this.picture, { "aria-valuenow": epoch,
      "aria-valuetext": `epoch ${epoch}: ${said.map(([name, value]) => `${name} ${number(value)}`).join(", ")}` }, []);
    if (!this.cross) return;
    this.cross.replaceChildren(
      shape("line", { x1: this.x(epoch), x2: this.x(epoch), y1: MARGIN.top, y2: this.bottom }),
      ...said.filter(([, value]) => value !== null).map(([, value, kind]) =>
        shape("circle", { class: kind, r: 3.5, cx: this.x(epoch), cy: this.y(value) })));
  }
}

function charts(all, stages) {
  const drawn = all.filter((content) => content.series.some((one) => one.points.length));
  const wide = drawn.some((content) => content.lines?.length);
  return element("div", { class: wide ? "charts wider" : "charts" }, ...drawn.map((content) => new Chart(content, stages).figure));
}
