//! Examines a server with a mistake, as `check` examines a reader's.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
};

use examiner::{
    check,
    conversation::Conversation,
    play::{self, Rules, Shortfall},
    process::Subject,
    stages,
};

use super::{build::Servers, patch::Patch};
use crate::common::{PATIENCE, Result, files};

/// How often a conversation that should hold is played until it does.
const TRIES: usize = 2;

/// What was seen when the mistake was caught; nothing, if the first cause that a reader is told is it.
pub(super) fn examine(patch: &Patch, servers: &Servers) -> Result<String> {
    let program = servers.program(patch)?;
    // It goes with the server when that is built again.
    let kept = program.with_extension("examined");
    let key = format!("{:016x}\n", key(patch)?);
    let examined = fs::read_to_string(&kept).unwrap_or_default();
    if let (Some(seen), None) = (examined.strip_prefix(&key), env::var_os("FRESH")) {
        return Ok(seen.to_string());
    }
    let seen = first_shortfall(patch, &Subject::Program(program))?;
    fs::write(kept, key + &seen)?;
    Ok(seen)
}

/// Changes with all that the examination depends on, except for the server.
fn key(patch: &Patch) -> Result<u64> {
    fn hash(path: &Path, hasher: &mut DefaultHasher) -> Result<()> {
        if path.is_file() {
            fs::read(path)?.hash(hasher);
            return Ok(());
        }
        files(path)?.iter().try_for_each(|file| hash(file, hasher))
    }
    let mut hasher = DefaultHasher::new();
    patch.text.hash(&mut hasher);
    let places = patch
        .played
        .iter()
        .filter_map(|c| c.place.split(':').next());
    let conversations = places.map(|file| format!("tools/examiner/conversations/{file}"));
    let mut files: Vec<String> = conversations.collect();
    files.dedup();
    let examiner = ["tools/examiner/src", "tests/servers/mistake", "Cargo.lock"];
    files.extend(examiner.map(str::to_string));
    // It has the version of the protocol that a stage is examined with.
    files.push("code/stages.toml".to_string());
    for file in files {
        hash(&stages::root().join(file), &mut hasher)?;
    }
    Ok(hasher.finish())
}

/// Finds the first shortfall, and compares it with what the patch says.
fn first_shortfall(patch: &Patch, subject: &Subject) -> Result<String> {
    let Patch {
        place,
        caught_by,
        cause,
        ..
    } = patch;
    let wanted = caught_by.join(" or ");
    for (number, conversation) in patch.played.iter().enumerate() {
        let name = &conversation.name;
        let catches = caught_by.contains(name);
        let Some(shortfall) = play(patch, subject, conversation, catches)? else {
            continue;
        };
        let causes = check::likely_causes(conversation, &shortfall);
        let (expected, seen) = (&shortfall.expected, &shortfall.seen);
        let seen = format!("expected {expected}; {seen}\n  causes: {causes:#?}");
        let is_it = |text: &str| text.starts_with(cause);
        let wrong = if !catches {
            format!("it says `caught by: {wanted}`, but the first to fall short is {name}")
        } else if number == 0 {
            format!("it does not even keep {name}; choose another mistake")
        } else if !conversation.causes.iter().any(|cause| is_it(&cause.text)) {
            format!("no cause of {name} begins with `{cause}`")
        } else {
            let is_first = causes.first().is_some_and(|cause| is_it(cause));
            return Ok(if is_first { String::new() } else { seen });
        };
        return Err(format!("{place}: {wrong}: {seen}").into());
    }
    Err(format!(
        "{place}: nothing falls short, but it says `caught by: {wanted}`; is it a race that needs more \
         `tries: `?"
    )
    .into())
}

fn play(
    patch: &Patch,
    subject: &Subject,
    conversation: &Conversation,
    catches: bool,
) -> Result<Option<Shortfall>> {
    // What holds may need more time on a busy machine than the examiner has patience with what does not.
    let (patience, tries) = match catches {
        true => (check::PATIENCE, patch.tries),
        false => (PATIENCE, TRIES),
    };
    let rules = Rules {
        patience: Some(patience),
        version: patch.stage.protocol,
        ..Rules::default()
    };
    let mut found = None;
    for _ in 0..tries {
        let mut server = subject.start(&conversation.conditions)?;
        found = play::play(conversation, &mut server, rules).shortfall;
        if found.is_some() == catches {
            break;
        }
    }
    Ok(found)
}
