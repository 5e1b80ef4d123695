//! Search in Chinese, with mdBook's own index and its own search bar.
//!
//! mdBook cuts words at spaces, and Chinese has none. So each pair of neighbouring characters counts as a
//! word (断开连接: 断开, 开连, 连接), in the index and in what a reader types. That needs no dictionary,
//! and a word that no dictionary knows is found like any other.

use std::sync::LazyLock;

use anyhow::{Context as _, Result};
use elasticlunr::lang::English;
use elasticlunr::{IndexBuilder, Language, Pipeline};
use regex::Regex;
use serde_json::Value;

/// What a text is cut into: runs of Chinese characters, and words, which end at spaces, hyphens and Chinese
/// characters. The pattern means the same in JavaScript.
const PIECES: &str = r"[\u4e00-\u9fff]+|[a-z0-9_](?:[^\s\-\u2000-\u206f\u3000-\u303f\uff00-\uffef\u4e00-\u9fff]*[a-z0-9_])?";

/// How the browser cuts what a reader types, and shows what it finds.
const BROWSER: &str = include_str!("search.js");

/// What mdBook writes around the index.
const AROUND: [&str; 2] = [
    "window.search = Object.assign(window.search, JSON.parse('",
    "'));",
];

/// The fields of the index, each with its text in every document.
const FIELDS: [&str; 3] = ["title", "body", "breadcrumbs"];

/// Makes the index in this script again, so that it knows Chinese.
///
/// # Errors
///
/// When it isn't what this version of mdBook writes.
pub(super) fn index_again(script: &mut String) -> Result<()> {
    let json = script
        .strip_prefix(AROUND[0])
        .and_then(|rest| rest.strip_suffix(AROUND[1]))
        .context("mdBook writes its search index in another way")?
        .replace("\\'", "'")
        .replace("\\\\", "\\");
    let mut search: Value = serde_json::from_str(&json)?;
    let mut index = IndexBuilder::with_language(Box::new(Chinese))
        .add_fields(&FIELDS)
        .build();
    let documents = search["doc_urls"].as_array().map_or(0, Vec::len);
    for number in 0..documents {
        let number = number.to_string();
        let document = &search["index"]["documentStore"]["docs"][&number];
        let texts = FIELDS.map(|field| close_up(document[field].as_str().unwrap_or_default()));
        index.add_doc(&number, texts);
    }
    search["index"] = serde_json::to_value(&index)?;
    let json = search
        .to_string()
        .replace('\\', "\\\\")
        .replace('\'', "\\'");
    let browser = BROWSER.replace("PIECES", PIECES);
    *script = format!("{}{json}{}\n{browser}", AROUND[0], AROUND[1]);
    Ok(())
}

/// Chinese with English words in it, which are reduced to their stems as in an English book.
struct Chinese;

impl Language for Chinese {
    fn name(&self) -> String {
        "Chinese".to_string()
    }

    fn code(&self) -> String {
        "zh".to_string()
    }

    fn tokenize(&self, text: &str) -> Vec<String> {
        words(text)
    }

    fn make_pipeline(&self) -> Pipeline {
        let mut pipeline = English::new().make_pipeline();
        // It takes a Chinese character for punctuation, and these words are trim.
        pipeline.queue.retain(|step| step.name() != "trimmer");
        pipeline
    }
}

/// Takes away the spaces that mdBook puts around code and links, where Chinese punctuation wants none.
fn close_up(text: &str) -> String {
    static SPACES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r" *([\u2018-\u201d\u3000-\u303f\uff00-\uffef]) *")
            .expect("the pattern is a constant")
    });
    SPACES.replace_all(text, "$1").into_owned()
}

/// The words of a text. The last character of a run is one of them, so that each character begins a word:
/// whoever types one finds it.
fn words(text: &str) -> Vec<String> {
    static CUT: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(PIECES).expect("the pattern is a constant"));
    let text = text.to_lowercase();
    let mut words = Vec::new();
    for piece in CUT.find_iter(&text) {
        let piece = piece.as_str();
        if piece.starts_with(|c: char| ('\u{4e00}'..='\u{9fff}').contains(&c)) {
            let characters: Vec<char> = piece.chars().collect();
            words.extend(characters.windows(2).map(|pair| pair.iter().collect()));
            words.extend(characters.last().map(char::to_string));
        } else {
            words.push(piece.to_string());
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn cuts_chinese_into_pairs_and_leaves_words_whole() {
        let words = words("断开连接（Half-Close），EOF 到了 `a_b`、127.0.0.1:8080。");
        let cut = "断开 开连 连接 接 half close eof 到了 了 a_b 127.0.0.1:8080";
        assert_eq!(words.join(" "), cut);
    }
}
