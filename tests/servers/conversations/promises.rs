//! Nothing is lost: what a stage promises, every later stage keeps.

use examiner::{
    check,
    conversation::{Cause, Conversation},
    stages::Program,
};
use libtest_mimic::Trial;

use super::{IMPATIENCE, Player, Timed};
use crate::common::{Book, Result};

pub(super) fn trials(book: Book) -> Result<Vec<Timed>> {
    let servers: Vec<&Program> = book.list.servers().collect();
    let mut trials = vec![explained(book)];
    for (number, server) in servers.iter().enumerate() {
        let player = Player::new(book, server)?;
        let promised = book.promised(server).into_iter();
        trials.extend(promised.map(|conversation| player.passes("keeps", conversation)));
        let Some(before) = number.checked_sub(1).map(|before| servers[before]) else {
            continue;
        };
        trials.extend(next_chapter(book, before, server)?);
        // A promise that ends because the specification changed is broken by the next stage.
        let ends = |c: &&Conversation| {
            c.until
                .as_ref()
                .is_some_and(|until| until.stage == before.name)
        };
        for conversation in book.conversations.iter().filter(ends) {
            let mut player = player.clone();
            player.rules.patience = Some(IMPATIENCE);
            let place = format!("tools/examiner/conversations/{}", conversation.place);
            trials.push(player.gives_up(conversation, &place));
        }
    }
    Ok(trials)
}

/// A stage falls short of the next chapter, and the likeliest cause says what that chapter adds. A chapter may
/// make a server better in ways that no conversation shows.
fn next_chapter(book: Book, stage: &Program, next: &Program) -> Result<Option<Timed>> {
    let mut player = Player::new(book, stage)?;
    let is_new = |c: &&Conversation| {
        !c.is_promised_by(&stage.name) && player.subject.cannot_play(c).is_none()
    };
    let new: Vec<_> = book.promised(next).into_iter().filter(is_new).collect();
    if new.is_empty() {
        return Ok(None);
    }
    player.rules.version = next.protocol;
    player.rules.patience = Some(check::PATIENCE);
    let (stage, next) = (stage.name.clone(), next.name.clone());
    let name = format!("conversations::{stage} is told what {next} adds");
    let trial = Trial::test(name, move || {
        for conversation in &new {
            let Some(shortfall) = player.play(conversation)?.shortfall else {
                continue;
            };
            let likely = check::likely_causes(conversation, &shortfall);
            let is_first = |cause: &&Cause| likely.first() == Some(&cause.text.as_str());
            let cause = conversation.causes.iter().find(is_first);
            let section = conversation.section.as_deref().unwrap_or_default();
            if cause.is_some_and(|cause| cause.next) && section.starts_with(&next) {
                return Ok(());
            }
            let (place, seen) = (&conversation.place, &shortfall.seen);
            let expected = &shortfall.expected;
            return Err(format!(
                "tools/examiner/conversations/{place}: {stage} falls short here: expected {expected}; {seen}\n\
                 The likeliest cause must be one with `next=#true`, and the section one of {next}, but they \
                 are {likely:?} and {section}"
            )
            .into());
        }
        Err(format!("{stage} already keeps all that {next} adds").into())
    });
    Ok(Some((check::PATIENCE, trial)))
}

/// Each conversation that a stage must pass says why it may not, what to do, and what to read; the tests of
/// the site see whether the section is there. Each rule that it quotes stands in the specification.
fn explained(book: Book) -> Timed {
    let trial = Trial::test("conversations::every promise is explained", move || {
        let promised = book.conversations.iter().filter(|c| c.since().is_some());
        let needs = promised.flat_map(|c| {
            let line =
                |missing: bool, line: &str| missing.then(|| format!("it needs a line {line}"));
            let rule = c.rule.as_deref().map(check::rule_in_words);
            let needs = [
                line(c.causes.is_empty(), "`cause \"…\"` after `about`"),
                line(c.hint.is_none(), "`hint \"…\"` after `about`"),
                line(
                    c.section.is_none(),
                    "`section \"NN-name#heading\"` after `about`",
                ),
                rule.and_then(|rule| rule.err())
                    .map(|error| error.to_string()),
            ];
            needs
                .into_iter()
                .flatten()
                .map(|needs| format!("{}: {needs}\n", c.place))
        });
        match needs.collect::<String>() {
            none if none.is_empty() => Ok(()),
            needs => Err(needs.into()),
        }
    });
    (Default::default(), trial)
}
