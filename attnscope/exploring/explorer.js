// Which frame looks at which, to move through: thumbnails of all heads, one large map, the film, two stores compared.
// No dependencies. A notebook calls `render` (anywidget), a report calls `mount`; both hand over packed stores.

const ZERO = 0, MISSING = 255, LEVELS = 253;
const MOST_RATIO = 3; // a difference is shown from 1/8 to 8 times, as its logarithm to base 2
const KEYS = [
  ["← → ↑ ↓", "another head or layer; on a map, another pair of frames"],
  [", .", "step before, step after"],
  ["Home End", "mean over steps, last step"],
  ["s", "next statistic"], ["b", "next guidance branch"], ["p", "next film"],
  ["d", "which store the thumbnails show"], ["space", "play the film, or stop it"], ["t", "light or dark"], ["Esc", "let go of the pair of frames"],
];

const limit = (value, low, high) => Math.min(high, Math.max(low, value));
const colourTable = (text) => Uint32Array.from({ length: 256 }, (_, place) => {
  const [red, green, blue] = [0, 1, 2].map((part) => text.charCodeAt(3 * place + part));
  return (255 << 24) | (blue << 16) | (green << 8) | red;
});

function element(tag, { attributes = {}, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

// One packed store: labels, and per map 256 levels of the logarithm between its own smallest and largest share.
class Store {
  constructor(index, buffer) {
    this.index = index;
    this.numFrames = index.frames.length;
    this.area = this.numFrames ** 2;
    const part = (Kind, { offset, length }) => new Kind(buffer, offset, length);
    this.codes = part(Uint8Array, index.parts.codes);
    this.ranges = part(Float32Array, index.parts.ranges);
    this.values = part(Float32Array, index.parts.statistics);
    this.numMaps = this.ranges.length / 2;
    this.means = new Map();
  }

  place(at, head) {
    const { steps, branches, layers, heads } = this.index;
    return (((at.prompt * steps.length + at.step) * branches.length + at.branch) * layers.length + at.layer)
      * heads.length + head;
  }

  // natural logarithms of the shares of one map: -Infinity is 0, NaN was not recorded; the head behind the last is the mean
  logs(at, head) {
    return head < this.index.heads.length ? this.logsOf(this.place(at, head)) : this.meanLogs(at);
  }

  logsOf(place) {
    const logs = new Float32Array(this.area), start = place * this.area;
    const low = this.ranges[2 * place], slope = (this.ranges[2 * place + 1] - low) / LEVELS;
    for (let pair = 0; pair < this.area; pair += 1) {
      const code = this.codes[start + pair];
      logs[pair] = code === ZERO ? -Infinity : code === MISSING ? NaN : low + (code - 1) * slope;
    }
    return logs;
  }

  meanLogs(at) {
    const first = this.place(at, 0), known = this.means.get(first);
    if (known) return known;
    const numHeads = this.index.heads.length, sum = new Float32Array(this.area);
    for (let head = 0; head < numHeads; head += 1) {
      const logs = this.logsOf(first + head);
      for (let pair = 0; pair < this.area; pair += 1) sum[pair] += Math.exp(logs[pair]) / numHeads;
    }
    if (this.means.size > 500) this.means.clear();
    const mean = sum.map(Math.log);
    this.means.set(first, mean);
    return mean;
  }

  statistic(which, at, head) {
    if (head < this.index.heads.length) return this.values[which * this.numMaps + this.place(at, head)];
    let sum = 0;
    for (let each = 0; each < this.index.heads.length; each += 1) sum += this.statistic(which, at, each);
    return sum / this.index.heads.length;
  }

  // the places of another store's labels in this one; -1 where it lacks them
  align(other) {
    const nearest = (step) => {
      if (step.step === null) return 0;
      const apart = (mine) => Math.abs(mine.step - step.step);
      const rest = this.index.steps.map((mine) => mine.step === null ? Infinity
        : step.sigma === null || mine.sigma === null ? apart(mine) : Math.abs(mine.sigma - step.sigma) + 1e-6 * apart(mine));
      return rest.indexOf(Math.min(...rest));
    };
    this.from = {
      prompt: other.index.prompts.map((_, place) => Math.min(place, this.index.prompts.length - 1)),
      step: other.index.steps.map(nearest),
      branch: other.index.branches.map((name) => Math.max(0, this.index.branches.indexOf(name))),
      layer: other.index.layers.map((label) => this.index.layers.indexOf(label)),
      head: [...other.index.heads.map((label) => this.index.heads.indexOf(label)), this.index.heads.length],
    };
    return this;
  }

  has(at, head) {
    return this.from.layer[at.layer] >= 0 && this.from.head[head] >= 0;
  }

  translate(at) {
    const { from } = this;
    return { prompt: from.prompt[at.prompt], step: from.step[at.step], branch: from.branch[at.branch], layer: from.layer[at.layer] };
  }
}

// The film that is shown, of each store that has it, at its own speed; the row of the latent frame on the screen is marked
// in the maps.
class Player {
  constructor(explorer) {
    Object.assign(this, { explorer, frame: 0, isPlaying: false });
    this.button = element("button", { type: "button" });
    this.button.addEventListener("click", () => this.toggle());
    this.slider = element("input", { type: "range", min: 0, value: 0, attributes: { "aria-label": "video frame" } });
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    this.time = element("output");
    this.screens = explorer.stores.map((store) => {
      const canvas = element("canvas", { className: "screen", attributes: { role: "img" } });
      canvas.addEventListener("click", () => this.toggle());
      return { canvas, frame: element("figure", {}, element("figcaption", { textContent: explorer.stores.length > 1 ? store.index.name : "the film" }), canvas) };
    });
    this.root = element("div", { className: "player" },
      element("div", { className: "screens" }, ...this.screens.map(({ frame }) => frame)),
      element("div", { className: "transport" }, this.button, this.slider, this.time));
  }

  get films() {
    return this.screens.map((_, view) => this.explorer.filmOf(view));
  }

  get length() {
    return Math.max(0, ...this.films.map((film) => film?.num ?? 0));
  }

  // frames of the video in a second, which the first latent frame that is not the first says
  get rate() {
    const last = this.explorer.first.index.frames.at(-1);
    return last.start_s > 0 ? last.start / last.start_s : 1;
  }

  get latentFrame() {
    return this.explorer.first.index.frames.findIndex(({ start, stop }) => start <= this.frame && this.frame < stop);
  }

  toggle() {
    this.isPlaying = !this.isPlaying && this.length > 0;
    if (this.isPlaying) requestAnimationFrame((now) => this.run(now, now, this.frame === this.length - 1 ? 0 : this.frame));
    this.draw();
  }

  run(now, began, first) {
    if (!this.isPlaying || !this.root.isConnected) return;
    this.show((first + Math.floor((now - began) / 1000 * this.rate)) % this.length);
    requestAnimationFrame((later) => this.run(later, began, first));
  }

  show(frame) {
    if (frame === this.frame) return;
    const before = this.explorer.playhead;
    this.frame = frame;
    this.explorer.playhead = this.latentFrame;
    if (this.explorer.playhead === before) this.draw();
    else this.explorer.redraw();
  }

  draw() {
    const { films, length } = this;
    this.root.hidden = length === 0;
    this.frame = limit(this.frame, 0, Math.max(0, length - 1));
    this.slider.max = Math.max(0, length - 1);
    this.slider.value = this.frame;
    this.button.textContent = this.isPlaying ? "stop" : "play";
    this.time.textContent = `frame ${this.frame}, ${(this.frame / this.rate).toFixed(2)} s`;
    this.screens.forEach(({ canvas, frame }, view) => {
      const film = films[view];
      frame.hidden = !film;
      if (!film) return;
      const wide = Math.min(2 * film.width, 288), high = wide * film.height / film.width;
      canvas.setAttribute("aria-label", `frame ${this.frame} of the film`);
      this.explorer.drawFrame(this.explorer.sheet(canvas, Math.round(wide), Math.round(high)), film, this.frame, 0, 0, wide, high);
    });
  }
}

class Explorer {
  constructor(root, stores, { themed = root, onSelect = () => {} } = {}) {
    Object.assign(this, { root, stores, themed, onSelect, hovered: null, pair: null, playhead: null });
    this.first = stores[0];
    for (const store of stores) store.align(this.first);
    const { index } = this.first;
    this.colours = { mass: colourTable(atob(index.colours.mass)), change: colourTable(atob(index.colours.change)) };
    const scales = stores.map((store) => store.index.scale);
    this.scale = [Math.min(...scales.map(([low]) => low)), Math.max(...scales.map(([, high]) => high))];
    this.canDiffer = stores.length === 2 && stores[1].numFrames === this.first.numFrames;
    this.views = [...stores.map((_, place) => place), ...(this.canDiffer ? ["difference"] : [])];
    this.at = { prompt: 0, step: 0, branch: 0, layer: 0 };
    this.head = index.heads.length;
    this.statistic = 0;
    this.view = 0;
    this.films = stores.map((store) => store.index.prompts.map(({ film }) => film && this.openFilm(film)));
    this.build();
    this.listen();
    this.pinBest();
  }

  openFilm(film) {
    const image = new Image();
    image.addEventListener("load", () => this.redraw());
    image.src = `data:image/jpeg;base64,${film.data}`;
    return { ...film, image };
  }

  get shown() {
    return this.hovered ?? { layer: this.at.layer, head: this.head };
  }

  // ---- what is there: built once -------------------------------------------------------------------------------

  build() {
    const { index } = this.first;
    const choice = (label, names, change) => {
      const select = element("select", { attributes: { "aria-label": label } }, ...names.map((name) => element("option", { textContent: name })));
      select.addEventListener("change", () => change(select.selectedIndex));
      return { field: element("label", { hidden: names.length < 2 }, label, select), select };
    };
    this.prompts = choice("film", index.prompts.map(({ id, text, seed }) => `${id}: ${text.slice(0, 60) || "untitled"} (seed ${seed})`), (place) => this.go({ prompt: place }));
    this.branches = choice("guidance", index.branches, (place) => this.go({ branch: place }));
    this.statistics = choice("bar under each head", ["none", ...index.statistics.map(({ label }) => label)], (place) => { this.statistic = place; this.redraw(); });
    this.which = choice("thumbnails", this.views.map((view) => view === "difference" ? "difference" : this.stores[view].index.name), (place) => { this.view = place; this.redraw(); });
    this.slider = element("input", { type: "range", min: 0, max: index.steps.length - 1, value: 0, attributes: { "aria-label": "denoising step" } });
    this.slider.addEventListener("input", () => this.go({ step: Number(this.slider.value) }));
    this.stepName = element("output");
    this.theme = element("button", { type: "button", textContent: "light / dark" });
    this.theme.addEventListener("click", () => this.changeTheme());
    this.atlas = element("canvas", { className: "atlas", tabIndex: 0, attributes: { role: "application" } });
    this.maps = this.views.map((view) => {
      const canvas = element("canvas", { className: "map", tabIndex: 0, attributes: { role: "application" } });
      const name = view === "difference" ? `${this.stores[1].index.name} / ${this.stores[0].index.name}` : this.stores[view].index.name;
      return { view, canvas, name, frame: element("figure", {}, element("figcaption", { textContent: name, hidden: this.views.length === 1 }), canvas) };
    });
    this.scales = (this.canDiffer ? ["mass", "change"] : ["mass"]).map((kind) => ({ kind, canvas: element("canvas", { className: "scale" }) }));
    this.player = new Player(this);
    this.title = element("h3");
    this.readout = element("p", { className: "readout", attributes: { "aria-live": "polite" } });
    this.numbers = element("table");
    this.pictures = element("div", { className: "pictures" });
    const keys = element("details", {}, element("summary", { textContent: "keys" }), element("dl", {}, ...KEYS.flatMap(([key, does]) => [element("dt", { textContent: key }), element("dd", { textContent: does })])));
    this.root.classList.add("attnscope-explorer");
    this.root.style.setProperty("--atlas", `${30 + 43 * (index.heads.length + 1)}px`);
    this.root.replaceChildren(
      element("div", { className: "bar" }, this.prompts.field, this.branches.field,
        element("label", { className: "steps", hidden: index.steps.length < 2 }, "step", this.slider, this.stepName), this.statistics.field, this.which.field, this.theme),
      element("div", { className: "panes" },
        element("div", { className: "left" }, this.atlas, keys),
        element("div", { className: "right" }, this.title, element("div", { className: "maps" }, ...this.maps.map(({ frame }) => frame), this.player.root),
          element("div", { className: "scales" }, ...this.scales.map(({ canvas }) => canvas)), this.readout, this.pictures, this.numbers)));
    this.statistics.select.selectedIndex = this.statistic = index.statistics.length ? 1 : 0;
  }

  listen() {
    const { atlas } = this;
    atlas.addEventListener("pointermove", (event) => this.hover(this.cellUnder(event)));
    atlas.addEventListener("pointerleave", () => this.hover(null));
    atlas.addEventListener("click", (event) => { const cell = this.cellUnder(event); if (cell) this.pin(cell); });
    for (const map of this.maps) {
      map.canvas.addEventListener("pointermove", (event) => this.choosePair(this.pairUnder(map, event)));
      map.canvas.addEventListener("pointerleave", () => this.choosePair(null));
    }
    this.root.addEventListener("keydown", (event) => this.press(event));
    this.resizing = new ResizeObserver(() => this.redraw());
    this.resizing.observe(this.root);
    this.darkness = matchMedia("(prefers-color-scheme: dark)");
    this.onDark = () => this.redraw();
    this.darkness.addEventListener("change", this.onDark);
  }

  close() {
    this.player.isPlaying = false;
    this.resizing.disconnect();
    this.darkness.removeEventListener("change", this.onDark);
  }

  // ---- moving --------------------------------------------------------------------------------------------------

  pinBest() {
    const { layers, heads } = this.first.index;
    let best = { layer: 0, head: heads.length, value: -Infinity };
    for (let layer = 0; layer < layers.length && this.statistic; layer += 1)
      for (let head = 0; head < heads.length; head += 1) {
        const value = this.first.statistic(this.statistic - 1, { ...this.at, layer }, head);
        if (value > best.value) best = { layer, head, value };
      }
    this.pin(best);
  }

  go(where) {
    const { prompts, steps, branches, layers } = this.first.index;
    const next = { ...this.at, ...where };
    this.at = {
      prompt: limit(next.prompt, 0, prompts.length - 1), step: limit(next.step, 0, steps.length - 1),
      branch: limit(next.branch, 0, branches.length - 1), layer: limit(next.layer, 0, layers.length - 1),
    };
    this.redraw();
    this.notify();
  }

  pin({ layer, head }) {
    this.head = limit(head, 0, this.first.index.heads.length);
    this.hovered = null;
    this.go({ layer });
  }

  hover(cell) {
    if (cell?.layer === this.hovered?.layer && cell?.head === this.hovered?.head) return;
    this.hovered = cell;
    this.redraw();
  }

  choosePair(pair) {
    if (pair?.query === this.pair?.query && pair?.key === this.pair?.key) return;
    this.pair = pair;
    this.redraw();
    this.notify();
  }

  letGo() {
    this.playhead = null;
    this.choosePair(null);
    this.redraw();
  }

  notify() {
    const { index } = this.first, { at } = this;
    this.onSelect({
      prompt: index.prompts[at.prompt].id, step: index.steps[at.step].step, branch: index.branches[at.branch],
      layer: index.layers[at.layer], head: index.heads[this.head] ?? null,
      query_frame: this.pair?.query ?? null, key_frame: this.pair?.key ?? null,
    });
  }

  changeTheme() {
    this.themed.dataset.theme = this.style("--scheme").trim() === "dark" ? "light" : "dark";
    this.redraw();
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input")) return;
    const { index } = this.first, { at } = this, arrows = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
    const turn = (select, place) => { select.selectedIndex = (select.selectedIndex + 1) % select.length; select.dispatchEvent(new Event("change")); return place; };
    const move = arrows[event.key];
    if (move && event.target.matches(".map")) {
      const { query, key } = this.pair ?? { query: 0, key: 0 }, last = this.first.numFrames - 1;
      this.choosePair({ query: limit(query + move[0], 0, last), key: limit(key + move[1], 0, last) });
    } else if (move) this.pin({ layer: at.layer + move[0], head: this.head + move[1] });
    else if (event.key === "," || event.key === ".") this.go({ step: at.step + (event.key === "." ? 1 : -1) });
    else if (event.key === "Home" || event.key === "End") this.go({ step: event.key === "Home" ? 0 : index.steps.length - 1 });
    else if (event.key === "s") turn(this.statistics.select);
    else if (event.key === "b") turn(this.branches.select);
    else if (event.key === "p") turn(this.prompts.select);
    else if (event.key === "d") turn(this.which.select);
    else if (event.key === "t") this.changeTheme();
    else if (event.key === " ") this.player.toggle();
    else if (event.key === "Escape") this.letGo();
    else return;
    event.preventDefault();
  }

  // ---- drawing -------------------------------------------------------------------------------------------------

  style(name) {
    return getComputedStyle(this.root).getPropertyValue(name);
  }

  redraw() {
    if (!this.root.clientWidth) return;
    const { index } = this.first, { at } = this, step = index.steps[at.step];
    this.prompts.select.selectedIndex = at.prompt;
    this.branches.select.selectedIndex = at.branch;
    this.slider.value = at.step;
    this.stepName.textContent = step.step === null ? "mean over steps" : `${step.step}${step.sigma === null ? "" : ` (σ ${step.sigma.toFixed(2)})`}`;
    this.ink = { text: this.style("--ink"), muted: this.style("--muted"), line: this.style("--line"), accent: this.style("--accent"), below: this.style("--below") };
    this.drawAtlas();
    for (const map of this.maps) this.drawMap(map);
    for (const scale of this.scales) this.drawScale(scale);
    this.player.draw();
    this.say();
  }

  // the colours of one map, into pixels of an image of any stride
  paint(view, at, head, pixels, offset, stride) {
    if (view !== "difference" && head < this.first.index.heads.length && this.stores[view].has(at, head))
      return this.paintLevels(this.stores[view], this.stores[view].translate(at), this.stores[view].from.head[head], pixels, offset, stride);
    const frames = view === "difference" ? this.first.numFrames : this.stores[view].numFrames;
    const table = view === "difference" ? this.colours.change : this.colours.mass, below = view === "difference" ? 1 : ZERO;
    const logs = this.logsFor(view, at, head), [low, high] = view === "difference" ? [-MOST_RATIO * Math.LN2, MOST_RATIO * Math.LN2] : this.scale;
    for (let pair = 0, query = 0; query < frames; query += 1)
      for (let key = 0; key < frames; key += 1, pair += 1) {
        const log = logs ? logs[pair] : NaN;
        const colour = Number.isNaN(log) ? MISSING : log < low ? below : limit(1 + Math.round(LEVELS * (log - low) / (high - low)), 1, 254);
        pixels[offset + query * stride + key] = table[colour];
      }
  }

  // the same straight from the levels of one head, which are evenly spaced in the logarithm as the colours are
  paintLevels(store, at, head, pixels, offset, stride) {
    const place = store.place(at, head), frames = store.numFrames, [low, high] = this.scale, table = this.colours.mass;
    const lowest = store.ranges[2 * place], each = (store.ranges[2 * place + 1] - lowest) / (high - low);
    const start = 1.5 + LEVELS * (lowest - low) / (high - low);
    for (let pair = place * store.area, query = 0; query < frames; query += 1)
      for (let key = 0; key < frames; key += 1, pair += 1) {
        const code = store.codes[pair], colour = code === ZERO || code === MISSING ? code : start + (code - 1) * each;
        pixels[offset + query * stride + key] = table[colour < 1 ? ZERO : colour > 254 && code !== MISSING ? 254 : colour | 0];
      }
  }

  logsFor(view, at, head) {
    if (view === "difference") {
      const [first, second] = [this.logsFor(0, at, head), this.logsFor(1, at, head)];
      if (!first || !second) return null;
      return first.map((log, pair) => log === second[pair] ? 0 : second[pair] - log);
    }
    const store = this.stores[view];
    return store.has(at, head) ? store.logs(store.translate(at), store.from.head[head]) : null;
  }

  statisticFor(view, which, at, head) {
    const store = this.stores[view], name = this.first.index.statistics[which].name;
    const place = store.index.statistics.findIndex((each) => each.name === name);
    return place >= 0 && store.has(at, head) ? store.statistic(place, store.translate(at), store.from.head[head]) : NaN;
  }

  sheet(canvas, width, height) {
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio))
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.imageSmoothingEnabled = false;
    context.font = "11px system-ui, sans-serif";
    return context;
  }

  picture(width, height) {
    const canvas = this.spare ??= document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d"), image = context.createImageData(width, height);
    return { canvas, pixels: new Uint32Array(image.data.buffer), finish: () => context.putImageData(image, 0, 0) };
  }

  // the thumbnails are drawn anew only where they change: the pointer moves marks and nothing else
  drawAtlas() {
    const state = JSON.stringify([{ ...this.at, layer: 0 }, this.view, this.statistic, this.atlas.parentElement.clientWidth, window.devicePixelRatio, this.ink]);
    this.sheets ??= document.createElement("canvas");
    if (state !== this.drawn) this.drawThumbnails();
    this.drawn = state;
    const { left, top, cell, across, down, width, height } = this.grid, context = this.sheet(this.atlas, width, height);
    context.drawImage(this.sheets, 0, 0, width, height);
    const mark = (where, colour, thick) => Object.assign(context, { strokeStyle: colour, lineWidth: thick })
      .strokeRect(left + where.head * across - 1, top + where.layer * down - 1, cell + 2, cell + 2);
    if (this.hovered) mark(this.hovered, this.ink.text, 1.5);
    mark({ layer: this.at.layer, head: this.head }, this.ink.accent, 2.5);
    this.atlas.setAttribute("aria-label", `heads of ${this.grid.rows} layers; pinned: ${this.nameOf(this.at.layer, this.head)}`);
  }

  drawThumbnails() {
    const { layers, heads } = this.first.index, columns = heads.length + 1, view = this.views[this.view];
    const frames = view === "difference" ? this.first.numFrames : this.stores[view].numFrames;
    const gap = 3, bar = this.statistic ? 4 : 0, left = 30, top = 18;
    const cell = limit(Math.floor((this.atlas.parentElement.clientWidth - left) / columns) - gap, 8, 40);
    const width = left + columns * (cell + gap), height = top + layers.length * (cell + bar + gap);
    this.grid = { left, top, cell, across: cell + gap, down: cell + bar + gap, columns, rows: layers.length, width, height };
    const context = this.sheet(this.sheets, width, height);
    const thumbs = this.picture(columns * frames, layers.length * frames), stride = columns * frames;
    for (let layer = 0; layer < layers.length; layer += 1)
      for (let head = 0; head < columns; head += 1)
        this.paint(view, { ...this.at, layer }, head, thumbs.pixels, layer * frames * stride + head * frames, stride);
    thumbs.finish();
    Object.assign(context, { textAlign: "center", textBaseline: "bottom", fillStyle: this.ink.muted });
    for (let head = 0; head < columns; head += 1)
      if (cell > 13 || head % 4 === 0 || head === heads.length) context.fillText(heads[head] ?? "mean", left + head * (cell + gap) + cell / 2, top - 3);
    Object.assign(context, { textAlign: "right", textBaseline: "middle" });
    for (let layer = 0; layer < layers.length; layer += 1) {
      const y = top + layer * (cell + bar + gap);
      context.fillStyle = this.ink.muted;
      context.fillText(layers[layer], left - 6, y + cell / 2);
      for (let head = 0; head < columns; head += 1) {
        const x = left + head * (cell + gap);
        context.drawImage(thumbs.canvas, head * frames, layer * frames, frames, frames, x, y, cell, cell);
        if (this.statistic) this.drawBar(context, view, layer, head, x, y + cell + 1, cell);
      }
    }
  }

  // a bar as long as the statistic lies from what it is without any structure, to the left where it lies below
  drawBar(context, view, layer, head, x, y, width) {
    const which = this.statistic - 1, { neutral, reach, scale } = this.first.index.statistics[which], at = { ...this.at, layer };
    const [value, from] = view === "difference" ? [1, 0].map((side) => this.statisticFor(side, which, at, head))
      : [this.statisticFor(view, which, at, head), neutral ?? 0];
    const away = scale === "log" ? Math.log(value / from) : value - from;
    if (Number.isNaN(away)) return;
    const share = limit(away / reach, -1, 1);
    context.fillStyle = this.ink.line;
    context.fillRect(x, y, width, 3);
    context.fillStyle = share < 0 ? this.ink.below : this.ink.accent;
    context.fillRect(share < 0 ? x + width * (1 + share) : x, y, width * Math.abs(share), 3);
  }

  drawMap(map) {
    const { view, canvas } = map, { layer, head } = this.shown, at = { ...this.at, layer };
    const store = view === "difference" ? this.first : this.stores[view], frames = store.numFrames;
    const film = view === "difference" ? null : this.filmOf(view), wide = canvas.parentElement.parentElement.clientWidth;
    const across = this.views.length === 1 || wide < 560 ? 1 : Math.min(this.views.length, Math.floor(wide / 240));
    const left = 26, below = 20, size = limit(Math.floor(wide / across) - left - 14, 120, this.views.length === 1 ? 520 : 340);
    const cell = size / frames, strip = film ?? this.filmOf("difference"), high = strip ? Math.round(cell * strip.height / strip.width) : 0, top = high ? high + 3 : 2;
    Object.assign(map, { left, top, cell, frames });
    const context = this.sheet(canvas, left + size + 2, top + size + below);
    const picture = this.picture(frames, frames);
    this.paint(view, at, head, picture.pixels, 0, frames);
    picture.finish();
    context.drawImage(picture.canvas, 0, 0, frames, frames, left, top, size, size);
    if (film) for (let frame = 0; frame < frames; frame += 1)
      this.drawFrame(context, film, store.index.frames[frame].start, left + frame * cell, 0, cell, high);
    this.drawCuts(context, map, store.index.prompts[store.translate(this.at).prompt].cuts, view === "difference" ? "#333" : "#fff");
    Object.assign(context, { fillStyle: this.ink.muted, textAlign: "center", textBaseline: "top" });
    const every = Math.max(1, Math.ceil(18 / cell));
    for (let frame = 0; frame < frames; frame += every) {
      context.fillText(frame, left + (frame + 0.5) * cell, top + size + 4);
      Object.assign(context, { textAlign: "right", textBaseline: "middle" });
      context.fillText(frame, left - 5, top + (frame + 0.5) * cell);
      Object.assign(context, { textAlign: "center", textBaseline: "top" });
    }
    if (this.playhead !== null && this.playhead < frames) this.drawRow(context, map, this.playhead, size);
    if (this.pair && this.pair.query < frames && this.pair.key < frames) this.drawPair(context, map, size);
    canvas.setAttribute("aria-label", `frame by frame map of ${map.name}: ${this.nameOf(layer, head)}`);
  }

  drawCuts(context, { left, top, cell, frames }, cuts, colour) {
    for (const cut of cuts)
      for (const [dash, style] of [[[], "#0007"], [[4, 3], colour]]) {
        Object.assign(context, { strokeStyle: style, lineWidth: 1.5 }).setLineDash(dash);
        context.beginPath();
        context.moveTo(left + cut * cell, top);
        context.lineTo(left + cut * cell, top + frames * cell);
        context.moveTo(left, top + cut * cell);
        context.lineTo(left + frames * cell, top + cut * cell);
        context.stroke();
      }
    context.setLineDash([]);
  }

  // what the latent frame on the screen looks at
  drawRow(context, { left, top, cell }, row, size) {
    Object.assign(context, { strokeStyle: this.ink.accent, lineWidth: 2 }).strokeRect(left, top + row * cell, size, cell);
  }

  drawPair(context, { left, top, cell }, size) {
    const { query, key } = this.pair;
    Object.assign(context, { strokeStyle: this.ink.accent, lineWidth: 1 });
    context.strokeRect(left, top + query * cell, size, cell);
    context.strokeRect(left + key * cell, top, cell, size);
    Object.assign(context, { lineWidth: 2.5 }).strokeRect(left + key * cell, top + query * cell, cell, cell);
  }

  drawScale({ kind, canvas }) {
    const width = limit(canvas.parentElement.clientWidth, 160, 320), left = 4, right = width - 4;
    const context = this.sheet(canvas, width, 40), [low, high] = kind === "mass" ? this.scale.map((log) => log / Math.LN10) : [-MOST_RATIO, MOST_RATIO];
    const strip = this.picture(254, 1);
    strip.pixels.set(this.colours[kind].subarray(1, 255));
    strip.finish();
    context.drawImage(strip.canvas, 0, 0, 254, 1, left, 2, right - left, 9);
    Object.assign(context, { fillStyle: this.ink.muted, textAlign: "center", textBaseline: "top" });
    for (let mark = Math.ceil(low), edge = -Infinity; mark <= high; mark += 1) {
      const name = kind === "mass" ? `${Number((10 ** (mark + 2)).toPrecision(1))} %` : mark < 0 ? `1/${2 ** -mark}` : `${2 ** mark}×`;
      const half = context.measureText(name).width / 2, x = limit(left + (right - left) * (mark - low) / (high - low), half, width - half);
      if (x - half < edge) continue;
      context.fillText(name, x, 13);
      edge = x + half + 8;
    }
    context.textAlign = "left";
    context.fillText(kind === "mass" ? "share of the query frame's attention (log scale)" : "share in the second / share in the first", left, 27);
  }

  filmOf(view) {
    // the difference has the film of either: both are of one prompt, and all maps keep one height
    const places = view === "difference" ? this.stores.keys() : [view];
    const films = [...places].map((place) => this.films[place][this.stores[place].translate(this.at).prompt]);
    return films.find((film) => film?.image.complete && film.image.naturalWidth) ?? null;
  }

  drawFrame(context, film, frame, x, y, width, height) {
    const place = Math.min(frame, film.num - 1);
    const from = [(place % film.columns) * film.width, Math.floor(place / film.columns) * film.height];
    context.imageSmoothingEnabled = true;
    context.drawImage(film.image, ...from, film.width, film.height, x, y, width, height);
  }

  // ---- in words ------------------------------------------------------------------------------------------------

  nameOf(layer, head) {
    const { layers, heads } = this.first.index;
    return `layer ${layers[layer]}, ${head < heads.length ? `head ${heads[head]}` : "mean over heads"}`;
  }

  say() {
    const { layer, head } = this.shown, at = { ...this.at, layer }, { index } = this.first;
    this.title.textContent = `${this.nameOf(layer, head)} (${index.modules[layer]})${this.hovered ? "" : ", pinned"}`;
    this.readout.textContent = this.pair ? this.pairInWords(at, head) : "Point at a map: which frame looks at which, and how much.";
    const shares = this.stores.map((store) => store.index.name), columns = [...(shares.length > 1 ? shares : ["value"]), "without structure"];
    const number = (value) => value !== null && Number.isFinite(value) ? value.toPrecision(3) : "–";
    const row = (cells, tag) => element("tr", {}, ...cells.map((text) => element(tag, { textContent: text })));
    this.numbers.replaceChildren(row(["", ...columns], "th"), ...index.statistics.map(({ label, neutral }, which) =>
      row([label, ...this.stores.map((_, view) => number(this.statisticFor(view, which, at, head))), number(neutral)], "td")));
    this.showPictures();
  }

  pairInWords(at, head) {
    const { query, key } = this.pair, shares = this.stores.map((store, view) => {
      const logs = query < store.numFrames && key < store.numFrames ? this.logsFor(view, at, head) : null;
      const share = logs ? Math.exp(logs[query * store.numFrames + key]) : NaN;
      return `${this.stores.length > 1 ? `${store.index.name} ` : ""}${Number.isNaN(share) ? "not recorded" : `${(100 * share).toPrecision(3)} %`}`;
    });
    const when = (frame) => `${frame} (${this.first.index.frames[frame].start_s.toFixed(2)} s)`;
    return `query frame ${when(query)} looks at key frame ${when(key)}: ${shares.join(", ")}`;
  }

  // the video frames of the pair under the pointer, of every store that has its film
  showPictures() {
    const drawn = [];
    for (const [view, store] of this.stores.entries()) {
      const film = this.filmOf(view);
      if (!film || !this.pair) continue;
      for (const side of ["query", "key"]) {
        const frame = store.index.frames[this.pair[side]];
        if (!frame) continue;
        const numbers = Array.from({ length: frame.stop - frame.start }, (_, place) => frame.start + place).slice(0, 4);
        const canvas = element("canvas"), high = 72, wide = Math.round(high * film.width / film.height);
        const context = this.sheet(canvas, numbers.length * (wide + 2), high);
        numbers.forEach((number, place) => this.drawFrame(context, film, number, place * (wide + 2), 0, wide, high));
        drawn.push(element("figure", {}, canvas, element("figcaption", { textContent: `${side} frame ${this.pair[side]}: video frames ${numbers[0]}–${numbers.at(-1)}` })));
      }
    }
    this.pictures.replaceChildren(...drawn);
    this.pictures.classList.toggle("has-films", this.films.some((films) => films.some(Boolean)));
  }

  cellUnder(event) {
    const { left, top, across, down, cell, columns, rows } = this.grid;
    const head = Math.floor((event.offsetX - left) / across), layer = Math.floor((event.offsetY - top) / down);
    const inside = head >= 0 && head < columns && layer >= 0 && layer < rows && (event.offsetX - left) % across <= cell;
    return inside ? { layer, head } : null;
  }

  pairUnder({ left, top, cell, frames }, event) {
    const key = Math.floor((event.offsetX - left) / cell), query = Math.floor((event.offsetY - top) / cell);
    return key >= 0 && key < frames && query >= 0 && query < frames ? { query, key } : null;
  }
}

// Show packed stores, one or two: [{index, data}], data being gzipped bytes.
export async function mount(root, packed, options) {
  const stores = await Promise.all(packed.map(async ({ index, data }) => new Store(index, await unpack(data))));
  root.explorer = new Explorer(root, stores, options);
  root.dataset.ready = "yes";
  return root.explorer;
}

export default {
  async render({ model, el }) {
    const packed = model.get("stores").map(({ index, data }) => ({ index, data: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) }));
    const onSelect = (selection) => { model.set("selection", selection); model.save_changes(); };
    el.classList.add("attnscope");
    const explorer = await mount(el, packed, { onSelect });
    return () => explorer.close();
  },
};
