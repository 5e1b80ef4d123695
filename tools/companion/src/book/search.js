// What follows the index of a Chinese book: it is loaded with the index, at the first search.
(function () {
    // The index pairs neighbouring Chinese characters, so a search has to.
    elasticlunr.tokenizer = function (text) {
        const words = [];
        for (const piece of String(text ?? '').toLowerCase().match(/PIECES/g) ?? []) {
            if (!/^[\u4e00-\u9fff]{2}/.test(piece)) {
                words.push(piece);
                continue;
            }
            for (let i = 0; i + 1 < piece.length; i++) {
                words.push(piece.slice(i, i + 2));
            }
        }
        return words;
    };    // The pairs of one word belong together; what has some of them is better than nothing.
    const search = elasticlunr.Index.prototype.search;
    elasticlunr.Index.prototype.search = function (text, options) {
        const [all, some] = ['AND', 'OR'].map(bool => () => search.call(this, text, { ...options, bool }));
        const found = all();
        return found.length > 0 ? found : some();
    };

    // mdBook counts words to choose what it shows below a result. This counts characters.
    const BEFORE = 20, LENGTH = 80;
    const ENTITY = '&#?\\w+;';
    window.search.teaser = function (body, terms) {
        const any = terms.filter(Boolean).map(term => term.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|');
        // The text has entities in it, and no term is a part of one.
        const find = new RegExp(`${ENTITY}|(${any || '$^'})`, 'giu');
        const characters = text => text.match(new RegExp(`${ENTITY}|[^]`, 'gu')) ?? [];
        const first = [...body.matchAll(find)].find(match => match[1]);
        const start = Math.max(0, characters(body.slice(0, first?.index ?? 0)).length - BEFORE);
        const all = characters(body);
        const shown = all.slice(start, start + LENGTH).join('');
        return (start > 0 ? '…' : '')
            + shown.replace(find, (match, term) => term ? `<em>${match}</em>` : match)
            + (start + LENGTH < all.length ? '…' : '');
    };
})();
