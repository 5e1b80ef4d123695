//! The results as JSON.

use serde_json::{Value, json};

use super::{
    report::{likely_causes, link},
    verdict::{FellShort, Verdict},
};
use crate::conversation::{Conversation, Until};

/// What each chapter demands.
pub(super) fn list(conversations: &[Conversation]) -> Value {
    let promised = conversations.iter().filter(|c| c.since().is_some());
    let with_end = promised.map(|conversation| {
        let mut value = description(conversation);
        let until = conversation.until.as_ref();
        value["until"] = until.map(|Until { stage, .. }| stage.as_str()).into();
        value
    });
    with_end.collect()
}

fn description(conversation: &Conversation) -> Value {
    json!({
        "name": conversation.name,
        "about": conversation.about,
        "rule": conversation.rule,
        "since": conversation.since(),
    })
}

/// One requirement and its verdict.
pub(super) fn requirement(conversation: &Conversation, verdict: &Verdict) -> Value {
    let details = match verdict {
        Verdict::Held(_) => json!({}),
        Verdict::NotExamined(why) => json!({ "why": why }),
        Verdict::Gone(why) => json!({ "expected": "the server is still there", "seen": why }),
        Verdict::FellShort(FellShort {
            transcript,
            shortfall,
            last_words,
        }) => json!({
            "expected": shortfall.expected,
            "seen": shortfall.seen,
            "transcript": transcript,
            "stderr": last_words,
            "causes": likely_causes(conversation, shortfall),
            "hint": conversation.hint,
            "link": link(conversation),
        }),
    };
    let mut value = description(conversation);
    value["result"] = verdict.name().into();
    if let (Value::Object(value), Value::Object(details)) = (&mut value, details) {
        value.extend(details);
    }
    value
}
