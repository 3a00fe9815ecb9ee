{
  const data = JSON.parse(document.getElementById("data").textContent);
  const text = (column, cell) => data.texts[data.columns[column][cell]];
  const at = (id) => document.getElementById(id);
  const facts = ["outcome", "because", "expected", "verdict", "kinds", "equation", "faults", "error"];
  const axes = Object.keys(data.columns).filter(
    (name) => ![...facts, "name", "state", "reproduce"].includes(name));

  // The grid as it was drawn: its rows, the headings over its columns, and every link's place.
  const table = at("grid");
  const rows = table ? [...table.querySelectorAll("tbody tr:not(.group)")].map((row) => ({
    row, places: [...row.querySelectorAll("td")],
    links: [...row.querySelectorAll("a[data-cell]")],
  })) : [];
  const links = rows.flatMap((each) => each.links);
  const home = new Map();
  rows.forEach((each, number) => each.links.forEach((link) => {
    home.set(link, { row: number, column: each.places.indexOf(link.parentElement) });
  }));
  const headings = table ? [...table.tHead.rows].map((line) => {
    let next = 0;
    return [...line.querySelectorAll("th[data-columns]")].map((heading) => {
      const from = next;
      next += Number(heading.dataset.columns);
      return { heading, from, to: next };
    });
  }) : [];
  const cellOf = (link) => Number(link.dataset.cell);
  const words = links.map((link) => ["name", "outcome", "state", "kinds", ...axes]
    .map((column) => text(column, cellOf(link))).join("\n").toLowerCase());

  // One link of the grid is in the tab order: the one that arrows last came to.
  let current = null;
  function makeCurrent(link) {
    if (current) current.tabIndex = -1;
    current = link;
    if (link) link.tabIndex = 0;
  }
  function go(link) {
    if (!link) return;
    makeCurrent(link);
    link.focus();
    show(link);
  }
  // With its headings in sight, and above the details, which a narrow screen has at its bottom.
  function show(link) {
    const frame = link.closest(".scroll");
    frame.style.scrollPaddingTop = `${table.tHead.offsetHeight + 4}px`;
    frame.scrollIntoView({ block: "nearest" });
    link.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const visible = (each) => each.links.filter((link) => !link.hidden);
  function besides(step) {
    const inRow = visible(rows[home.get(current).row]);
    return inRow[inRow.indexOf(current) + step];
  }
  function rowsAway(count) {
    const { row, column } = home.get(current);
    const step = Math.sign(count);
    let found = null;
    for (let number = row + step, left = Math.abs(count); left && rows[number]; number += step) {
      const there = visible(rows[number]);
      if (!there.length) continue;
      const distance = (link) => Math.abs(home.get(link).column - column);
      found = there.reduce((best, link) => (distance(link) < distance(best) ? link : best));
      left -= 1;
    }
    return found;
  }

  // What is shown: cells that have every word and, of each kind of button, one that is pressed.
  const buttons = [...document.querySelectorAll("button[data-column]")];
  function apply() {
    const wanted = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const pressed = {};
    for (const { dataset, ariaPressed } of buttons) {
      if (ariaPressed === "true") (pressed[dataset.column] ??= new Set()).add(dataset.value);
    }
    const onlyUnexpected = at("unexpected").ariaPressed === "true";
    let shown = 0;
    const used = new Set();
    links.forEach((link, number) => {
      const cell = cellOf(link);
      link.hidden = !(wanted.every((word) => words[number].includes(word))
        && Object.entries(pressed).every(([column, values]) => values.has(text(column, cell)))
        && !(onlyUnexpected && text("outcome", cell) === "passed"));
      if (link.hidden) return;
      shown += 1;
      used.add(home.get(link).column);
    });
    for (const each of rows) {
      each.row.hidden = !each.links.some((link) => !link.hidden);
      each.places.forEach((place, column) => { place.hidden = !used.has(column); });
    }
    for (const body of table ? table.tBodies : []) {
      const group = body.querySelector(".group");
      if (group) group.hidden = [...body.rows].every((row) => row === group || row.hidden);
    }
    for (const { heading, from, to } of headings.flat()) {
      let columns = 0;
      for (let column = from; column < to; column += 1) columns += used.has(column);
      heading.hidden = !columns;
      heading.colSpan = columns || 1;
    }
    at("none").hidden = shown > 0 || !links.length;
    at("shown").textContent =
      `${shown.toLocaleString("en")} of ${links.length.toLocaleString("en")} cells shown`;
    table?.closest(".scroll").scrollTo(0, 0);
    if (!current || current.hidden) makeCurrent(links.find((link) => !link.hidden) ?? null);
  }

  // The details of one cell, beside the grid.
  let opened = null;
  function open(link) {
    const cell = cellOf(link);
    opened?.removeAttribute("aria-current");
    opened = link;
    link.setAttribute("aria-current", "true");
    at("detail-h").textContent = text("name", cell);
    at("detail-facts").replaceChildren(...[...facts, ...axes].flatMap((name) => {
      if (!text(name, cell)) return [];
      const pair = document.createElement("div");
      pair.append(document.createElement("dt"), document.createElement("dd"));
      pair.firstChild.textContent = name;
      pair.lastChild.textContent = text(name, cell);
      return [pair];
    }));
    const report = at("detail-report");
    const address = link.getAttribute("href");
    report.hidden = !address;
    at("detail-none").hidden = Boolean(address);
    if (address) report.setAttribute("href", address);
    at("detail-line").textContent = text("reproduce", cell) || "not recorded";
    at("detail").hidden = false;
    document.documentElement.classList.add("with-detail");
    show(link);
  }
  function close() {
    at("detail").hidden = true;
    document.documentElement.classList.remove("with-detail");
    opened?.removeAttribute("aria-current");
    opened = null;
    go(current);
  }

  const keys = {
    ArrowLeft: () => besides(-1), ArrowRight: () => besides(1),
    ArrowUp: () => rowsAway(-1), ArrowDown: () => rowsAway(1),
    PageUp: () => rowsAway(-10), PageDown: () => rowsAway(10),
    Home: () => visible(rows[home.get(current).row])[0],
    End: () => visible(rows[home.get(current).row]).at(-1),
  };
  const far = { Home: () => links.find((link) => !link.hidden),
    End: () => links.findLast((link) => !link.hidden) };
  table?.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || !current) return;
    const move = (event.ctrlKey ? far : keys)[event.key];
    if (move) go(move());
    else if ((event.key === "Enter" || event.key === " ") && !event.ctrlKey) {
      open(current);
      (at("detail-report").hidden ? at("detail-close") : at("detail-report")).focus();
    } else return;
    event.preventDefault();
  });
  table?.addEventListener("focusin", (event) => {
    const link = event.target.closest("a[data-cell]");
    if (!link) return;
    makeCurrent(link);
    if (opened && opened !== link) open(link);
  });
  table?.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-cell]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    makeCurrent(link);
    open(link);
  });
  table?.addEventListener("pointerover", (event) => {
    const link = event.target.closest("a[data-cell]");
    if (link) link.title = text("name", cellOf(link));
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && opened && event.target !== at("filter")) close();
    else if (event.key === "/" && event.target !== at("filter")
      && !event.ctrlKey && !event.metaKey && !event.altKey) {
      event.preventDefault();
      at("filter").focus();
    }
  });
  at("filter").addEventListener("input", apply);
  at("filter").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" && event.key !== "Enter") return;
    event.preventDefault();
    go(current);
  });
  at("filters").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.id === "all") {
      at("filter").value = "";
      for (const each of [...buttons, at("unexpected")]) each.ariaPressed = "false";
    } else button.ariaPressed = String(button.ariaPressed !== "true");
    apply();
  });
  at("detail-close").addEventListener("click", close);
  for (const link of links) link.tabIndex = -1;
  at("filters").hidden = false;
  at("keys").hidden = false;
  apply();
}
