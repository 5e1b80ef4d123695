//! The programs of the book, played with over real sockets.
//!
//! - *Nothing lost*: every conversation against the stage that first promises it and every later one.
//! - *The ledger of faults* (`src/en/faults.md`): each fault is in the stages that the ledger says, and
//!   in no other.
//! - *The exercises*: each solution passes its conversation, the stage of its chapter does not, and the
//!   solution still keeps what that stage promises.
//! - *The transcripts* that the chapters show (`code/transcripts/STAGE/CONVERSATION.txt`) are how these
//!   conversations go.

use std::{
    fs, io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

mod support;

use examiner::{
    check,
    conversation::{self, Action, Conversation, Promise, Until},
    play::{self, Outcome, Rules},
    process::Subject,
    stages::{self, Stages},
};
use libtest_mimic::{Arguments, Failed, Trial};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What a solution or an alternative gives up of what its stage promises: the example, the
/// conversation, and the reason. All of these are races, which may need several tries to show.
const EXCEPTIONS: [(&str, &str, &str); 17] = [
    (
        "04-rwlock",
        "a-message-and-what-it-caused-stay-in-order",
        "the question that chapter 04 asks about it",
    ),
    (
        "06-refuse",
        "the-last-login-has-the-name",
        "the exercise is to refuse it instead",
    ),
    (
        "06-refuse",
        "a-new-connection-overtakes-the-goodbye",
        "the price of the exercise, and its point",
    ),
    (
        "06-refuse",
        "a-name-is-free-after-its-holder-has-left",
        "the same, without the help of a pause",
    ),
    (
        "06-refuse",
        "a-new-login-overtakes-an-old-one",
        "the same, without waiting for anything",
    ),
    (
        "06-refuse",
        "what-is-queued-survives-a-takeover",
        "nothing is taken over",
    ),
    (
        "06-refuse",
        "all-that-is-queued-survives-a-takeover",
        "nothing is taken over",
    ),
    (
        "10-wait",
        "a-slow-reader-delays-nobody-else",
        "the broker waits for a slow reader, and everybody for the broker",
    ),
    (
        "10-wait",
        "a-name-is-free-while-its-last-messages-wait",
        "the same",
    ),
    (
        "10-wait",
        "who-does-not-read-is-disconnected",
        "nobody is given up on",
    ),
    (
        "10-wait",
        "the-time-is-counted-once",
        "nobody is given up on",
    ),
    (
        "10-wait",
        "two-floods-end-together",
        "the deadlock that chapter 10 shows",
    ),
    (
        "10-wait",
        "who-floods-itself-with-errors-ends",
        "nobody is given up on",
    ),
    (
        "10-drop",
        "who-reads-slowly-and-steadily-stays",
        "what does not fit is lost",
    ),
    (
        "10-disconnect",
        "who-reads-slowly-and-steadily-stays",
        "it is disconnected as soon as its queue is full",
    ),
    (
        "11-first",
        "the-notice-comes-last",
        "the exercise is to let it come first",
    ),
    (
        "11-first",
        "who-reads-in-time-loses-nothing",
        "the same, and the last message is the last line",
    ),
];

/// Examples that promise nothing about stopping, and the reason.
const NEVER_STOP: [(&str, &str); 1] = [(
    "06-router",
    "it measures what one thread can do, and is killed when it has",
)];

/// Alternatives that lose what comes too fast: what else they keep depends on who is faster, so only their
/// exceptions are examined.
const BY_CHANCE: [&str; 2] = ["10-disconnect", "10-drop"];

/// Servers in other languages, with the stage whose promises they keep and the program that runs them.
const OTHER_LANGUAGES: [(&str, &str, &str); 1] =
    [("code/examples/06-chat.py", "06-disconnect", "python3")];

/// What a reader is told first who examines the server of one chapter against the next: the chapter, the
/// conversation, and how the likeliest cause begins.
const NEXT: [(&str, &str, &str); 9] = [
    (
        "02-read",
        "a-reset-ends-only-itself",
        "One connection's error ends the accept loop",
    ),
    (
        "03-write",
        "a-message-to-yourself-comes-back",
        "Nothing is written yet",
    ),
    (
        "04-broker",
        "two-people-chat",
        "Each connection knows only itself",
    ),
    (
        "05-shutdown",
        "ctrl-c-ends-a-server-with-no-client",
        "The process has no handler for Ctrl-C",
    ),
    (
        "06-disconnect",
        "the-broker-outlives-its-peers",
        "A message to a peer that is gone ends the broker",
    ),
    (
        "08-names",
        "a-login-is-answered",
        "A good login is not answered",
    ),
    (
        "09-limits",
        "a-line-over-the-limit-is-refused",
        "Lines have no limit yet",
    ),
    (
        "10-backpressure",
        "queues-are-bounded",
        "Queues have no limit yet",
    ),
    (
        "11-drain",
        "the-notice-comes-last",
        "The clients are not told",
    ),
];

/// How often a conversation is played with a server that has the fault, until it shows.
const FAULT_TRIES: usize = 5;

/// How often a race is tried until it shows.
const TRIES: usize = 50;

/// How long to wait for what a server with a fault does not do. Any time would do for the fault; a
/// server without it must not need longer.
const IMPATIENCE: Duration = Duration::from_secs(2);

/// What begins the lines in which a solution says more than its stage.
const SERVER_SAYS: &str = "from server: ";

/// A transcript that is no conversation; `tests/stages.rs` makes it.
const HELP: &str = "help";

/// Tests that are under way at once. They wait for sockets more than they compute.
const THREADS: usize = 48;

/// Of these, how many may have a server that is started by a command: a language takes its time to start,
/// and nobody starts dozens of them at once.
static COMMANDS: [Mutex<()>; 4] = [const { Mutex::new(()) }; 4];

type Result<T> = std::result::Result<T, String>;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    match trials() {
        Ok(trials) => libtest_mimic::run(&arguments, trials).exit_code(),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn trials() -> Result<Vec<Trial>> {
    let stages = stages::build()?;
    let conversations = conversation::all().map_err(|error| error.to_string())?;
    let mut trials = Vec::new();
    rules(&conversations)?;
    nothing_lost(stages, &conversations, &mut trials);
    ended_promises(stages, &conversations, &mut trials)?;
    next_chapters(stages, &conversations, &mut trials)?;
    faults(stages, &conversations, &mut trials)?;
    exercises(stages, &conversations, &mut trials)?;
    other_languages(&conversations, &mut trials);
    transcripts(stages, &conversations, &mut trials)?;
    let may_take = |trial: &Trial| {
        // The name of a trial ends with that of its conversation.
        let name = trial.name().rsplit([' ', '/']).next();
        let played = conversations.iter().find(|c| name == Some(&c.name));
        played.map_or(Duration::ZERO, Conversation::may_take)
    };
    let trials = trials.into_iter().map(|trial| (may_take(&trial), trial));
    let mut trials = support::spread(trials.collect());
    trials.push(Trial::test("list of exceptions", move || {
        for (example, name, reason) in EXCEPTIONS {
            println!("exception: {example} and {name}: {reason}");
        }
        for conversation in &conversations {
            if let Some(Until { stage, because }) = &conversation.until {
                println!("exception: after {stage}, {}: {because}", conversation.name);
            }
        }
        for (example, reason) in NEVER_STOP {
            println!("exception: {example} and every shutdown: {reason}");
        }
        Ok(())
    }));
    Ok(trials)
}

/// How a conversation is played that this stage, or a solution of its exercises, must pass.
fn strict(stage: &str) -> Rules {
    Rules {
        version: stages::version(stage),
        ..Rules::default()
    }
}

/// How a conversation is played that it must not pass.
fn impatient(stage: &str) -> Rules {
    Rules {
        proof: Some(IMPATIENCE),
        ..strict(stage)
    }
}

/// The stage that an example belongs to: the one with its number. Of a server and a client, it is the
/// one of its kind.
fn stage_of<'a>(stages: &'a Stages, example: &str) -> Result<&'a str> {
    stages
        .names()
        .into_iter()
        .filter(|stage| stage[..3] == example[..3])
        .max_by_key(|stage| stages::is_server(stage) == stages::is_server(example))
        .ok_or_else(|| {
            format!(
                "code/examples/{example}.rs: there is no stage {}…",
                &example[..3]
            )
        })
}

fn trial(
    name: String,
    conversation: &Conversation,
    subject: Subject,
    judge: impl Fn(&Conversation, Outcome) -> std::result::Result<(), Failed> + Send + 'static,
    rules: Rules,
) -> Trial {
    let conversation = conversation.clone();
    let ignored = !conversation.platform.is_here();
    // What should hold must hold at once; a fault that is a race may need more tries to show.
    let tries = match rules.proof {
        Some(_) => FAULT_TRIES,
        None => 1,
    };
    Trial::test(name, move || {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let _turn = matches!(subject, Subject::Command(_)).then(|| {
            let turn = NEXT.fetch_add(1, Ordering::Relaxed) % COMMANDS.len();
            COMMANDS[turn]
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        });
        let mut judgement = Ok(());
        for _ in 0..tries {
            let mut server = subject.start(&conversation.conditions)?;
            let outcome = play::play(&conversation, &mut server, rules);
            judgement = judge(&conversation, outcome);
            if judgement.is_ok() {
                break;
            }
        }
        judgement
    })
    .with_ignored_flag(ignored)
}

fn passes(conversation: &Conversation, outcome: Outcome) -> std::result::Result<(), Failed> {
    match outcome.shortfall {
        None => Ok(()),
        Some(shortfall) => Err(format!(
            "tools/examiner/conversations/{}: {}\n  line {}: expected {}; {}\n\n{}",
            conversation.place,
            conversation.about,
            shortfall.step.line,
            shortfall.expected,
            shortfall.seen,
            outcome.transcript
        )
        .into()),
    }
}

fn falls_short(conversation: &Conversation, outcome: Outcome) -> std::result::Result<(), Failed> {
    let place = &conversation.place;
    match outcome.shortfall {
        Some(shortfall) if shortfall.step.proves => Ok(()),
        Some(shortfall) => Err(format!(
            "tools/examiner/conversations/{place}: it should fall short at the step marked `proves`, but it \
             does at line {}: expected {}; {}\n\n{}",
            shortfall.step.line, shortfall.expected, shortfall.seen, outcome.transcript
        )
        .into()),
        None => Err(format!(
            "tools/examiner/conversations/{place}: it should fall short at the step marked `proves`, but it \
             does not: the fault is gone, or no longer shown; correct src/en/faults.md or the \
             conversation\n\n{}",
            outcome.transcript
        )
        .into()),
    }
}

/// A server that does not even run gives up nothing on purpose.
fn is_about_messages(action: &Action) -> bool {
    matches!(
        action,
        Action::Sends { .. }
            | Action::Receives { .. }
            | Action::IsTold { .. }
            | Action::SeesEnd
            | Action::Joins
    )
}

fn is_stop(action: &Action) -> bool {
    matches!(action, Action::GetsInterrupt | Action::GetsTerminate)
}

/// That an exception is needed; `place` is where it stands.
fn gives_up(
    name: &str,
    conversation: &Conversation,
    program: &Path,
    rules: Rules,
    place: &str,
) -> Trial {
    let name = format!("{name} gives up {}", conversation.name);
    let (program, conversation) = (program.to_path_buf(), conversation.clone());
    let place = place.to_string();
    Trial::test(name, move || {
        for _ in 0..TRIES {
            let mut server = Subject::from(program.as_path()).start(&conversation.conditions)?;
            let shortfall = play::play(&conversation, &mut server, rules).shortfall;
            if shortfall.is_some_and(|shortfall| is_about_messages(&shortfall.step.action)) {
                return Ok(());
            }
        }
        Err(format!("{TRIES} tries show no need for the exception: remove it from {place}").into())
    })
    .with_ignored_flag(!cfg!(target_os = "linux"))
}

/// Every rule that a conversation quotes stands in the specification.
fn rules(conversations: &[Conversation]) -> Result<()> {
    for conversation in conversations {
        if let Some(rule) = &conversation.rule {
            check::rule_in_words(rule).map_err(|error| {
                format!("tools/examiner/conversations/{}: {error}", conversation.place)
            })?;
        }
    }
    Ok(())
}

fn nothing_lost(stages: &Stages, conversations: &[Conversation], trials: &mut Vec<Trial>) {
    for server in stages.servers() {
        for conversation in conversations {
            if conversation.is_promised_by(server)
                && let Ok(program) = stages.program(server)
            {
                let name = format!("{server} keeps {}", conversation.name);
                trials.push(trial(
                    name,
                    conversation,
                    program.into(),
                    passes,
                    strict(server),
                ));
            }
        }
    }
}

/// A promise that ends because the specification changed is broken by the next stage.
fn ended_promises(
    stages: &Stages,
    conversations: &[Conversation],
    trials: &mut Vec<Trial>,
) -> Result<()> {
    for conversation in conversations {
        let Some(until) = &conversation.until else {
            continue;
        };
        let next = stages
            .servers()
            .into_iter()
            .find(|name| **name > *until.stage);
        if let Some(server) = next {
            let rules = Rules {
                patience: Some(IMPATIENCE),
                ..impatient(server)
            };
            let place = format!("tools/examiner/conversations/{}", conversation.place);
            let program = stages.program(server)?;
            trials.push(gives_up(server, conversation, program, rules, &place));
        }
    }
    Ok(())
}

/// Each stage falls short of the next chapter, at the requirement and with the words that `NEXT` says. That
/// it keeps all that comes before is examined by [`nothing_lost`].
fn next_chapters(
    stages: &'static Stages,
    conversations: &[Conversation],
    trials: &mut Vec<Trial>,
) -> Result<()> {
    for pair in stages.servers().windows(2) {
        let (stage, next) = (pair[0], pair[1]);
        let new: Vec<Conversation> = check::promised(next, conversations)
            .into_iter()
            .filter(|c| !c.is_promised_by(stage))
            .cloned()
            .collect();
        // A chapter may make a server better in ways that no conversation shows.
        if new.is_empty() {
            continue;
        }
        let (_, wanted, cause) = NEXT
            .into_iter()
            .find(|(chapter, ..)| *chapter == next)
            .ok_or_else(|| {
                format!("tests/conversations.rs: NEXT says nothing of {next}; `cargo run -- check {next} -- PROGRAM {{addr}}` with the program of {stage} shows what to say")
            })?;
        let new: Vec<Conversation> = new.into_iter().filter(|c| c.platform.is_here()).collect();
        let is_here = new.iter().any(|c| c.name == wanted);
        let subject = Subject::from(stages.program(stage)?);
        let name = format!("{stage} is told what {next} adds");
        let trial = Trial::test(name, move || {
            let rules = Rules {
                patience: Some(check::PATIENCE),
                ..strict(next)
            };
            for conversation in &new {
                let mut server = subject.start(&conversation.conditions)?;
                let Some(shortfall) = play::play(conversation, &mut server, rules).shortfall else {
                    continue;
                };
                let causes = check::likely_causes(conversation, &shortfall);
                let first = causes.first().unwrap_or(&"none");
                let section = conversation.section.as_deref().unwrap_or("none");
                let told = conversation.name == wanted
                    && first.starts_with(cause)
                    && section.starts_with(next);
                return match told {
                    true => Ok(()),
                    false => Err(format!(
                        "expected {wanted}, the cause `{cause}…` and a section of {next}, but {} falls \
                         short, the cause is `{first}` and the section {section}\n  expected {}; {}",
                        conversation.name, shortfall.expected, shortfall.seen
                    )
                    .into()),
                };
            }
            Err(format!("{stage} already keeps all that {next} adds").into())
        });
        trials.push(trial.with_ignored_flag(!is_here));
    }
    Ok(())
}

/// The examiner must not depend on our ways of writing a server, nor on Rust.
fn other_languages(conversations: &[Conversation], trials: &mut Vec<Trial>) {
    for (file, stage, language) in OTHER_LANGUAGES {
        // It stops at signals, which only Unix has; and nobody has to install a language for our tests.
        let missing = !cfg!(unix) || Command::new(language).arg("--version").output().is_err();
        let words = [language, file, "{addr}"].map(str::to_string).to_vec();
        for conversation in conversations {
            if conversation.since().is_some_and(|first| first <= stage) {
                let name = format!("{file} keeps {}", conversation.name);
                let subject = Subject::Command(words.clone());
                let trial = trial(name, conversation, subject, passes, strict(stage));
                let ignored = missing || trial.has_ignored_flag();
                trials.push(trial.with_ignored_flag(ignored));
            }
        }
    }
}

/// How to make a transcript anew.
const AGAIN: &str = "`UPDATE_EXPECT=1 cargo test --test conversations` makes it again";

/// One row of the ledger.
struct Fault {
    number: String,
    first: String,
    closed: String,
    shown_by: String,
}

/// Reads the table of `src/en/faults.md`: number, fault, first stage, closing stage, shown by.
fn ledger() -> Result<Vec<Fault>> {
    let file = stages::root().join("src/en/faults.md");
    let text = fs::read_to_string(&file).map_err(|error| format!("src/en/faults.md: {error}"))?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::TableRow) => rows.push(Vec::new()),
            Event::Start(Tag::TableCell) => {
                if let Some(row) = rows.last_mut() {
                    row.push(String::new());
                }
            }
            Event::Text(text) | Event::Code(text) => {
                if let Some(cell) = rows.last_mut().and_then(|row| row.last_mut()) {
                    cell.push_str(&text);
                }
            }
            Event::End(TagEnd::Table) => break,
            _ => {}
        }
    }
    rows.into_iter()
        .map(|row| match <[String; 5]>::try_from(row) {
            Ok([number, _, first, closed, shown_by]) => Ok(Fault {
                number,
                first,
                closed,
                shown_by,
            }),
            Err(row) => Err(format!(
                "src/en/faults.md: expected 5 cells in each row, found {row:?}"
            )),
        })
        .collect()
}

fn faults(stages: &Stages, conversations: &[Conversation], trials: &mut Vec<Trial>) -> Result<()> {
    let ledger = ledger()?;
    let numbers: Vec<&str> = ledger.iter().map(|fault| fault.number.as_str()).collect();
    let expected: Vec<String> = (1..=20).map(|n| n.to_string()).collect();
    if numbers != expected {
        return Err(format!(
            "src/en/faults.md: expected the faults 1 to 20 in order, found {}",
            numbers.join(", ")
        ));
    }
    for fault in ledger {
        let Fault {
            number,
            first,
            closed,
            shown_by,
        } = fault;
        if let Some(test) = shown_by.strip_prefix("cargo test --test ") {
            let tests = stages::root().join("tests");
            if ![format!("{test}.rs"), format!("{test}/main.rs")]
                .iter()
                .any(|file| tests.join(file).is_file())
            {
                return Err(format!(
                    "src/en/faults.md: fault {number}: there is no test {test}"
                ));
            }
            continue;
        }
        let conversation = conversations
            .iter()
            .find(|conversation| conversation.name == shown_by)
            .ok_or_else(|| {
                format!("src/en/faults.md: fault {number}: there is no conversation {shown_by}")
            })?;
        if first == "never" {
            continue;
        }
        if conversation.promise != Promise::Since(closed.clone()) {
            return Err(format!(
                "src/en/faults.md: fault {number} is closed in {closed}, but {} has another `since`",
                conversation.place
            ));
        }
        stages
            .program(&first)
            .map_err(|error| format!("src/en/faults.md: fault {number}: {error}"))?;
        for server in stages.servers() {
            if first.as_str() <= server && server < closed.as_str() {
                let name = format!("{server} has fault {number}: not {shown_by}");
                let program = stages.program(server)?;
                trials.push(trial(
                    name,
                    conversation,
                    program.into(),
                    falls_short,
                    impatient(server),
                ));
            }
        }
    }
    Ok(())
}

fn exercises(
    stages: &Stages,
    conversations: &[Conversation],
    trials: &mut Vec<Trial>,
) -> Result<()> {
    for conversation in conversations {
        if let Promise::Example(example) = &conversation.promise {
            let stage = stage_of(stages, example)?;
            let name = format!("example {example} solves {}", conversation.name);
            let solution = stages.example(example)?;
            trials.push(trial(
                name,
                conversation,
                solution.into(),
                passes,
                strict(stage),
            ));
            let name = format!("{stage} leaves to an exercise: {}", conversation.name);
            let program = stages.program(stage)?;
            trials.push(trial(
                name,
                conversation,
                program.into(),
                falls_short,
                impatient(stage),
            ));
        }
    }
    for example in stages.examples() {
        let stage = stage_of(stages, example)?;
        if !stages::is_server(stage) {
            continue;
        }
        let program = stages.example(example)?;
        let solves = |c: &Conversation| c.promise == Promise::Example(example.to_string());
        // An alternative need not take what its own chapter adds.
        let help = match conversations.iter().any(solves) {
            true => None,
            false => Some(help(program)?),
        };
        for conversation in conversations.iter().filter(|c| c.is_promised_by(stage)) {
            let excepted = EXCEPTIONS
                .iter()
                .any(|(name, broken, _)| *name == example && *broken == conversation.name);
            let mut options = conversation.conditions.options.iter();
            if help.as_ref().is_some_and(|help| {
                options.any(|option| option.starts_with("--") && !help.contains(option))
            }) || BY_CHANCE.contains(&example) && !excepted
            {
                continue;
            }
            let steps = |is: fn(&Action) -> bool| conversation.steps.iter().any(|s| is(&s.action));
            if NEVER_STOP.iter().any(|(name, _)| *name == example) && steps(is_stop) {
                // A process that is killed closes its sockets too, in no order; its status is none.
                if steps(|action| matches!(action, Action::Exits(_))) {
                    let name = format!("example {example} gives up {}", conversation.name);
                    let judge = |_: &Conversation, outcome: Outcome| match outcome.shortfall {
                        Some(_) => Ok(()),
                        None => Err("it stops: remove it from NEVER_STOP".into()),
                    };
                    let program = program.into();
                    trials.push(trial(name, conversation, program, judge, impatient(stage)));
                }
                continue;
            }
            trials.push(match excepted {
                false => {
                    let name = format!("example {example} keeps {}", conversation.name);
                    let rules = Rules {
                        passed_over: Some(SERVER_SAYS),
                        ..strict(stage)
                    };
                    trial(name, conversation, program.into(), passes, rules)
                }
                true => {
                    let (name, rules) = (format!("example {example}"), impatient(stage));
                    gives_up(&name, conversation, program, rules, "EXCEPTIONS")
                }
            });
        }
    }
    Ok(())
}

/// What a program says of its options; nothing, if it takes none.
fn help(program: &Path) -> Result<String> {
    let said = Command::new(program).arg("--help").output();
    let said = said.map_err(|error| format!("{}: {error}", program.display()))?;
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

fn transcripts(
    stages: &Stages,
    conversations: &[Conversation],
    trials: &mut Vec<Trial>,
) -> Result<()> {
    let list = |folder: &Path| -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        match entries {
            Ok(entries) => Ok(entries.into_iter().map(|entry| entry.path()).collect()),
            Err(error) => Err(format!("{}: {error}", folder.display())),
        }
    };
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_stem)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let mut files = Vec::new();
    for folder in list(&stages::root().join("code/transcripts"))? {
        if stages::is_server(&part(Some(&folder))) {
            files.extend(list(&folder)?);
        }
    }
    for file in files {
        let (stage, wanted) = (part(file.parent()), part(Some(&file)));
        if wanted == HELP {
            continue;
        }
        let conversation = conversations
            .iter()
            .find(|conversation| conversation.name == wanted)
            .ok_or_else(|| format!("{}: there is no conversation {wanted}", file.display()))?;
        let name = format!("transcript {stage}/{wanted}");
        let rules = match conversation.is_promised_by(&stage) {
            true => strict(&stage),
            false => impatient(&stage),
        };
        let judge = move |_: &Conversation, outcome: Outcome| {
            let expected = expect_test::expect_file![&file];
            let compare = || expected.assert_eq(&outcome.transcript);
            // It panics when they differ, and shows where.
            panic::catch_unwind(AssertUnwindSafe(compare))
                .map_err(|_| format!("{} differs; {AGAIN}", file.display()).into())
        };
        trials.push(trial(
            name,
            conversation,
            stages
                .program(&stage)
                .or_else(|_| stages.example(&stage))?
                .into(),
            judge,
            rules,
        ));
    }
    Ok(())
}
