// Reloads this page when there's a newer version. A browser keeps few connections to one server open, so
// a hidden page waits until it's shown before it asks.
(function () {
    let question;
    function ask() {
        question?.close();
        if (document.hidden) { return; }
        question = new EventSource("/live-reload/VERSION");
        question.onmessage = () => location.reload();
    }
    document.addEventListener("visibilitychange", ask);
    ask();
})();
