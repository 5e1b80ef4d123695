//! The same conversation between clients with other names.

use std::collections::BTreeSet;

use regex::bytes::{Captures, Regex};

use super::model::{Action, Conversation, SERVER};

/// So many of the letters that `padded-to` adds in a row are padding.
const PADDING: &str = "x{100,}";

impl Conversation {
    /// The same conversation with `suffix` at the end of each client's name, for a server that goes on running
    /// from one conversation to the next and may still know a name. Padding gives up as many bytes as the names
    /// in its text gain, at most one suffix, so a padded line with one name keeps its length.
    pub fn with_names(&self, suffix: &str) -> Conversation {
        let mut renamed = self.clone();
        let clients = renamed.steps.iter_mut().map(|step| &mut step.who);
        let clients: Vec<&mut String> = clients.filter(|who| *who != SERVER).collect();
        let names: BTreeSet<String> = clients.iter().map(|who| regex::escape(who)).collect();
        let names: Vec<String> = names.into_iter().collect();
        for who in clients {
            who.push_str(suffix);
        }
        let name = Regex::new(&format!(r"\b(?:{})\b", names.join("|")))
            .expect("escaped names make a pattern");
        let padding = Regex::new(PADDING).expect("it is a pattern");
        let replace_bytes = |text: &[u8]| {
            let longer = name.replace_all(text, format!("${{0}}{suffix}").into_bytes());
            let gained = suffix.len().min(longer.len() - text.len());
            let shorter = |padding: &Captures| padding[0][gained..].to_vec();
            padding.replace(&longer, shorter).into_owned()
        };
        let replace = |text: &mut String| {
            *text = String::from_utf8_lossy(&replace_bytes(text.as_bytes())).into_owned();
        };
        for step in &mut renamed.steps {
            match &mut step.action {
                Action::Sends { bytes, .. } => *bytes = replace_bytes(bytes),
                Action::Receives { line, .. }
                | Action::IsTold { words: line, .. }
                | Action::PassesOver(line)
                | Action::Reports(line) => replace(line),
                Action::ReceivesMixed(series) => series.iter_mut().flatten().for_each(replace),
                _ => {}
            }
        }
        renamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conversation::parse;

    #[test]
    fn names_change_wherever_they_stand_and_a_padded_line_keeps_its_length() {
        let text = r#"conversation "c" since="06-write" {
            about "…"
            bob joins
            bobby sends "bob: bobby and bob"
            bob receives "from bobby: " padded-to=500
            server reports "accepted {bob}"
        }"#;
        let steps = parse("test.kdl", text).unwrap()[0].with_names("-7").steps;
        let who: Vec<&str> = steps.iter().map(|step| step.who.as_str()).collect();
        assert_eq!(who, ["bob-7", "bobby-7", "bob-7", SERVER]);
        let Action::Sends { bytes, .. } = &steps[1].action else {
            panic!("{:?}", steps[1]);
        };
        assert_eq!(bytes, b"bob-7: bobby-7 and bob-7\n");
        let line = format!("from bobby-7: {}", "x".repeat(500 - 14));
        assert_eq!(steps[2].action, Action::Receives { line, times: 1 });
        assert_eq!(steps[3].action, Action::Reports("accepted {bob-7}".into()));
    }
}
