// Links to files that the page holds once, and a page that prints whole.
(function () {
  "use strict";

  for (const link of document.querySelectorAll("a[data-file]")) {
    link.addEventListener("click", (event) => {
      const file = document.getElementById(link.dataset.file);
      if (!file) return;
      event.preventDefault();
      file.click();
    });
  }

  // what is folded away is printed, and only then unfolded
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    opened.forEach((each) => (each.open = true));
  });
  window.addEventListener("afterprint", () => {
    opened.forEach((each) => (each.open = false));
    opened = [];
  });
})();
