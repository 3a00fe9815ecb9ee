"use strict";
// What a page that looks right keeps to, in any Chromium and any font. Each of `checks` returns its
// complaints, with the words of what they are about. Lengths are measured by the page's own root size.

const style = getComputedStyle;
const root = document.documentElement;
const rem = parseFloat(style(root).fontSize);
const isNarrow = matchMedia("(max-width: 44rem)").matches;
const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
//: Pixels by which boxes that touch may seem to overlap.
const ROUNDING = 1;

//: What may scroll, and what is not for the eyes.
const SCROLLS = ".scroll, .differing";
const UNSEEN = ".skip, .unseen, script, option";
//: What is left out on purpose: drawings for another width, and what another part says too.
const LEFT_OUT = [
  UNSEEN, "[hidden]", "details:not([open]) > :not(summary)", ".chart", ".timeline .closer", ".curve .low",
  ...(isNarrow ? [".cards thead", ".rules thead", ".findings .nothing td"] : [".table-tools .sort-by"]),
].join();
//: What has its parts beside each other where there is room, and what has them so on every screen.
const COLUMNS = ".story, .both, .pairs > div, .copy";
const ROWS = ".sums > div, .page-head, .checks li";
//: Whose pages and what verdicts have a colour of their own, by what is drawn in it.
const OWNERS = ["free", "cached", "protected", "running", "transfer", "held", "stuck", "orphaned"];
const VERDICTS = ["clean", "transient", "persistent", "inconclusive"];
//: Selector, what of it has a colour of the theme, and which.
const COLOURS = [
  ["body", "backgroundColor", "--page"],
  ["body", "color", "--ink"],
  [".card", "backgroundColor", "--card"],
  [".card", "borderLeftColor", "--line"],
  ["pre, div.equation", "backgroundColor", "--tint"],
  ["div.equation", "borderLeftColor", "--line"],
  [".soft:not(.badge, [aria-pressed=true] *)", "color", "--soft"],
  ["figcaption, .sums dt, .answers dt, .pairs dt", "color", "--soft"],
  ["a:not(.cell)", "color", "--link"],
  ["button:not(th *), input, select", "borderLeftColor", "--soft"],
  [".pass .mark", "color", "--clean"],
  [".curve .area", "fill", "--stuck"],
  [".curve .line, .lane-picture .line.faulted", "stroke", "--stuck"],
  [".lane-picture .line:not(.faulted)", "stroke", "--soft"],
  [".lane-picture :is(.note, .word, .solid).faulted", "fill", "--stuck"],
  [".lane-picture :is(.time, .note.plain, .solid:not(.faulted)), .own-page, .curves text", "fill", "--soft"],
  ["footer, thead th", "color", "--soft"],
  [".scroll thead th:not(.grid *), .grid thead", "backgroundColor", "--card"],
  ...OWNERS.flatMap((each) => [
    [`path.own-${each}, rect.own-${each}`, "fill", `--${each}`],
    [`.swatch.c-${each}`, "backgroundColor", `--${each}`],
    [`.edge.c-${each}`, "fill", `--${each}`],
  ]),
  ...VERDICTS.flatMap((each) => [
    [`.badge.${each}, .cell.${each}:not(.bad)`, "color", `--${each}`],
    [`.badge.${each}`, "borderLeftColor", `--${each}`],
    [`.cell.bad.${each}`, "backgroundColor", `--${each}`],
  ]),
];

const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const box = (element) => element.getBoundingClientRect();
const isShown = (element) => !element.closest(UNSEEN)
  && element.checkVisibility({ visibilityProperty: true, opacityProperty: true });
const shown = (selector, within) => all(selector, within).filter(isShown);
//: Everything that is shown, without what is inside drawings.
const elements = shown("body, body :not(svg *)");
const cards = () => shown("main > .card, article > .card, .parts > .card");

function named(element) {
  const words = element.textContent.trim().replace(/\s+/g, " ");
  return `${[element.tagName.toLowerCase(), ...element.classList].join(".")} "${words.slice(0, 40)}"`;
}

// Text -------------------------------------------------------------------------------------------

// The lines of a text, each as wide as its letters and as high as most of them are: what a font
// leaves above and below them may overlap.
function linesOf(node) {
  const range = document.createRange();
  range.selectNodeContents(node);
  const isUpright = !node.parentElement.closest(".tall");
  return [...range.getClientRects()].filter(({ width, height }) => width > 0 && height > 0).map((line) => {
    const [x, y] = isUpright ? [0, line.height / 5] : [line.width / 5, 0];
    return { left: line.left + x, right: line.right - x, top: line.top + y, bottom: line.bottom - y };
  });
}

// Every text below an element with its lines: none where it is not shown.
function textsOf(within) {
  const walker = document.createTreeWalker(within, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (node.data.trim()) found.push({ element, lines: isShown(element) ? linesOf(node) : [] });
  }
  return found;
}

const every = textsOf(document.body);
const texts = every.filter(({ lines }) => lines.length);
const isDrawn = (element) => element instanceof SVGElement;

// What shows of a line in that which scrolls; null where it is beyond.
function inSight(line, element) {
  const frame = element.closest(SCROLLS);
  if (!frame) return line;
  const { left, right, top, bottom } = box(frame);
  const seen = {
    left: Math.max(left, line.left), right: Math.min(right, line.right),
    top: Math.max(top, line.top), bottom: Math.min(bottom, line.bottom),
  };
  return seen.left < seen.right && seen.top < seen.bottom ? seen : null;
}

// Where one text ends and another begins; what scrolls alone is where its frame is.
function meeting(one, other) {
  const [mine, yours] = [one, other].map(({ element }) => element.closest(SCROLLS));
  if (mine === yours) return [one.lines.at(-1), other.lines[0]];
  return [mine ? box(mine) : one.lines.at(-1), yours ? box(yours) : other.lines[0]];
}

// Boxes ------------------------------------------------------------------------------------------

const sticksOut = (inner, outer) => inner.left < outer.left - ROUNDING || inner.right > outer.right + ROUNDING
  || inner.top < outer.top - ROUNDING || inner.bottom > outer.bottom + ROUNDING;
const isBeside = (one, other) => other.left >= one.right - ROUNDING
  && other.top < one.bottom && one.top < other.bottom;
const isBelow = (one, other) => other.top >= one.bottom - ROUNDING;

// A complaint for each two of [element, box] that overlap.
function overlaps(items) {
  const sorted = items.toSorted(([, one], [, other]) => one.top - other.top);
  return sorted.flatMap(([element, one], at) => {
    const found = [];
    for (const [covered, other] of sorted.slice(at + 1)) {
      if (isBelow(one, other)) break;
      const width = Math.min(one.right, other.right) - Math.max(one.left, other.left);
      const height = Math.min(one.bottom, other.bottom) - other.top;
      if (Math.min(width, height) > ROUNDING) found.push(`${named(element)} and ${named(covered)}`);
    }
    return found;
  });
}

// Colours: red, green and blue of 255, and alpha of 1 --------------------------------------------

const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
const read = new Map();
function colour(css) {
  if (!read.has(css)) {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = "transparent";  // what is no colour, such as none, leaves it so
    canvas.fillStyle = css;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    read.set(css, [red, green, blue, alpha / 255]);
  }
  return read.get(css);
}

const ofTheme = (name) => colour(style(root).getPropertyValue(name).trim());
const mix = ([red, green, blue, alpha], opacity, ground) => [red, green, blue].map(
  (each, at) => each * alpha * opacity + ground[at] * (1 - alpha * opacity));

function luminance(of) {
  const [red, green, blue] = of.map((each) => each / 255).map(
    (each) => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

// What an element's text is on, and how opaque it is: its ancestors, laid over each other.
const grounds = new Map();
function groundOf(element) {
  if (!element) return { ground: [255, 255, 255], opacity: 1 };
  if (!grounds.has(element)) {
    const below = groundOf(element.parentElement);
    const own = style(element);
    const opacity = below.opacity * own.opacity;
    grounds.set(element, { ground: mix(colour(own.backgroundColor), opacity, below.ground), opacity });
  }
  return grounds.get(element);
}

// What is drawn below a word of a drawing.
function drawnBelow(element, line) {
  let { ground } = groundOf(element.ownerSVGElement);
  const middle = new DOMPoint((line.left + line.right) / 2, (line.top + line.bottom) / 2);
  for (const shape of all("path, rect, circle", element.ownerSVGElement)) {
    if (shape.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_PRECEDING) break;
    const { left, right, top, bottom } = box(shape);
    if (middle.x < left || middle.x > right || middle.y < top || middle.y > bottom) continue;
    const { fill, fillOpacity, opacity } = style(shape);
    if (fill === "none" || fill.startsWith("url") || !isShown(shape)) continue;
    if (shape.isPointInFill(middle.matrixTransform(shape.getScreenCTM().inverse())))
      ground = mix(colour(fill), fillOpacity * opacity, ground);
  }
  const { paintOrder, stroke, strokeWidth } = style(element);
  const isOutlined = paintOrder.startsWith("stroke") && parseFloat(strokeWidth) > 1;
  return isOutlined ? mix(colour(stroke), 1, ground) : ground;
}

// One complaint where a text does not stand out from its ground: 3:1 is enough for large letters.
function pale(element, css, ground, opacity, pseudo = "") {
  const { fontSize, fontWeight } = style(element, pseudo);
  const isLarge = parseFloat(fontSize) >= 24 || (fontWeight >= 700 && parseFloat(fontSize) >= 18.66);
  const [low, high] = [ground, mix(colour(css), opacity, ground)].map(luminance).sort((a, b) => a - b);
  const ratio = (high + 0.05) / (low + 0.05);
  return ratio < (isLarge ? 3 : 4.5) ? [`${ratio.toFixed(2)}:1 for ${named(element)}${pseudo}`] : [];
}

// Checks -----------------------------------------------------------------------------------------

const checks = {
  // The page does not scroll sideways, and every box is on it or in what may scroll.
  boxesOnThePage() {
    const beyond = elements.filter((each) => !each.parentElement.closest(SCROLLS)
      && (box(each).left < -ROUNDING || box(each).right > root.clientWidth + ROUNDING)).map(named);
    const loose = all(`:is(${SCROLLS}) .unseen`).filter((each) => each.checkVisibility()
      && !each.offsetParent.closest(SCROLLS)).map((each) => `${named(each)} does not scroll with what it is in`);
    const wide = root.scrollWidth > root.clientWidth ? [`the page is ${root.scrollWidth} wide`] : [];
    return [...wide, ...loose, ...beyond];
  },

  // Text keeps away from the edges of its card, and is not beyond them.
  textInItsCard() {
    return cards().flatMap((card) => {
      const { left, right, top, bottom } = box(card), room = rem / 2;
      const inner = { left: left + room, right: right - room, top: top + room, bottom: bottom - room };
      return texts.filter(({ element, lines }) => card.contains(element) && lines.map(
        (line) => inSight(line, element)).some((seen) => seen && sticksOut(seen, inner)),
      ).map(({ element }) => named(element));
    });
  },

  // No box covers one beside it, and there is room between cards.
  boxesApart() {
    const close = cards().slice(1).filter((card, at) => {
      const room = box(card).top - box(cards()[at]).bottom;
      return room >= 0 && room < rem / 2;
    }).map((card) => `no room above ${named(card)}`);
    const isPlaced = (each) => isShown(each) && style(each).display !== "inline"
      && !["absolute", "fixed"].includes(style(each).position);
    return elements.filter((each) => each.children.length > 1 && !isDrawn(each)).flatMap((parent) => overlaps(
      [...parent.children].filter(isPlaced).map((each) => [each, box(each)]))).concat(close);
  },

  // No text covers another, of what scrolls together and of what is in sight.
  textsApart() {
    const lines = texts.flatMap(({ element, lines }) => lines.map((line) => [element, line]));
    const together = Map.groupBy(lines, ([element]) => element.closest(SCROLLS));
    const seen = lines.map(([element, line]) => [element, inSight(line, element)]).filter(([, line]) => line);
    return [...[...together.values()].flatMap(overlaps), ...overlaps(seen)];
  },

  // No text is cut off, be it with an ellipsis, or must be scrolled to where nobody looks for it.
  nothingCut() {
    return texts.flatMap(({ element, lines }) => {
      for (let at = element; at !== document.body && !at.matches(SCROLLS); at = at.parentElement) {
        if (style(at).overflowX === "visible" && style(at).overflowY === "visible") continue;
        const isWider = !isDrawn(at) && at.scrollWidth > at.clientWidth + ROUNDING;
        if (isWider || lines.some((line) => sticksOut(line, box(at)))) return [`${named(element)} in ${named(at)}`];
      }
      return [];
    });
  },

  // Nothing that the page says is hidden but what is left out on purpose.
  nothingMissing() {
    return every.filter(({ element, lines }) => !lines.length && !element.closest(LEFT_OUT)).map(
      ({ element }) => named(element));
  },

  // Of each drawing there is one on the screen, and it fills at least half of the width.
  drawingsShown() {
    return shown("figure:has(.chart), .card:has(> .chart)").flatMap((place) => {
      const drawings = shown(".chart", place).map((each) => each.querySelector("svg"));
      if (drawings.length !== 1) return [`${drawings.length} drawings in ${named(place)}`];
      const { width, height } = box(drawings[0]);
      return width < place.clientWidth / 2 || height < rem ? [`a small drawing in ${named(place)}`] : [];
    });
  },

  // The document is read from top to bottom and from left to right; its parts come as its contents say.
  inOrder() {
    const words = texts.filter(({ element }) => !isDrawn(element));
    const found = words.slice(1).filter((text, at) => {
      const [before, next] = meeting(words[at], text);
      const isAbove = isBelow(next, before) && next.left < before.right - ROUNDING;
      return isAbove || isBeside(next, before);
    }).map(({ element }) => `${named(element)} is before what comes before it`);
    return shown("nav.contents").flatMap((contents) => {
      const parts = [contents, ...all("a", contents).map(({ hash }) => document.getElementById(hash.slice(1)))];
      return parts.slice(1).filter((part, at) => !isBelow(box(parts[at]), { top: box(part).top }));
    }).map((part) => `${named(part)} is not where the contents say`).concat(found);
  },

  // What belongs beside each other is, and on a phone columns are below each other.
  inColumns() {
    const wrong = (selector, isRight) => shown(selector).flatMap((each) => {
      const parts = [...each.children].filter(isShown);
      return parts.slice(1).filter((part, at) => !isRight(box(parts[at]), box(part))).map(named);
    });
    return [...wrong(COLUMNS, isNarrow ? isBelow : isBeside), ...wrong(ROWS, isBeside)];
  },

  // Cards share both edges with each other and with what is above and below; all are in the middle.
  edgesAligned() {
    const edges = shown(".page-head, main, footer").concat(cards()).map((each) => {
      const { left, right } = box(each), { paddingLeft, paddingRight } = style(each);
      const isCard = each.matches(".card");
      return [each, left + (isCard ? 0 : parseFloat(paddingLeft)), right - (isCard ? 0 : parseFloat(paddingRight))];
    });
    const [[, left, right]] = edges, outer = root.clientWidth - right;
    const differ = (one, other) => Math.abs(one - other) > ROUNDING;
    const off = edges.filter(([, ...own]) => differ(own[0], left) || differ(own[1], right)).map(
      ([each]) => named(each));
    return differ(left, outer) || left < rem / 4 ? [`${left} on the left, ${outer} on the right`, ...off] : off;
  },

  // A table fills its frame. On a phone none is wider, for its rows are cards; elsewhere no grid of cells is.
  tablesFit() {
    const wide = shown(isNarrow ? ".cards .scroll" : ".grid .scroll").filter(
      (each) => each.scrollWidth > each.clientWidth + ROUNDING);
    const small = shown(".scroll > table:not([role=grid])").filter(
      (each) => box(each).width < each.parentElement.clientWidth - ROUNDING);
    return [...wide, ...small].map(named);
  },

  // What is pressed is large enough to be hit.
  controlsLarge() {
    return shown("button, input, select, summary, a.cell").filter(
      (each) => Math.min(box(each).width, box(each).height) < 1.5 * rem - ROUNDING).map(named);
  },

  // Numbers in a column end at one edge, and their figures are of one width.
  numbersAligned() {
    const columns = shown(".sums").map((each) => shown("dd", each));
    for (const table of shown("table:not([role=grid])").filter((each) => style(each).display === "table")) {
      const rows = [...table.tBodies].flatMap((body) => [...body.rows]).filter(isShown);
      for (let at = 0; at < table.rows[0].cells.length; at++) {
        const cells = rows.map((row) => row.cells[at]).filter((cell) => cell?.textContent.trim());
        const isNumber = (cell) => cell.matches(".n") || /^[\d,.]+$/.test(cell.textContent.trim());
        if (cells.every(isNumber)) columns.push(cells);
      }
    }
    return columns.flatMap((cells) => {
      const ends = cells.map((cell) => textsOf(cell).flatMap(({ lines }) => lines.map(({ right }) => right)));
      const edge = Math.max(...ends.flat());
      return cells.filter((cell, at) => ends[at].some((end) => end < edge - ROUNDING)
        || !style(cell).fontVariantNumeric.includes("tabular-nums")).map(named);
    });
  },

  // All text stands out from what is below it.
  contrast() {
    const found = texts.flatMap(({ element, lines: [line] }) => {
      const { ground, opacity } = groundOf(element), { color, fill, fillOpacity } = style(element);
      return isDrawn(element) ? pale(element, fill, drawnBelow(element, line), opacity * fillOpacity)
        : pale(element, color, ground, opacity);
    });
    for (const element of elements) {
      const { ground, opacity } = groundOf(element);
      if (element.matches("input, select")) found.push(...pale(element, style(element).color, ground, opacity));
      for (const pseudo of ["::before", "::after"]) {
        const { content, color } = style(element, pseudo);
        const isEmpty = ["none", "normal", '""'].includes(content);
        if (!isEmpty) found.push(...pale(element, color, ground, opacity, pseudo));
      }
      if (style(element).backgroundImage !== "none" && !element.matches(".cards .scroll"))
        found.push(`nobody knows what is below ${named(element)}`);
    }
    return found;
  },

  // What has a colour of the theme has it, and the theme is the one that was asked for.
  coloursOfTheTheme() {
    const isOf = (css, name) => `${colour(css)}` === `${ofTheme(name)}`;
    const found = COLOURS.flatMap(([selector, property, name]) => shown(selector).filter(
      (each) => !isOf(style(each)[property], name)).map((each) => `${named(each)}: not ${name}`));
    const isLight = luminance(ofTheme("--card")) > luminance(ofTheme("--ink"));
    return isLight === isDark ? ["the other theme", ...found] : found;
  },

  // Letters are about as large as the page's own; commands are no larger, and not half a screen high.
  sizesInRange() {
    const sizeOf = (each) => parseFloat(style(each).fontSize) * (isDrawn(each) ? each.getScreenCTM().a : 1);
    const isOdd = (each) => sizeOf(each) < 0.55 * rem || sizeOf(each) > 1.4 * rem;
    const isLoud = (each) => sizeOf(each) > rem || box(each).height > innerHeight / 2;
    return [...texts.map(({ element }) => element).filter(isOdd), ...shown("pre").filter(isLoud)].map(
      (each) => `${(sizeOf(each) / rem).toFixed(2)} of the text's size: ${named(each)}`);
  },

  // No heading is larger than one of a higher rank.
  headingsByRank() {
    const sizes = all("h1, h2, h3, h4, h5").filter(isShown).map((each) => [each, parseFloat(style(each).fontSize)]);
    return sizes.filter(([each, size]) => sizes.some(
      ([other, least]) => other.tagName < each.tagName && least < size)).map(([each]) => named(each));
  },

  // The first that is seen is the verdict, and on a wide screen also the equation with its numbers.
  firstScreen() {
    const [first] = cards();
    const isSeen = (each) => isShown(each) && box(each).bottom + scrollY <= innerHeight;
    const verdicts = all(".verdict .badge", first).filter((each) => isSeen(each) && /\w/.test(each.innerText));
    const numbers = all(".equation :is(dd, .gap)", first).filter(
      (each) => !/\d/.test(each.innerText) || !(isNarrow ? isShown(each) : isSeen(each)));
    return verdicts.length ? numbers.map(named) : ["no verdict", ...numbers.map(named)];
  },
};

// Check -> its complaints, where it has any; of all checks or of those with the given names.
function complaints(names) {
  const asked = names.length ? names : Object.keys(checks);
  return Object.fromEntries(
    asked.map((name) => [name, [...new Set(checks[name]())]]).filter(([, said]) => said.length));
}
