"use strict";
(() => {
  const words = new Intl.Collator("en", { numeric: true });
  const commas = (count) => count.toLocaleString("en");

  // A cell's number, as the page writes them; NaN for words, null for a cell that says nothing.
  function valueOf(text) {
    if (text === "" || text === "\u2014") return null;
    const plain = text.replaceAll(",", "").replace("\u2212", "-");
    return /^-?\d+(\.\d+)?( s)?$/.test(plain) ? parseFloat(plain) : NaN;
  }

  // Numbers before words, and what says nothing last, whichever way the column is sorted.
  function compare(one, other, sign) {
    if (one.value === null || other.value === null)
      return (one.value === null) - (other.value === null);
    const both = [one, other].map((each) => Number.isNaN(each.value));
    if (both[0] !== both[1]) return both[0] - both[1];
    return sign * (both[0] ? words.compare(one.text, other.text) : one.value - other.value);
  }

  function enhance(frame) {
    const table = frame.querySelector("table");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const tools = frame.querySelector(".table-tools");
    if (!tools || rows.length < 2) return;
    const [field, choice, status] = ["input", "select", "[role=status]"].map(
      (each) => tools.querySelector(each));
    const headings = [...table.tHead.rows[0].cells];
    const of = Number(frame.dataset.of);

    function sort(column, direction) {
      headings.forEach((heading, at) => {
        heading.ariaSort = at === column ? direction : "none";
      });
      choice.value = direction === "none" ? "" : `${column} ${direction}`;
      let order = rows;
      if (direction !== "none") {
        const sign = direction === "ascending" ? 1 : -1;
        order = rows.map((row) => {
          const text = row.cells[column].textContent.trim();
          return { row, text, value: valueOf(text) };
        }).sort((one, other) => compare(one, other, sign)).map((each) => each.row);
      }
      body.append(...order);
    }

    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      heading.ariaSort = "none";
      button.addEventListener("click", () => {
        const next = { none: "ascending", ascending: "descending", descending: "none" };
        sort(column, next[heading.ariaSort]);
      });
      for (const direction of ["ascending", "descending"])
        choice.append(new Option(`${button.textContent}, ${direction}`, `${column} ${direction}`));
    });
    choice.addEventListener("change", () => {
      const [column, direction] = choice.value.split(" ");
      sort(Number(column), direction ?? "none");
    });

    let texts = null;
    function filter() {
      texts ??= rows.map((row) => row.textContent.toLowerCase());
      const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, at) => {
        row.hidden = !wanted.every((word) => texts[at].includes(word));
        shown += !row.hidden;
      });
      tell(shown, wanted.length > 0);
    }
    function tell(shown, narrowed) {
      const cut = rows.length < of;
      const searched = cut ? `the ${commas(rows.length)} shown of ${commas(of)}` : commas(of);
      status.textContent = narrowed ? `showing ${commas(shown)} of ${searched}`
        : cut ? `the filter searches ${searched}` : "";
      status.classList.toggle("narrowed", narrowed);
    }
    field.addEventListener("input", filter);
    tell(rows.length, false);
    field.disabled = choice.disabled = false;
  }

  for (const frame of document.querySelectorAll(".data-table")) enhance(frame);
})();
