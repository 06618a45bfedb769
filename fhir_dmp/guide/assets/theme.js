// Before the page is painted: the theme chosen on an earlier visit.
if (localStorage.getItem("theme")) document.documentElement.dataset.theme = localStorage.getItem("theme");
