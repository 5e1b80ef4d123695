//! The Chinese text alone: its punctuation, its spaces, and the words that it avoids.

use std::sync::LazyLock;

use pulldown_cmark::{Event, Tag};
use regex::Regex;

use super::{editions, flat};
use crate::support::{Book, Problem};

/// Patterns of what no text of this book has, and what to do: wrong spaces and punctuation (WIDE is all that
/// is full-width, and so has its space in itself), English that is too long for a name, what a machine makes
/// of the terms, what other books call them, and the tone of an advertisement.
const RULES: [(&str, &str); 29] = [
    (
        r"\p{Han}[A-Za-z0-9`]|[A-Za-z0-9`]\p{Han}",
        "put a space between Chinese and Latin",
    ),
    (r"\p{Han} \p{Han}", "remove the space between Chinese"),
    ("[WIDE] | [WIDE]", "remove the space beside punctuation"),
    (
        r#"[\p{Han}WIDE][,.;:!?()"']|[,;:!?()"']\p{Han}"#,
        "make the punctuation full-width",
    ),
    (
        r"([A-Za-z'-]+ +){3}[A-Za-z'-]+",
        "translate the English, or mark it as code",
    ),
    ("经纪人|代理商|代理人", "write 代理任务"),
    ("演员", "write 参与者模型"),
    ("频道|信道", "write 通道"),
    ("期货", "write future"),
    ("轮询", "write poll"),
    ("读者任务", "write 读任务"),
    ("写者|作家", "write 写任务"),
    ("对等", "write 成员"),
    ("侦听", "write 监听"),
    ("听众", "write 监听器"),
    ("邮件", "write 消息 or 行"),
    ("流媒体", "write 流"),
    ("恐慌", "write panic"),
    ("板条箱", "write crate"),
    ("特质", "write trait"),
    ("反压|回压", "write 背压"),
    ("半封闭|半闭", "write 半关闭"),
    ("关机", "write 停机"),
    ("成绩单|抄本", "write 对话记录"),
    ("截止日期", "write 期限"),
    ("您", "write 你"),
    ("简单地|显然|众所周知|毫无疑问|值得注意的是", "leave it out"),
    ("只需", "write 只要, or leave it out"),
    ("进行了", "write the verb itself"),
];

const WIDE: &str = "，。：；！？、（）“”‘’《》…—";

/// What breaks a rule or is in italics.
pub(super) fn writing(book: &Book) -> Vec<Problem> {
    let [_, chinese] = editions(book);
    let mut problems = Vec::new();
    for chapter in chinese.texts() {
        for (text, line) in flat(chapter) {
            let found = breaches(&text);
            problems.extend(found.into_iter().map(|what| chapter.problem(line, what)));
        }
        for (event, range) in chapter.events() {
            if matches!(event, Event::Start(Tag::Emphasis)) {
                let what = "Chinese has no italics; make it bold, or leave it plain";
                problems.push(chapter.problem(chapter.line_of(range.start), what));
            }
        }
    }
    problems
}

/// The places where a text breaks a rule, with some characters around them.
fn breaches(text: &str) -> Vec<String> {
    static PATTERNS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        let patterns = RULES.map(|(pattern, _)| Regex::new(&pattern.replace("WIDE", WIDE)));
        patterns
            .map(|pattern| pattern.expect("a valid pattern"))
            .to_vec()
    });
    const AROUND: usize = 8;
    let text = text.trim();
    let mut breaches = Vec::new();
    for (pattern, (_, advice)) in PATTERNS.iter().zip(RULES) {
        for found in pattern.find_iter(text) {
            let before = text[..found.start()]
                .char_indices()
                .rev()
                .take(AROUND)
                .last();
            let start = before.map_or(found.start(), |(start, _)| start);
            let after: String = text[found.end()..].chars().take(AROUND).collect();
            breaches.push(format!("{advice}: `{}{after}`", &text[start..found.end()]));
        }
    }
    breaches
}
