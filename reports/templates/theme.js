"use strict";
(() => {
  // The system's theme is followed until somebody chooses; what is dark has a sheet of its own.
  const button = document.getElementById("theme");
  const sheet = document.getElementById("dark");
  const media = { system: sheet.media, light: "not all", dark: "screen" };
  const schemes = { system: "", light: "light", dark: "dark" };
  const names = Object.keys(media);
  let chosen = 0;
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = (chosen + 1) % names.length;
    const name = names[chosen];
    sheet.media = media[name];
    document.documentElement.style.colorScheme = schemes[name];
    button.textContent = `Theme: ${name}`;
  });
})();
