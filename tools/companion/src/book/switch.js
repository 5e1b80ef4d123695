// Keeps the section when the language changes, and remembers the choice.
(function () {
    const link = document.getElementById('language');
    // The section that a link has led to, as long as it shows: the last ones of a page cannot be scrolled
    // to the top. Otherwise the last that begins in the upper third of the window or above.
    function section() {
        const headings = [...document.querySelectorAll('main :is(h1, h2, h3, h4, h5, h6)[id]')];
        const top = heading => heading.getBoundingClientRect().top;
        const named = headings.find(heading => heading.id === location.hash.slice(1));
        if (named && top(named) >= 0 && top(named) < innerHeight) {
            return named;
        }
        return headings.findLast(heading => top(heading) < innerHeight / 3);
    }
    function choose() {
        try { localStorage.setItem('mdbook-language', link.hreflang); } catch (e) { }
        const heading = 'same' in link.dataset && section();
        // The title is the top of the page.
        link.hash = heading && heading.tagName !== 'H1' ? heading.id : '';
    }
    link.addEventListener('click', choose);
    link.addEventListener('auxclick', choose);
})();
