"use strict";
// The charts of a recording, redrawn at any zoom: all of one recording show the same stretch of time.
(() => {
  const { drawChart, number, place, seconds } = window.kvreplayCharts;
  const NARROWEST_US = 20;
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // The data holds differences; a series is added up once.
  function sums(differences) {
    const values = new Float64Array(differences.length);
    let sum = 0;
    differences.forEach((each, at) => { sum += each; values[at] = sum; });
    return values;
  }
  const series = (points) => ({ time: sums(points[0]), value: sums(points[1]) });

  class Timeline {
    constructor(root) {
      this.root = root;
      const data = JSON.parse(root.querySelector("script.timeline-data").textContent);
      this.data = data;
      for (const pool of data.pools) {
        for (const column of Object.keys(pool.series)) pool.series[column] = series(pool.series[column]);
      }
      this.pools = new Map(data.pools.map((pool) => [pool.name, pool]));
      if (data.together) data.together = series(data.together);
      data.faults.sent = sums(data.faults.sent);
      this.start = 0;
      this.end = data.end;
      this.cursor = null;
      this.pointers = new Map();
      this.charts = [...root.querySelectorAll("figure[data-chart]")].map(
        (figure) => this.prepare(figure, data.charts[figure.dataset.chart]));
      this.tools = root.querySelector(".tools");
      this.shown = root.querySelector(".shown");
      this.readout = root.querySelector(".readout");
      for (const button of this.tools.querySelectorAll("button")) {
        button.addEventListener("click", () => this.act(button.dataset.act));
      }
      this.tools.classList.add("ready");
      // At once, in the same frame in which the drawings go; then whenever there is another width.
      this.draw();
      new ResizeObserver(() => this.later()).observe(root);
      this.say();
      this.read();
    }

    prepare(figure, panels) {
      const box = document.createElement("div");
      const drawing = figure.querySelector(".chart");
      box.className = "chart live";
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      box.setAttribute("aria-label", "Zoomable: " + drawing.getAttribute("aria-label"));
      box.setAttribute("aria-describedby", this.root.id + "-keys");
      drawing.before(box);
      figure.classList.add("is-live");
      box.addEventListener("keydown", (event) => this.key(event));
      box.addEventListener("wheel", (event) => this.wheel(event, box), { passive: false });
      box.addEventListener("pointerdown", (event) => this.down(event, box));
      box.addEventListener("pointermove", (event) => this.move(event, box));
      for (const name of ["pointerup", "pointercancel"]) {
        box.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
      }
      return { figure, box, panels };
    }

    // What is shown -------------------------------------------------------------------------------

    show(start, end) {
      const length = clamp(end - start, Math.min(NARROWEST_US, this.data.end), this.data.end);
      this.start = clamp(start, 0, this.data.end - length);
      this.end = this.start + length;
      this.told = "";
      if (this.cursor !== null) this.cursor = clamp(this.cursor, this.start, this.end);
      this.later();
    }

    zoom(factor, centre = this.cursor ?? (this.start + this.end) / 2) {
      this.show(centre - (centre - this.start) * factor, centre + (this.end - centre) * factor);
    }

    pan(part) {
      const length = this.end - this.start;
      this.show(this.start + part * length, this.end + part * length);
    }

    point(part) {
      const length = this.end - this.start;
      this.cursor = clamp((this.cursor ?? this.start + length / 2) + part * length, this.start, this.end);
      this.later();
    }

    jump(step) {
      const episodes = this.data.episodes;
      if (!episodes.length) return;
      const last = episodes.length - 1;
      const fresh = this.episode === undefined;
      let next = fresh ? 0 : this.episode + step;
      if (fresh && step > 0) next = episodes.findIndex((each) => each[0] >= this.start);
      if (fresh && step < 0) next = episodes.findLastIndex((each) => each[0] <= this.end);
      if (next < 0 && step > 0) next = last;
      this.episode = clamp(next, 0, last);
      const [opened, closed, pool] = episodes[this.episode];
      const end = closed ?? this.data.end;
      const margin = Math.max((end - opened) / 4, 500);
      this.show(opened - margin, end + margin);
      const of = this.data.episodesOf > episodes.length ? ` (the worst of ${number(this.data.episodesOf)})` : "";
      this.told = `Episode ${number(this.episode + 1)} of ${number(episodes.length)}${of}, in ${pool}: ` +
        `opened at ${seconds(opened, 1)}, ${closed === null ? "never closed" : "closed at " + seconds(closed, 1)}. `;
    }

    act(name) {
      const acts = {
        in: () => this.zoom(1 / 2), out: () => this.zoom(2),
        left: () => this.pan(-1 / 4), right: () => this.pan(1 / 4),
        whole: () => { this.episode = undefined; this.show(0, this.data.end); },
        previous: () => this.jump(-1), next: () => this.jump(1),
        earlier: () => this.point(-1 / 100), later: () => this.point(1 / 100),
        none: () => { this.cursor = null; this.later(); },
      };
      acts[name]();
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const act = { "+": "in", "=": "in", "-": "out", "_": "out", "0": "whole", "[": "previous",
        "]": "next", ArrowLeft: event.shiftKey ? "earlier" : "left",
        ArrowRight: event.shiftKey ? "later" : "right", Escape: "none" }[event.key];
      if (act === undefined) return;
      event.preventDefault();
      this.act(act);
    }

    // Mouse and fingers ---------------------------------------------------------------------------

    time(box, x) {
      const { left, plot } = box.layout;
      const part = (x - box.getBoundingClientRect().left - left) / plot;
      return this.start + clamp(part, 0, 1) * (this.end - this.start);
    }

    // A page must stay scrollable: the wheel zooms with Ctrl (a pinch on a pad) or once the chart has focus.
    wheel(event, box) {
      if (!event.ctrlKey && document.activeElement !== box) return;
      event.preventDefault();
      if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.pan(event.deltaX / box.layout.plot);
      else this.zoom(Math.exp(clamp(event.deltaY, -240, 240) / 300), this.time(box, event.clientX));
    }

    down(event, box) {
      this.pointers.set(event.pointerId, event.clientX);
      box.setPointerCapture(event.pointerId);
      this.cursor = this.time(box, event.clientX);
      this.later();
    }

    move(event, box) {
      const before = this.pointers.get(event.pointerId);
      if (before === undefined) {
        if (event.pointerType === "mouse") { this.cursor = this.time(box, event.clientX); this.later(); }
        return;
      }
      const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
      this.pointers.set(event.pointerId, event.clientX);
      if (others.length) {
        const spread = (x) => Math.max(Math.abs(x - others[0]), 10);
        this.zoom(spread(before) / spread(event.clientX), this.time(box, others[0]));
      } else if (event.clientX !== before) {
        this.pan((before - event.clientX) / box.layout.plot);
      }
    }

    // In words ------------------------------------------------------------------------------------

    say() {
      const { start, end, data } = this;
      const step = (end - start) / 100;
      const whole = start === 0 && end === data.end;
      let text = `${this.told ?? ""}Shown: ${seconds(start, step)} to ${seconds(end, step)}`;
      text += whole ? ", the whole replay." : ` of ${seconds(data.end, 1000)}.`;
      const { full } = this.pools.get(data.pool);
      let fine = 0;
      for (let at = 0; at < full.length; at += 2) {
        fine += Math.max(Math.min(full[at + 1], end) - Math.max(full[at], start), 0);
      }
      const part = fine / (end - start);
      if (part < 1 - 1e-9) {
        text += part ? ` ${Math.max(Math.round(part * 100), 1)} % of it at full resolution, elsewhere an envelope.`
          : " An envelope: lowest and highest values.";
      } else text += " Full resolution.";
      if (text !== this.shown.textContent) this.shown.textContent = text;
    }

    read() {
      const { cursor, data } = this;
      let text = "Move the mouse over a chart, or press Shift and an arrow key in it, to read values.";
      if (cursor !== null) {
        const phase = data.phases.findLast((each) => each[1] <= cursor);
        text = `${data.pool} at ${seconds(cursor, (this.end - this.start) / 1000)}`;
        text += phase ? ` (${phase[0]}): ` : ": ";
        text += data.charts[0].flatMap((panel) => panel.lines ?? []).map(([column, title]) => {
          const points = this.pools.get(data.pool).series[column];
          const at = place(points.time, cursor);
          return `${title} ${at < 0 ? "not known yet" : number(points.value[at])}`;
        }).join(", ") + `; total ${number(data.total)} tokens.`;
      }
      if (text !== this.readout.textContent) this.readout.textContent = text;
    }

    // Drawing: one frame for any number of changes ------------------------------------------------

    later() {
      this.frame ??= requestAnimationFrame(() => {
        this.frame = undefined;
        this.draw();
        this.say();
        this.read();
      });
    }

    draw() {
      for (const { figure, box, panels } of this.charts) drawChart(this, figure, box, panels);
    }
  }

  // Charts come to life when they come near the screen, after what is first seen is there.
  const idle = (work) => "requestIdleCallback" in window
    ? requestIdleCallback(work, { timeout: 500 }) : setTimeout(work, 50);
  const watcher = new IntersectionObserver((seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting) continue;
      watcher.unobserve(target);
      idle(() => new Timeline(target));
    }
  }, { rootMargin: "300px" });
  for (const root of document.querySelectorAll(".timeline")) watcher.observe(root);
})();
