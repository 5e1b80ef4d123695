// What is wider than its place can be scrolled with the keyboard too.
function reach() {
    for (const wide of document.querySelectorAll("main pre > code, main .table-wrapper")) {
        if (wide.scrollWidth > wide.clientWidth) {
            wide.tabIndex = 0;
        } else {
            wide.removeAttribute("tabindex");
        }
    }
}

addEventListener("load", reach);
addEventListener("resize", reach);
