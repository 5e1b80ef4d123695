// The first page: in the language of the last choice, or of the browser.
(function () {
    let languages = navigator.languages;
    try { languages = [localStorage.getItem('mdbook-language') ?? languages].flat(); } catch (e) { }
    if (/^zh\b/i.test(languages.find(language => /^(en|zh)\b/i.test(language)))) {
        location.replace('zh-CN/index.html' + location.search + location.hash);
    }
})();
