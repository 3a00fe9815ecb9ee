"use strict";
// Draws one live chart as SVG from a view: its data, the stretch of time it shows, and a cursor.
// Colours are attributes, by which the dark sheet finds them, as in the drawings made beforehand.
window.kvreplayCharts = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const number = (value) => value.toLocaleString("en-US").replace("-", "\u2212");
  const short = (text, most) => (text.length <= most ? text : text.slice(0, Math.max(most - 1, 1)) + "\u2026");
  const round = (value) => Math.round(value * 10) / 10;

  function add(parent, name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  // The last place at which a time is not after the given one; -1 before the first.
  function place(times, time) {
    let low = -1, high = times.length - 1;
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (times[middle] <= time) low = middle; else high = middle - 1;
    }
    return low;
  }

  // The finest round step, at least one unit wide, that fits into a range at most so many times.
  function roundStep(range, parts) {
    const power = 10 ** Math.floor(Math.log10(Math.max(range / parts, 1)));
    return power * ([1, 2, 5].find((each) => Math.floor(range / (power * each)) <= parts) ?? 10);
  }

  // Seconds with as many digits as two times a step apart need to differ.
  function seconds(us, stepUs) {
    const digits = Math.min(Math.max(6 - Math.floor(Math.log10(stepUs) + 1e-9), 0), 6);
    const options = { minimumFractionDigits: digits, maximumFractionDigits: digits };
    return (us / 1e6).toLocaleString("en-US", options) + " s";
  }

  function extremes(points, start, end) {
    let at = Math.max(place(points.time, start), 0), low = points.value[at], high = low;
    for (at++; at < points.time.length && points.time[at] <= end; at++) {
      if (points.value[at] < low) low = points.value[at];
      else if (points.value[at] > high) high = points.value[at];
    }
    return [low, high];
  }

  // A step line, with no more than one stroke up and down for each half pixel.
  function path({ time, value }, frame, y) {
    let at = Math.max(place(time, frame.start), 0);
    const first = round(frame.x(Math.max(time[at], frame.start)));
    let line = `M${first},${y(value[at])}`, column = null, low, high, last;
    const flush = () => {
      if (column === null) return;
      line += `H${column}`;
      if (low < high) line += `V${y(high)}V${y(low)}`;
      line += `V${y(last)}`;
    };
    for (at++; at < time.length && time[at] <= frame.end; at++) {
      const next = Math.round(frame.x(time[at]) * 2) / 2;
      if (next !== column) { flush(); column = next; low = high = value[at]; }
      low = Math.min(low, value[at]);
      high = Math.max(high, value[at]);
      last = value[at];
    }
    flush();
    return { line: `${line}H${round(frame.x(frame.end))}`, first };
  }

  function times(svg, frame, top, bottom) {
    const { palette } = frame.data;
    const step = roundStep(frame.end - frame.start, Math.max(Math.floor(frame.plot / 110), 3));
    for (let tick = Math.ceil(frame.start / step) * step; tick <= frame.end; tick += step) {
      const x = round(frame.x(tick));
      add(svg, "path", { d: `M${x},${top}V${bottom + 4}`, stroke: palette.grid });
      const room = frame.left + frame.plot - x;
      const anchor = x - frame.left < 12 ? "start" : room < 28 ? "end" : "middle";
      add(svg, "text", { x, y: bottom + 4 + frame.font, "text-anchor": anchor, fill: palette.soft },
        seconds(tick, step));
    }
    add(svg, "path", { d: `M${frame.left},${bottom}h${frame.plot}`, stroke: palette.other });
  }

  function shades(svg, frame, top, height, named) {
    for (const [name, start, end, colour] of frame.data.phases) {
      const from = Math.max(frame.x(start), frame.left);
      const width = Math.min(frame.x(end), frame.left + frame.plot) - from;
      if (width <= 0) continue;
      add(svg, "rect", { x: round(from), y: top, width: round(width), height, fill: colour });
      if (named && width > 0.7 * frame.font * name.length) {
        add(svg, "text", { x: round(from + width / 2), y: top + height / 2 + frame.font / 3,
          "text-anchor": "middle", fill: frame.data.palette.ink }, name);
      }
    }
  }

  const title = (svg, frame, panel, top) => add(svg, "text", { x: 2, y: top + frame.font + 2,
    fill: frame.data.palette.ink, "font-weight": 600 }, short(panel.title, frame.width / frame.font * 1.6));

  // Where each line's sample goes: side by side, in as many rows as it takes.
  function legendPlaces(lines, left, width, font) {
    let x = left, row = 0;
    return lines.map(([, name]) => {
      const length = 44 + name.length * font * 0.56;
      if (x > left && x + length > width) { x = left; row += 1; }
      x += length;
      return { x: x - length, row };
    });
  }

  const legendRows = (panel, left, width, font) => (panel.legend
    ? legendPlaces(panel.lines, left, width, font).at(-1).row + 1 : 0);

  function legend(svg, frame, lines, top) {
    const places = legendPlaces(lines, frame.left, frame.width, frame.font);
    lines.forEach(([, name, colour, dash], at) => {
      const x = round(places[at].x), y = top + places[at].row * (frame.font + 4) + frame.font / 2 + 3;
      add(svg, "path", { d: `M${x},${y}h26`, stroke: colour, "stroke-width": 2, "stroke-dasharray": dash });
      add(svg, "text", { x: x + 31, y: y + frame.font / 3, fill: frame.data.palette.ink }, name);
    });
  }

  // Where every audit is drawn, the line below is thick; where that is so everywhere, words say it.
  function fullStrip(svg, frame, full, bottom) {
    if (full[0] === 0 && full[1] === frame.data.end) return;
    let line = "", until = -Infinity;
    for (let at = 0; at < full.length; at += 2) {
      if (full[at + 1] < frame.start || full[at] > frame.end) continue;
      const from = Math.max(frame.x(full[at]), frame.left, until);
      const to = Math.min(Math.max(frame.x(full[at + 1]), from + 1), frame.left + frame.plot);
      if (to > from) line += `M${round(from)},${bottom + 2}H${round(to)}`;
      until = to;
    }
    if (line) add(svg, "path", { d: line, stroke: frame.data.palette.soft, "stroke-width": 3 });
  }

  const pointsOf = (view, panel, column) => (panel.pool === null ? view.data.together
    : view.pools.get(panel.pool).series[column]);

  function range(view, panels) {
    const all = panels.flatMap((panel) => panel.lines.flatMap(
      ([column]) => extremes(pointsOf(view, panel, column), view.start, view.end)));
    if (panels[0].zero) all.push(0);
    if (panels[0].total) all.push(view.data.total);
    const low = Math.min(...all), high = Math.max(...all);
    return [low, high > low ? high : low + 1];
  }

  function lines(svg, frame, view, panel, top, height, [least, most]) {
    const { palette } = frame.data, bottom = top + height;
    const nice = roundStep(most - least, 8);
    const low = Math.floor(least / nice) * nice, high = Math.ceil(most / nice) * nice;
    const step = height < 48 ? high - low : roundStep(high - low, Math.floor(height / 24));
    const y = (value) => round(bottom - (value - low) / (high - low) * height);
    shades(svg, frame, top, height, false);
    times(svg, frame, top, bottom);
    for (let tick = height < 48 ? low : Math.ceil(low / step) * step; tick <= high; tick += step) {
      add(svg, "path", { d: `M${frame.left - 4},${y(tick)}h4`, stroke: palette.other });
      add(svg, "text", { x: frame.left - 6, y: y(tick) + frame.font / 3, "text-anchor": "end",
        fill: palette.soft }, number(tick));
    }
    if (panel.total) {
      add(svg, "path", { d: `M${frame.left},${y(view.data.total)}h${frame.plot}`, stroke: palette.soft,
        "stroke-dasharray": "4,3" });
    }
    for (const [column, , colour, dash] of panel.lines) {
      const { line, first } = path(pointsOf(view, panel, column), frame, y);
      if (panel.fill) add(svg, "path", { d: `${line}V${y(0)}H${first}Z`, fill: colour, "fill-opacity": 0.22 });
      add(svg, "path", { d: line, fill: "none", stroke: colour, "stroke-width": 1.5, "stroke-dasharray": dash });
    }
    if (panel.pool !== null) fullStrip(svg, frame, view.pools.get(panel.pool).full, bottom);
  }

  function faults(svg, frame, view, top, row) {
    const { names, fault, sent, delivered, here } = frame.data.faults;
    const { palette, cross } = frame.data, bottom = top + row * names.length, seen = new Set();
    times(svg, frame, top, bottom);
    const middle = (at) => round(top + row * (at + 0.5));
    names.forEach((name, at) => add(svg, "text", { x: frame.left - 6, y: middle(at) + frame.font / 3,
      "text-anchor": "end", fill: palette.soft }, short(name, frame.left / frame.font * 1.7)));
    // This pool's are drawn last, over the others.
    for (const side of [0, 1]) {
      fault.forEach((kind, at) => {
        const lost = delivered[at] < 0;
        const until = lost ? sent[at] : delivered[at];
        if (here[at] !== side || until < frame.start || sent[at] > frame.end) return;
        const x = round(frame.x(Math.max(sent[at], frame.start))), y = middle(kind);
        const key = `${side} ${kind} ${lost} ${Math.round(x)}`;
        if (seen.has(key)) return;
        seen.add(key);
        const stroke = side ? palette.gap : palette.other, size = side ? 4.5 : 2.6;
        const end = round(frame.x(Math.min(until, frame.end)));
        if (end > x) add(svg, "path", { d: `M${x},${y}H${end}`, stroke, "stroke-width": 2, "stroke-opacity": 0.5 });
        if (sent[at] < frame.start) return;
        if (!lost) add(svg, "circle", { cx: x, cy: y, r: size, fill: "none", stroke, "stroke-width": 1.5 });
        else {
          add(svg, "path", { d: cross, stroke, "stroke-width": 1.5 / size,
            transform: `translate(${x},${y}) scale(${size * 1.3})` });
        }
      });
    }
  }

  // As large as the drawing it stands for, so that nothing on the page moves.
  function measure(figure) {
    const narrow = matchMedia("(max-width: 44rem)").matches;
    const drawn = figure.querySelector(narrow ? ".narrow svg" : ".wide svg").viewBox.baseVal;
    const width = Math.min(figure.clientWidth, drawn.width);
    const scale = width / drawn.width;
    return { width, height: drawn.height * scale, scale, narrow };
  }

  function drawChart(view, figure, box, panels) {
    const room = measure(figure);
    if (!room.width) return;
    const font = room.narrow ? 11 : 12, left = room.narrow ? 74 : 90, row = 20;
    const natural = room.width / room.scale;
    const under = font + 12, over = (panel) => font + 13 + legendRows(panel, left, natural, font) * (font + 4);
    const fixed = panels.reduce((sum, panel) => sum + (panel.kind === "phases" ? 24
      : panel.kind === "faults" ? font + 8 + row * view.data.faults.names.length + under
        : over(panel) + under), 4);
    const count = panels.filter((panel) => panel.kind === "lines").length;
    // Where there is little room everything gets smaller, though never smaller than in the drawing.
    const scale = Math.max(Math.min(room.height / (fixed + 28 * count), 1), room.scale);
    const width = room.width / scale, height = room.height / scale;
    const each = Math.max((height - fixed) / count, 16);
    const plot = width - left - 8, { start, end, data } = view;
    const frame = { width, font, left, plot, start, end, data,
      x: (time) => left + (time - start) / (end - start) * plot };
    box.layout = { left: left * scale, plot: plot * scale };
    const svg = document.createElementNS(SVG, "svg");
    for (const [key, value] of Object.entries({ width: room.width, height: room.height,
      viewBox: `0 0 ${round(width)} ${round(height)}`, "aria-hidden": "true", "font-size": font, "font-family": "sans-serif" })) svg.setAttribute(key, value);
    const shared = panels.filter((panel) => panel.shared);
    const common = shared.length ? range(view, shared) : null;
    let top = 2;
    for (const panel of panels) {
      if (panel.kind === "phases") {
        shades(svg, frame, top, 18, true);
        top += 24;
        continue;
      }
      title(svg, frame, panel, top);
      if (panel.legend) legend(svg, frame, panel.lines, top + font + 6);
      if (panel.kind === "faults") {
        faults(svg, frame, view, top + font + 8, row);
        continue;
      }
      const ends = panel.shared ? common : range(view, [panel]);
      lines(svg, frame, view, panel, round(top + over(panel)), round(each), ends);
      top += over(panel) + each + under;
    }
    if (view.cursor !== null && view.cursor >= start && view.cursor <= end) {
      add(svg, "path", { d: `M${round(frame.x(view.cursor))},2V${round(height) - under}`,
        stroke: data.palette.soft, "stroke-dasharray": "2,2" });
    }
    box.style.height = `${room.height}px`;
    box.replaceChildren(svg);
  }

  return { drawChart, number, place, seconds };
})();
