// Before the page is painted: the theme chosen on an earlier visit.
const chosen = localStorage.getItem("theme");
if (chosen) document.documentElement.dataset.theme = chosen;
