// A player: the roll, a cursor that moves with the sound, a button. One plays at a time.

const ROLL = { left: 40, keyboard: 9, bottom: 18 };
const RAMPS = { // even in lightness, so they read in print and to the colour-blind
  dark: ["#0b0b14", "#35195f", "#7f2a80", "#c8406f", "#f4795a", "#fdbf7a", "#fdfbc8"],
  light: ["#ffffff", "#fde4c3", "#f9b08a", "#e86a6f", "#b0357b", "#642076", "#1d0d42"],
};
const HUES = { // of layers other than notes: from soft to loud, on either ground
  drums: { dark: ["#0b0b14", "#0b4a3c", "#12987b", "#8ff0d4"], light: ["#ffffff", "#a9e3d2", "#149575", "#044534"] },
  piano: { dark: ["#0b0b14", "#123a66", "#2f86d6", "#b9dcff"], light: ["#ffffff", "#b5d3f2", "#2c78c4", "#0b2f57"] },
  guitar: { dark: ["#0b0b14", "#5a3208", "#d9822b", "#ffdfb5"], light: ["#ffffff", "#f8d2a4", "#d47513", "#5e2f00"] },
  bass: { dark: ["#0b0b14", "#3d2a66", "#8d6bd8", "#ddd0ff"], light: ["#ffffff", "#d5c8f3", "#7450c4", "#2d1668"] },
  strings: { dark: ["#0b0b14", "#5f1740", "#d24a92", "#ffc6e2"], light: ["#ffffff", "#f5bfda", "#c53480", "#5a0c38"] },
};
const PLAY = "M4 2.5v11l9.5-5.5z", PAUSE = "M4 2.5h3v11H4zM9 2.5h3v11H9z";
const SEEK_SECONDS = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -5, PageUp: 5 };
const rolls = new Set(); // those on the page, to be drawn again when the theme changes

function ramp(theme, layer) {
  const stops = (HUES[layer]?.[theme] ?? RAMPS[theme]).map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  return Array.from({ length: 256 }, (_, level) => {
    const place = level / 255 * (stops.length - 1), index = Math.min(Math.floor(place), stops.length - 2);
    return stops[index].map((from, i) => from + (stops[index + 1][i] - from) * (place - index));
  });
}

class Roll {
  constructor(piece, shared) {
    this.shared = shared;
    this.beats = piece.beats ?? [];
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.shown = true;
    this.images = piece.rolls.map((png) => fill(new Image(), { src: `data:image/png;base64,${png}` }, []));
    Promise.all(this.images.map((image) => image.decode())).then(() => this.read());
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.canvas);
    rolls.add(this);
  }

  leave() {
    this.observer.disconnect();
    rolls.delete(this);
  }

  read() {
    const { naturalWidth: width, naturalHeight: height } = this.images[0];
    this.pixels = this.images.map((image) => {
      const context = fill(document.createElement("canvas"), { width, height }, []).getContext("2d");
      context.drawImage(image, 0, 0);
      return context.getImageData(0, 0, width, height);
    });
    this.draw();
  }

  coloured() {
    const { width, height } = this.pixels[0];
    const layers = this.pixels.map((pixels) => pixels.data);
    const colours = this.shared.layers.map((name) => ramp(darkTheme.matches ? "dark" : "light", name));
    const picture = new ImageData(width, height);
    for (let i = 0; i < picture.data.length; i += 4) { // of each cell the loudest layer shows
      let loudest = 0;
      for (let layer = 1; layer < layers.length; layer++) if (layers[layer][i] > layers[loudest][i]) loudest = layer;
      picture.data.set([...colours[loudest][layers[loudest][i]], 255], i);
    }
    const canvas = fill(document.createElement("canvas"), { width, height }, []);
    canvas.getContext("2d").putImageData(picture, 0, 0);
    return canvas;
  }

  draw() {
    const width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    if (!this.pixels || !width) return;
    const density = devicePixelRatio || 1;
    fill(this.canvas, { width: Math.round(width * density), height: Math.round(height * density) }, []);
    const context = this.canvas.getContext("2d"), style = getComputedStyle(this.canvas);
    const [ink, line] = [style.color, style.getPropertyValue("--line")];
    const area = { left: ROLL.left, width: width - ROLL.left, height: height - ROLL.bottom };
    context.scale(density, density);
    context.font = "11px system-ui, sans-serif";
    if (this.shown) {
      context.imageSmoothingEnabled = false;
      context.drawImage(this.coloured(), area.left, 0, area.width, area.height);
    } else {
      context.fillStyle = style.getPropertyValue("--soft");
      context.fillRect(area.left, 0, area.width, area.height);
    }
    if (this.shown) this.keys(context, area, ink, line);
    if (this.shown) this.lines(context, area, style.getPropertyValue("--beat"));
    this.time(context, area, ink, line);
  }

  // The keyboard at the side, and the names of the Cs.
  keys(context, area, ink, line) {
    const names = this.shared.keys, tall = area.height / names.length;
    context.fillStyle = "#f4f4f4";
    context.fillRect(area.left - ROLL.keyboard - 2, 0, ROLL.keyboard, area.height);
    names.forEach((name, index) => {
      const top = area.height - (index + 1) * tall;
      context.fillStyle = "#3a3a40";
      if (name.includes("#")) context.fillRect(area.left - ROLL.keyboard - 2, top, 0.6 * ROLL.keyboard, tall);
      if (!/^C\d/.test(name)) return;
      context.fillStyle = line;
      context.fillRect(area.left - ROLL.keyboard - 2, top + tall - 0.5, area.width + ROLL.keyboard + 2, 0.5);
      context.fillStyle = ink;
      context.textAlign = "right";
      context.fillText(name, area.left - ROLL.keyboard - 6, between(9, top + tall / 2 + 4, area.height));
    });
    context.strokeStyle = line;
    context.strokeRect(area.left - ROLL.keyboard - 2, 0.5, ROLL.keyboard, area.height - 1);
  }

  // Thin lines at beats, stronger ones where bars begin.
  lines(context, area, colour) {
    context.fillStyle = colour;
    for (const [second, isBar] of this.beats) {
      context.globalAlpha = isBar ? 0.75 : 0.25;
      context.fillRect(area.left + second / this.shared.seconds * area.width, 0, isBar ? 1.25 : 0.75, area.height);
    }
    context.globalAlpha = 1;
  }

  time(context, area, ink, line) {
    const seconds = this.shared.seconds, marks = ticks(0, seconds, Math.max(area.width / 70, 2));
    for (const mark of marks) {
      const x = area.left + mark / seconds * area.width;
      context.fillStyle = line;
      context.fillRect(between(area.left, x - 0.5, area.left + area.width - 1), area.height, 1, 4);
      context.fillStyle = ink;
      context.textAlign = mark === 0 ? "left" : x > area.left + area.width - 12 ? "right" : "center";
      context.fillText(mark === 0 ? "0 s" : number(mark), x, area.height + 15);
    }
  }
}

class Player {
  constructor(piece, shared, title, note) {
    this.seconds = shared.seconds;
    this.roll = new Roll(piece, shared);
    this.sound = element("audio", { preload: "none", src: `data:audio/mpeg;base64,${piece.sound}` });
    this.cursor = element("div", { class: "cursor" });
    this.bar = element("div", { class: "roll", role: "slider", tabindex: "0", "aria-valuemin": "0",
      "aria-valuemax": this.seconds, "aria-orientation": "horizontal" }, this.roll.canvas, this.cursor);
    this.icon = shape("path", { d: PLAY });
    this.button = element("button", { type: "button", class: "play" },
      shape("svg", { viewBox: "0 0 16 16", "aria-hidden": "true" }, this.icon));
    this.clock = element("span", { class: "clock" });
    this.name = element("span", { class: "title" });
    this.note = element("span", { class: "note" });
    this.figure = element("figure", { class: "player" }, this.bar,
      element("figcaption", {}, this.button, element("span", { class: "words" }, this.name, this.note), this.clock),
      this.sound);
    this.call(title, note);
    this.listen();
    this.show();
  }

  // Links that save the piece: not in the blind mode, where names would tell.
  offer(piece) {
    const name = this.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "piece";
    const link = (words, kind, ending, data) => data ? element("a", { href: `data:${kind};base64,${data}`,
      download: `${name}.${ending}`, "aria-label": `Save ${this.title} as ${words}` }, words) : null;
    this.figure.append(element("p", { class: "save" }, "Save: ", link("MP3", "audio/mpeg", "mp3", piece.sound), " ",
      link("MIDI", "audio/midi", "mid", piece.midi)));
    return this;
  }

  call(title, note = "") {
    this.title = title;
    this.name.textContent = title;
    this.note.textContent = note;
    this.bar.setAttribute("aria-label", `Position in ${title}`);
    this.label();
  }

  label() {
    this.button.setAttribute("aria-label", `${this.sound.paused ? "Play" : "Pause"} ${this.title}`);
  }

  listen() {
    this.button.addEventListener("click", () => this.toggle());
    this.figure.addEventListener("keydown", (event) => this.press(event));
    this.bar.addEventListener("pointerdown", (event) => {
      this.bar.setPointerCapture(event.pointerId);
      if (event.pointerType !== "touch") this.seekTo(event); // a finger may be about to scroll
    });
    this.bar.addEventListener("click", (event) => this.seekTo(event));
    this.bar.addEventListener("pointermove", (event) => {
      if (this.bar.hasPointerCapture(event.pointerId)) this.seekTo(event);
    });
    for (const name of ["play", "pause", "ended"]) this.sound.addEventListener(name, () => this.changed());
    this.sound.addEventListener("seeked", () => this.show());
    this.sound.addEventListener("error", () => {
      this.note.textContent = "this browser cannot play MP3";
    });
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in SEEK_SECONDS) this.seek(this.sound.currentTime + SEEK_SECONDS[event.key]);
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.seconds);
    else if ([" ", "Enter"].includes(event.key) && event.target === this.bar) this.toggle();
    else return; // space on the button is the button's own
    event.preventDefault();
  }

  toggle() {
    if (!this.sound.paused) return this.sound.pause();
    if (this.sound.ended || this.sound.currentTime >= this.seconds) this.seek(0);
    for (const other of document.querySelectorAll("audio")) if (other !== this.sound) other.pause();
    return this.sound.play().catch(() => {}); // stopped before it began, or the error event says why not
  }

  seekTo(event) {
    const box = this.bar.getBoundingClientRect();
    this.seek((event.clientX - box.left - ROLL.left) / (box.width - ROLL.left) * this.seconds);
  }

  seek(seconds) {
    this.sound.currentTime = between(0, seconds, this.seconds);
    this.show();
  }

  changed() {
    this.icon.setAttribute("d", this.sound.paused ? PLAY : PAUSE);
    this.figure.classList.toggle("playing", !this.sound.paused);
    this.label();
    this.follow();
  }

  follow() {
    this.show();
    if (!this.sound.paused) requestAnimationFrame(() => this.follow());
  }

  show() {
    const now = between(0, this.sound.currentTime, this.seconds);
    const share = now / this.seconds;
    this.cursor.style.left = `calc(${ROLL.left}px + (100% - ${ROLL.left}px) * ${share})`;
    this.clock.textContent = `${tenths(now)} / ${tenths(this.seconds)}`;
    const second = Math.floor(now);
    if (second === this.second && !this.sound.paused) return; // a screen reader would say every frame
    this.second = second;
    this.bar.setAttribute("aria-valuenow", now.toFixed(1));
    this.bar.setAttribute("aria-valuetext", `${now.toFixed(1)} of ${this.seconds} seconds`);
  }

  drawRoll(shown) {
    this.roll.shown = shown;
    this.bar.classList.toggle("covered", !shown);
    this.roll.draw();
  }

  leave() {
    this.sound.pause();
    this.roll.leave();
  }
}

darkTheme.addEventListener("change", () => rolls.forEach((roll) => roll.draw()));
