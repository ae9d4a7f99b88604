"use strict";
// The map of a report: drawing, zoom, pan, search, neighbours and colours; and, in a live report, its renewal.
// It loads nothing. All texts are set as text, never as HTML.
(() => {
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const make = (tag, text, name) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (name) element.className = name;
    return element;
  };
  const svg = (tag, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();

  async function unpacked(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  const LEVELS = 24;
  const MOST_HITS = 60;
  const REACH = 18; // pixels from a point within which the pointer means it

  class StateMap {
    constructor(data, view) {
      this.data = data;
      this.count = data.xy.length / 2;
      this.canvas = byId("canvas");
      this.pen = this.canvas.getContext("2d");
      this.view = view || { zoom: 1, x: 0, y: 0 };
      this.hovered = this.pinned = -1;
      this.hits = null;
      this.off = new Set();
      this.waiting = false;
      this.names = data.texts && data.texts.some(Boolean) ? data.texts : data.ids;
      this.low = data.ids.map((id, at) => (id + "\n" + (data.texts ? data.texts[at] : "")).toLowerCase());
      this.by = 0;
      this.listening = new AbortController();
      this.listen();
      this.choices();
      this.paint();
      this.resize();
      this.draw();
      this.tell();
      byId("map").classList.add("ready");
    }

    close() { this.listening.abort(); this.sizes.disconnect(); }

    // Where things are: the middle of the plane is (0, 0), its half is 1.
    x(at) { return this.data.xy[2 * at] / 32767.5 - 1; }
    y(at) { return 1 - this.data.xy[2 * at + 1] / 32767.5; }
    left(at) { return this.width / 2 + (this.x(at) - this.view.x) * this.scale; }
    top(at) { return this.height / 2 + (this.y(at) - this.view.y) * this.scale; }
    get scale() { return this.view.zoom * (Math.min(this.width, this.height) / 2 - 14); }

    // How the points are coloured.
    get shade() { return this.data.colours[this.by]; }
    paint() {
      const shade = this.shade;
      this.group = new Uint8Array(this.count);
      if (shade.of) {
        this.group.set(shade.of);
        this.fills = shade.names.map((_, at) => colour("--g" + Math.min(at, 7)));
      } else {
        const put = (value) => (shade.logarithmic ? Math.log(value) : value);
        const real = shade.values.filter((value) => value !== null);
        const least = put(Math.min(...real)), most = put(Math.max(...real));
        shade.values.forEach((value, at) => {
          const share = most > least ? (put(value) - least) / (most - least) : 0.5;
          this.group[at] = value === null ? LEVELS : Math.min(LEVELS - 1, Math.floor(share * LEVELS));
        });
        this.fills = ramp(colour("--low"), colour("--high"), LEVELS).concat(colour("--faint"));
        this.ends = real.length ? [Math.min(...real), Math.max(...real)] : [0, 0];
      }
      this.legend();
    }

    legend() {
      const list = byId("legend"), shade = this.shade;
      list.replaceChildren();
      if (shade.of) {
        shade.names.forEach((name, at) => {
          const button = make("button");
          const dot = svg("svg", { width: 10, height: 10, "aria-hidden": "true" });
          dot.append(svg("circle", { cx: 5, cy: 5, r: 5, fill: this.fills[at] }));
          const isolated = make("bdi", name);
          button.type = "button";
          button.title = "Show or hide";
          button.setAttribute("aria-pressed", String(!this.off.has(at)));
          button.append(dot, isolated, make("span", " " + shade.counts[at].toLocaleString("en"), "quiet"));
          button.addEventListener("click", () => {
            if (!this.off.delete(at)) this.off.add(at);
            button.setAttribute("aria-pressed", String(!this.off.has(at)));
            this.redraw();
          });
          const item = make("li");
          item.append(button);
          list.append(item);
        });
        return;
      }
      const band = svg("svg", { class: "ramp", width: 160, height: 10, "aria-hidden": "true" });
      this.fills.slice(0, LEVELS).forEach((fill, at) => {
        band.append(svg("rect", { x: (at * 160) / LEVELS, width: 160 / LEVELS + 0.5, height: 10, fill }));
      });
      const [least, most] = this.ends.map((end) => end.toLocaleString("en", { maximumFractionDigits: 2 }));
      const item = make("li", shade.title + (shade.logarithmic ? " (logarithmic)" : "") + "  " + least + " ");
      item.append(band, " " + most);
      list.append(item);
    }

    choices() {
      const select = byId("colour");
      const before = select.value;
      select.replaceChildren(...this.data.colours.map((shade, at) => {
        const option = make("option", shade.title);
        option.value = String(at);
        return option;
      }));
      const kept = this.data.colours.findIndex((shade, at) => String(at) === before);
      this.by = Math.max(0, kept);
      select.value = String(this.by);
    }

    // Drawing.
    resize() {
      const box = this.canvas.getBoundingClientRect(), dots = window.devicePixelRatio || 1;
      this.width = box.width;
      this.height = box.height;
      const across = Math.round(box.width * dots), down = Math.round(box.height * dots);
      if (this.canvas.width === across && this.canvas.height === down) return;
      this.canvas.width = across; // which makes it blank
      this.canvas.height = down;
      this.draw();
    }

    redraw() {
      if (this.waiting) return;
      this.waiting = true;
      requestAnimationFrame(() => { this.waiting = false; this.draw(); });
    }

    draw() {
      const pen = this.pen, dots = this.canvas.width / Math.max(1, this.width);
      pen.setTransform(dots, 0, 0, dots, 0, 0);
      pen.clearRect(0, 0, this.width, this.height);
      const radius = Math.max(1.1, Math.min(5, (70 / Math.sqrt(this.count + 40)) * Math.sqrt(this.view.zoom)));
      const paths = new Map();
      let drawn = 0;
      for (let at = 0; at < this.count; at++) {
        if (this.shade.of && this.off.has(this.group[at])) continue;
        const x = this.left(at), y = this.top(at);
        if (x < -radius || y < -radius || x > this.width + radius || y > this.height + radius) continue;
        drawn++;
        const key = this.group[at] + (this.hits && !this.hits.has(at) ? 100 : 0);
        let path = paths.get(key);
        if (!path) paths.set(key, (path = new Path2D()));
        const size = this.hits && this.hits.has(at) ? 1.5 * radius + 1 : radius;
        path.moveTo(x + size, y);
        path.arc(x, y, size, 0, 7);
      }
      for (const [key, path] of [...paths].sort((one, other) => other[0] - one[0])) {
        pen.globalAlpha = key >= 100 ? 0.2 : this.hits ? 1 : 0.78;
        pen.fillStyle = this.fills[key % 100];
        pen.fill(path);
      }
      pen.globalAlpha = 1;
      this.point(this.shown, radius);
      Object.assign(this.canvas.dataset, { drawn, points: this.count, zoom: this.view.zoom.toFixed(3), shown: this.shown });
    }

    point(at, radius) {
      if (at < 0) return;
      const pen = this.pen, x = this.left(at), y = this.top(at), ink = colour("--ink");
      pen.strokeStyle = ink;
      pen.lineWidth = 1;
      for (const other of this.near(at)) {
        pen.globalAlpha = 0.55;
        pen.beginPath();
        pen.moveTo(x, y);
        pen.lineTo(this.left(other), this.top(other));
        pen.stroke();
        pen.globalAlpha = 1;
        ring(pen, this.left(other), this.top(other), radius + 2);
      }
      pen.lineWidth = 2;
      ring(pen, x, y, radius + 4);
    }

    near(at) { return this.data.neighbours.slice(at * this.data.near, (at + 1) * this.data.near); }
    get shown() { return this.hovered >= 0 ? this.hovered : this.pinned; }

    // What is said beside the map.
    tell() {
      const side = byId("point"), at = this.shown, data = this.data;
      side.replaceChildren();
      if (at < 0) {
        side.append(make("p", "Point at the map, or search, to see a " + data.kind + " and its nearest neighbours.", "quiet"));
        return;
      }
      const head = make("h3");
      head.append(make("bdi", data.ids[at]));
      side.append(head);
      if (data.texts && data.texts[at]) {
        const text = make("p");
        text.append(make("bdi", data.texts[at]));
        side.append(text);
      }
      const place = data.positions ? "token " + (data.positions[at] + 1) + " of " : "";
      const file = data.files.names[data.files.of[at]];
      const length = data.lengths[at].toLocaleString("en") + (data.lengths[at] === 1 ? " token" : " tokens");
      const about = make("p", place + length + " · ", "quiet");
      about.append(make("bdi", file));
      side.append(about);
      if (this.near(at).length) {
        side.append(make("p", "Nearest among these points, by cosine:", "quiet"));
        const cosines = data.cosines.slice(at * data.near, (at + 1) * data.near);
        side.append(this.list(this.near(at), cosines.map((cosine) => (cosine / 100).toFixed(2))));
      }
    }

    list(points, notes = []) {
      const list = make("ul", undefined, "list");
      for (const [number, at] of points.entries()) {
        const button = make("button"), item = make("li");
        button.type = "button";
        if (notes[number]) button.append(make("span", notes[number] + "  ", "quiet"));
        button.append(make("bdi", this.names[at] || this.data.ids[at]));
        button.title = this.data.ids[at];
        button.addEventListener("click", () => this.pin(at, true));
        button.addEventListener("focus", () => { this.hovered = at; this.redraw(); });
        button.addEventListener("blur", () => { this.hovered = -1; this.redraw(); });
        item.append(button);
        list.append(item);
      }
      return list;
    }

    pin(at, move) {
      this.pinned = at;
      this.hovered = -1;
      if (move && at >= 0) {
        const x = this.left(at), y = this.top(at);
        if (x < 20 || y < 20 || x > this.width - 20 || y > this.height - 20) {
          this.view.x = this.x(at);
          this.view.y = this.y(at);
        }
      }
      this.tell();
      this.redraw();
    }

    search(words) {
      const wanted = words.trim().toLowerCase(), hits = byId("hits"), said = byId("found");
      hits.replaceChildren();
      if (!wanted) {
        this.hits = null;
        said.textContent = "";
      } else {
        const found = [];
        this.low.forEach((text, at) => { if (text.includes(wanted)) found.push(at); });
        this.hits = new Set(found);
        const more = found.length > MOST_HITS ? ", the first " + MOST_HITS + " are listed" : "";
        said.textContent = found.length.toLocaleString("en") + (found.length === 1 ? " match" : " matches") + more;
        hits.append(...this.list(found.slice(0, MOST_HITS)).children);
      }
      this.canvas.dataset.hits = this.hits ? this.hits.size : "";
      this.redraw();
    }

    // Moving.
    zoom(factor, x = this.width / 2, y = this.height / 2) {
      const before = this.scale;
      this.view.zoom = Math.max(0.5, Math.min(400, this.view.zoom * factor));
      this.view.x += (x - this.width / 2) * (1 / before - 1 / this.scale);
      this.view.y += (y - this.height / 2) * (1 / before - 1 / this.scale);
      this.redraw();
    }
    pan(x, y) {
      this.view.x -= x / this.scale;
      this.view.y -= y / this.scale;
      this.redraw();
    }
    reset() {
      Object.assign(this.view, { zoom: 1, x: 0, y: 0 });
      this.redraw();
    }

    under(x, y) {
      let best = -1, least = REACH * REACH;
      for (let at = 0; at < this.count; at++) {
        if (this.shade.of && this.off.has(this.group[at])) continue;
        const across = this.left(at) - x, down = this.top(at) - y, far = across * across + down * down;
        if (far < least) { least = far; best = at; }
      }
      return best;
    }

    listen() {
      const signal = this.listening.signal, canvas = this.canvas, pointers = new Map();
      const on = (element, kind, act, more) => element.addEventListener(kind, act, { signal, ...more });
      let moved = 0;
      on(canvas, "pointerdown", (event) => {
        canvas.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
        moved = 0;
      });
      on(canvas, "pointermove", (event) => {
        const here = [event.offsetX, event.offsetY], before = pointers.get(event.pointerId);
        if (!before) {
          const at = this.under(...here);
          if (at !== this.hovered) { this.hovered = at; this.tell(); this.redraw(); }
          return;
        }
        if (pointers.size === 1) {
          moved += Math.hypot(here[0] - before[0], here[1] - before[1]);
          if (moved > 4) this.pan(here[0] - before[0], here[1] - before[1]);
        } else {
          const [, other] = [...pointers].find(([id]) => id !== event.pointerId);
          const far = (from) => Math.hypot(from[0] - other[0], from[1] - other[1]);
          this.zoom(far(here) / Math.max(1, far(before)), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
          moved = 99;
        }
        pointers.set(event.pointerId, here);
      });
      const end = (event) => {
        if (pointers.delete(event.pointerId) && event.type === "pointerup" && moved <= 4) {
          this.pin(this.under(event.offsetX, event.offsetY));
        }
      };
      on(canvas, "pointerup", end);
      on(canvas, "pointercancel", end);
      on(canvas, "pointerleave", () => { if (this.hovered >= 0) { this.hovered = -1; this.tell(); this.redraw(); } });
      on(canvas, "dblclick", (event) => this.zoom(2, event.offsetX, event.offsetY));
      // The wheel scrolls the page, unless the map has been clicked or Ctrl is held.
      on(canvas, "wheel", (event) => {
        if (document.activeElement !== canvas && !event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode === 1 ? 0.05 : 0.0015)), event.offsetX, event.offsetY);
      }, { passive: false });
      on(canvas, "keydown", (event) => {
        const moves = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };
        if (event.ctrlKey || event.metaKey || event.altKey) return;
        if (moves[event.key]) this.pan(...moves[event.key]);
        else if (event.key === "+" || event.key === "=") this.zoom(1.4);
        else if (event.key === "-") this.zoom(1 / 1.4);
        else if (event.key === "0") this.reset();
        else if (event.key === "Escape") this.pin(-1);
        else return;
        event.preventDefault();
      });
      on(byId("nearer"), "click", () => this.zoom(1.6));
      on(byId("farther"), "click", () => this.zoom(1 / 1.6));
      on(byId("whole"), "click", () => this.reset());
      on(byId("search"), "input", (event) => this.search(event.target.value));
      on(byId("search"), "keydown", (event) => {
        if (event.key === "Escape") { event.target.value = ""; this.search(""); }
      });
      on(byId("colour"), "change", (event) => {
        this.by = Number(event.target.value);
        this.off.clear();
        this.paint();
        this.redraw();
      });
      on(window.matchMedia("(prefers-color-scheme: dark)"), "change", () => { this.paint(); this.redraw(); });
      this.sizes = new ResizeObserver(() => this.resize());
      this.sizes.observe(canvas);
    }
  }

  function ring(pen, x, y, radius) {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.stroke();
  }

  function ramp(from, to, count) {
    const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    const [one, other] = [parts(from), parts(to)];
    return Array.from({ length: count }, (_, at) => {
      const mixed = one.map((value, part) => Math.round(value + ((other[part] - value) * at) / (count - 1)));
      return "rgb(" + mixed.join(",") + ")";
    });
  }

  let current = null;
  async function show(view) {
    const data = byId("map-data");
    if (!data) return;
    const found = await unpacked(data.textContent.trim());
    const words = byId("search").value;
    current = new StateMap(found, view);
    if (words) current.search(words);
  }

  // A live report asks for itself again, and takes over what has changed.
  const parser = new DOMParser();
  let tag = "";
  async function renew() {
    const answer = await fetch(location.href, { cache: "no-store", headers: tag ? { "If-None-Match": tag } : {} });
    if (answer.status === 304) return;
    if (!answer.ok) throw new Error("status " + answer.status);
    tag = answer.headers.get("ETag") || "";
    const page = parser.parseFromString(await answer.text(), "text/html");
    document.title = page.title;
    for (const id of ["heading", "numbers"]) byId(id).replaceWith(page.getElementById(id));
    const mine = byId("map-data"), theirs = page.getElementById("map-data");
    if (mine && theirs && mine.textContent !== theirs.textContent) {
      mine.textContent = theirs.textContent;
      byId("map-note").replaceWith(page.getElementById("map-note"));
      if (current) current.close();
      await show(current && current.view);
    } else if (!mine && theirs) {
      byId("map").replaceWith(page.getElementById("map"));
      byId("map-store").replaceWith(page.getElementById("map-store"));
      await show();
    }
  }

  show().catch((error) => { byId("found").textContent = "The map can't be shown: " + error.message; });
  const seconds = Number(root.dataset.live || 0);
  if (seconds) {
    const state = byId("live");
    const again = () => renew()
      .then(() => { state.textContent = "live"; state.classList.remove("warn"); })
      .catch(() => { state.textContent = "no answer"; state.classList.add("warn"); })
      .finally(() => setTimeout(again, 1000 * seconds));
    setTimeout(again, 1000 * seconds);
  }
})();
